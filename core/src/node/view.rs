//! What people are shown: plain values for the app, the command line and JSON.

mod progress;

pub use progress::{grouped, in_bytes};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Prune;
pub use crate::peers::Role;
use crate::{
    chain::Change,
    gossip::Room,
    mempool::{FeeBucket, FeeEstimate},
    primitives::{Address, Amount, Hash, Height, PublicKey, Slot},
    sync::Strategy,
};

impl Role {
    /// How such a peer joins a chain unless its person chooses otherwise. A tab must be of use within a second or two: it
    /// answers by proof while it downloads the state, and is a full member from then on.
    #[must_use]
    pub const fn strategy(self) -> Strategy {
        match self {
            Self::Native | Self::Relay => Strategy::Full,
            Self::Browser => Strategy::Snap,
        }
    }

    /// How much of the past such a peer keeps unless its person chooses otherwise: a browser gives a page little room.
    #[must_use]
    pub const fn prune(self) -> Prune {
        match self {
            Self::Native | Self::Relay => Prune::Archive,
            Self::Browser => Prune::Full,
        }
    }
}

/// The state of the whole peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// This peer's id.
    pub peer: String,
    /// Its kind.
    pub role: Role,
    /// The version of the software.
    pub version: String,
    /// The number of connected peers.
    pub peers: usize,
    /// The addresses others can reach this peer at, as far as it knows.
    pub addresses: Vec<String>,
    /// Whether others can reach it, and how that is known.
    pub reach: ReachView,
    /// The chain, when the peer follows one.
    pub chain: Option<ChainView>,
    /// What is wrong at the moment, in words; empty when nothing is.
    pub alarms: Vec<String>,
    /// How often something from outside was refused, by reason, since the start.
    pub refusals: BTreeMap<String, u64>,
}

/// Whether others can reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReachState {
    /// Nobody has tried yet.
    Unknown,
    /// They can dial it.
    Direct,
    /// They can through a relay.
    Relayed,
    /// They cannot.
    No,
}

/// Whether others can reach this peer, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachView {
    /// Whether they can.
    pub state: ReachState,
    /// The addresses at which it is known that they can.
    pub proven: Vec<ReachedAt>,
    /// The ids of the relays that pass connections on to it.
    pub relays: Vec<String>,
}

/// An address at which others can dial this peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachedAt {
    /// The address.
    pub address: String,
    /// How it is known: `named`, `test` or `mapping`.
    pub by: String,
}

/// The state of the chain as this peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// The chain's name.
    pub name: String,
    /// The genesis hash.
    pub genesis: Hash,
    /// The length of a slot in milliseconds.
    pub slot_millis: u64,
    /// The least fee for an encoded byte of a transaction.
    pub min_fee_per_byte: u64,
    /// The slot of this moment, by this peer's clock.
    pub slot: Slot,
    /// The height of the best executed block.
    pub height: Height,
    /// Its hash.
    pub head: Hash,
    /// Its state root.
    pub state_root: Hash,
    /// The height of the justified checkpoint.
    pub justified: Height,
    /// The height of the finalised checkpoint: nothing up to there is ever undone.
    pub finalised: Height,
    /// The hash of its header.
    pub finalised_hash: Hash,
    /// The root of the accounts after it.
    pub finalised_state_root: Hash,
    /// The block whose state this peer took over by proof; 0 when it has executed everything since the genesis. For a light peer
    /// the last one proven.
    pub joined_at: Height,
    /// The lowest block whose body this peer keeps; 0 when it keeps all, and the height after the head when it has none.
    pub oldest: Height,
    /// The number of authorities in force.
    pub authorities: usize,
    /// The number of their set; 0 is the genesis set.
    pub set_id: u64,
    /// How far synchronisation is.
    pub sync: SyncView,
    /// Transactions in the mempool that could be in the next block.
    pub pending: usize,
    /// Transactions in the mempool that wait for an earlier one.
    pub queued: usize,
    /// The validator key this peer proposes with.
    pub validator: Option<PublicKey>,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// What signs its blocks and votes.
    pub key: PublicKey,
    /// Where its fees go.
    pub fee_address: Address,
}

/// An open ballot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotView {
    /// Whose.
    pub by: PublicKey,
    /// What it asks for.
    pub change: Change,
}

/// Who decides, and what is being decided, at the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthoritiesView {
    /// The number of the set in force; 0 is the genesis set.
    pub set_id: u64,
    /// The set in force, in the order of turns.
    pub authorities: Vec<AuthorityView>,
    /// The set before, while both count.
    pub outgoing: Vec<AuthorityView>,
    /// The set that is decided on and waits for finality.
    pub pending: Vec<AuthorityView>,
    /// Open ballots. A change needs those of more than two thirds of the set.
    pub ballots: Vec<BallotView>,
    /// What this peer's own authority asks for.
    pub wish: Option<Change>,
    /// The height of the justified checkpoint.
    pub justified: Height,
    /// The height of the finalised checkpoint.
    pub finalised: Height,
}

/// How far synchronisation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncView {
    /// What the peer is doing.
    pub phase: SyncPhase,
    /// Blocks executed, unless the phase says otherwise.
    pub done: u64,
    /// Blocks there are, as far as known, unless the phase says otherwise.
    pub total: u64,
    /// How much is done a second, over the last few seconds.
    pub rate: u32,
    /// Seconds left at that rate, when it is known.
    pub seconds_left: Option<u64>,
    /// How far the headers from before the block at which the peer joined are downloaded, while they are: beside all else.
    pub backfill: Option<BackfillView>,
}

/// How far old headers are downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillView {
    /// Headers that are here.
    pub done: u64,
    /// Headers there are, at most.
    pub total: u64,
    /// Headers a second, over the last few seconds.
    pub rate: u32,
    /// Seconds left at that rate, when it is known.
    pub seconds_left: Option<u64>,
}

/// A phase of synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncPhase {
    /// The state is being rebuilt from disk.
    Starting,
    /// No peer has told its head yet.
    Searching,
    /// Proof of the newest finalised checkpoint is being asked for; done and total are heights.
    Proof,
    /// The accounts of a finalised checkpoint are being downloaded; done and total are accounts, the total as far as can
    /// be told.
    State,
    /// The peer follows finalised checkpoints, without executing anything.
    Light,
    /// Headers are being downloaded and checked.
    Headers,
    /// Bodies are being downloaded and executed.
    Bodies,
    /// The peer follows the chain.
    Following,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its id.
    pub peer: String,
    /// What it says it is, once identified.
    pub agent: Option<String>,
    /// Its connections.
    pub links: Vec<LinkView>,
    /// The height it last said it is at.
    pub height: Option<Height>,
    /// Its reputation: 0 is neutral, up to 20 it was of use, below -20 it is disconnected, below -50 banned.
    pub score: i32,
    /// A person trusts it: nothing follows from its score.
    #[serde(default)]
    pub trusted: bool,
    /// The last things it did wrong, the oldest first, also before it connected.
    #[serde(default)]
    pub deeds: Vec<DeedView>,
    /// The connection is for blocks only: neither transactions nor addresses of peers pass over it.
    #[serde(default)]
    pub for_blocks: bool,
    /// What it did wrong while connected, and how often.
    pub offences: BTreeMap<String, u32>,
    /// The first digits of the genesis hash of the chain it follows, if that is another.
    pub other_chain: Option<String>,
    /// The last round trip in milliseconds.
    pub ping_millis: Option<u64>,
    /// All ways in which it was found: `named`, `node-list`, `mdns`, `exchange`, `inbound`.
    pub found: Vec<String>,
}

/// Something that a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeedView {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What.
    pub offence: String,
    /// The points that it cost.
    pub points: i32,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanView {
    /// A peer's id, or a range of addresses.
    pub whom: String,
    /// What for: an offence, or in words.
    pub cause: String,
    /// When it ends, in milliseconds since 1970.
    pub until: u64,
}

/// Whom this peer has nothing to do with, and whom it forgives everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BansView {
    /// The bans.
    pub bans: Vec<BanView>,
    /// The ids of trusted peers.
    pub trusted: Vec<String>,
}

/// A k-bucket of the distributed hash table: peers at about the same distance, of which there are at most 20.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketView {
    /// The distance, the XOR of the SHA-256 hashes of the peer ids, as a number of so many bits: 1 to 256.
    pub distance_bits: u32,
    /// The ids of the peers.
    pub peers: Vec<String>,
}

/// A lookup in the distributed hash table, watched step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceView {
    /// Where the looked-for is: the SHA-256 hash of the key, in hex.
    pub key: String,
    /// How many peers of our own table it began with.
    pub known: usize,
    /// The questions, in the order in which they were asked.
    pub steps: Vec<TraceStep>,
    /// The ids of the nearest peers that answered, the nearest first; at most 20.
    pub nearest: Vec<String>,
    /// How long it took.
    pub took_millis: u64,
}

/// A question of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Who was asked, by peer id.
    pub peer: String,
    /// How far it is from what is looked for: the XOR of both SHA-256 hashes, in hex.
    pub distance: String,
    /// How many bits that number has: 0 to 256. Each less halves the distance.
    pub distance_bits: u32,
    /// In which step it was told of, from 1; 0 for our own table.
    pub told_by: usize,
    /// When it was asked, from the beginning.
    pub asked_millis: u64,
    /// How long it took to answer, or to fail; a dial may be part of it. `None` if it was not asked.
    pub took_millis: Option<u64>,
    /// How many peers it told of.
    pub told: usize,
    /// How many of them were each nearer than all before.
    pub nearer: usize,
    /// Why there is no answer.
    pub failed: Option<String>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// `tcp`, `quic`, `websocket`, `webrtc`, `webrtc-direct`, `memory`, or `relayed`.
    pub transport: String,
    /// Where it stands on the way from a relay to a direct connection.
    pub state: LinkState,
    /// The other side's address.
    pub address: String,
    /// Whether this side dialled.
    pub outbound: bool,
    /// Bytes that this side has sent on its streams since it was opened.
    pub sent: u64,
    /// Bytes that this side has received on them.
    pub received: u64,
}

/// Where a connection stands on the way from a relay to a direct connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// It was direct from the beginning.
    Direct,
    /// It goes through a relay, and stays there.
    Relayed,
    /// It goes through a relay, and the two sides try for a direct one.
    Upgrading,
    /// It is direct, and has replaced one through a relay.
    Upgraded,
}

impl LinkState {
    /// The name for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
            Self::Upgrading => "upgrading",
            Self::Upgraded => "upgraded",
        }
    }
}

/// A block in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSummary {
    /// The height.
    pub height: Height,
    /// The hash of the header.
    pub hash: Hash,
    /// The slot.
    pub slot: Slot,
    /// Who proposed it.
    pub proposer: PublicKey,
    /// The number of transactions, once the body is here.
    pub transactions: usize,
    /// The encoded size in bytes.
    pub bytes: usize,
    /// When it was executed here, in milliseconds since the Unix epoch.
    pub executed_at: u64,
}

/// A block with its transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// The block without its transactions.
    pub summary: BlockSummary,
    /// The parent's hash.
    pub parent: Hash,
    /// The state root.
    pub state_root: Hash,
    /// The transactions, in order.
    pub transactions: Vec<TransactionView>,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionView {
    /// Its id.
    pub id: Hash,
    /// Who pays.
    pub from: Address,
    /// Who receives.
    pub to: Address,
    /// What `to` receives.
    pub amount: Amount,
    /// What the proposer receives.
    pub fee: Amount,
    /// The sender's nonce.
    pub nonce: u64,
    /// The encoded size in bytes.
    pub bytes: usize,
    /// The memo as text; bytes that are not UTF-8 are replaced.
    pub memo: String,
}

/// How a peer knows what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// It has the state, and has executed the blocks since it joined.
    Executed,
    /// Another peer has proven it under a finalised checkpoint.
    Proven,
}

/// Where a transaction is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionStatus {
    /// What it says.
    pub transaction: TransactionView,
    /// The block that holds it; none while it waits for one.
    pub block: Option<InBlock>,
}

/// The block that holds a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InBlock {
    /// The height.
    pub height: Height,
    /// The hash of the header.
    pub hash: Hash,
    /// Whether it can never be undone.
    pub finalised: bool,
    /// How the peer knows.
    pub verified: Verified,
    /// The height of the head; for a proof, that of the finalised checkpoint it leads to.
    pub as_of: Height,
}

/// The mempool, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolView {
    /// Transactions that could be in the next block.
    pub pending: usize,
    /// Transactions that wait for an earlier one.
    pub queued: usize,
    /// The bytes of all of them.
    pub bytes: usize,
    /// What to pay for a transaction, by the last blocks and by what waits.
    pub fees: FeeEstimate,
    /// What the pending ones pay, the lowest first.
    pub histogram: Vec<FeeBucket>,
    /// The best pending ones in the order a block would take them, as many as were asked for.
    pub best: Vec<TransactionView>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Whose.
    pub address: Address,
    /// What it holds.
    pub balance: Amount,
    /// The number of transactions it has sent.
    pub nonce: u64,
    /// The nonce for the next transaction, counting those in the mempool.
    pub next_nonce: u64,
    /// What it will hold once its pending transactions are in a block.
    pub pending_balance: Amount,
    /// The height of the head; for a proof, that of the finalised checkpoint it leads to.
    pub height: Height,
    /// How the peer knows.
    pub verified: Verified,
}

/// A chat message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// The room.
    pub room: Room,
    /// The author's peer id.
    pub author: String,
    /// Whether this peer wrote it.
    pub own: bool,
    /// What was said.
    pub text: String,
    /// When it arrived here, or by a teller's account when it arrived there; milliseconds since the Unix epoch.
    pub at: u64,
    /// Who told us, when the author's signature was not seen here: history is hearsay.
    pub told_by: Option<String>,
}
