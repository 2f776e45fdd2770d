//! What a person or a program can ask of a node.

use libp2p::{Multiaddr, PeerId};

use crate::{
    chain::{Change, Transaction},
    content::{Cid, Manifest},
    gossip::Room,
    node::dht::DhtQuery,
    peers::Whom,
    primitives::{Address, Hash},
};

/// A user's command in flight, named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Which block a person means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// By header hash.
    Hash(Hash),
    /// By height, on the best chain.
    Height(u64),
}

/// What a person can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// How is it going? [`Reply::Status`]
    Status,
    /// Who is connected? [`Reply::Peers`]
    Peers,
    /// All that is measured. [`Reply::Metrics`]
    Metrics,
    /// Connect to this address. [`Reply::Done`] once the dial has begun.
    Dial(Multiaddr),
    /// What does this account hold? [`Reply::Account`]
    Account(Address),
    /// Where is the transaction with this id? [`Reply::Transaction`]
    Transaction(Hash),
    /// A block with its transactions. [`Reply::Block`]
    Block(BlockRef),
    /// The last blocks of the best chain, newest first, at most this many and at most 64. [`Reply::Blocks`]
    RecentBlocks(usize),
    /// The mempool with its best transactions, at most this many and at most 1,000. [`Reply::Mempool`]
    Mempool(usize),
    /// Take a signed transaction into the mempool and pass it on. [`Reply::Submitted`] once it is durable.
    Submit(Transaction),
    /// Who decides, and what is being decided? [`Reply::Authorities`]
    Authorities,
    /// Let this peer's authority ask for a change of the set, by a ballot in its next block. It replaces what was asked for
    /// before. [`Reply::Done`] once it is durable.
    Propose(Change),
    /// Ask the distributed hash table. [`Reply::Done`], [`Reply::Addresses`], [`Reply::Providers`] or [`Reply::Trace`], as
    /// the question is
    Dht(DhtQuery),
    /// Whom does this peer know in the distributed hash table? [`Reply::RoutingTable`]
    RoutingTable,
    /// Something about files.
    Content(ContentCommand),
    /// Think otherwise of a peer than the ledger does. [`Reply::Done`] once it is durable
    Standing(StandingCommand),
    /// Who is banned, and who is trusted? [`Reply::Bans`]
    Bans,
    /// Take part in a chat room. [`Reply::Done`]
    Join(Room),
    /// Leave a chat room. [`Reply::Done`]
    Leave(Room),
    /// Say something in a room, which is joined if need be. [`Reply::Done`]
    Say(Room, String),
    /// What was said in a room, oldest first. [`Reply::History`]
    History(Room),
    /// The rooms this peer takes part in. [`Reply::Rooms`]
    Rooms,
}

/// What a person can decide about peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingCommand {
    /// Have nothing to do with a peer, or with whoever connects from there, for so many milliseconds and at most a year.
    Ban {
        /// Whom.
        whom: Whom,
        /// For how long.
        millis: u64,
    },
    /// End a ban, and forget what led to it.
    Unban(Whom),
    /// Never disconnect, evict or ban a peer for what it does, or do so again.
    Trust {
        /// Which peer.
        peer: PeerId,
        /// Whether to.
        trust: bool,
    },
}

/// What a person can ask for about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentCommand {
    /// Make a place for this file and keep it; once it is whole others are told that it is here. [`Reply::Missing`]
    Offer(Manifest),
    /// A chunk of a file that has a place. [`Reply::Done`]
    Put {
        /// The file.
        cid: Cid,
        /// Which chunk, from 0.
        index: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Fetch a file, in the background; what is here of it already is not fetched again. [`Reply::File`]
    Fetch {
        /// The file.
        cid: Cid,
        /// Whether others are told that it is here, once all of it is and until it makes room for another.
        offer: bool,
    },
    /// How is it with this file? [`Reply::File`]
    Show(Cid),
    /// Which files are here or coming? [`Reply::Files`]
    List,
    /// A chunk of a file, as far as it is here. [`Reply::Chunk`]
    Read {
        /// The file.
        cid: Cid,
        /// Which chunk, from 0.
        index: u32,
    },
    /// Let a file go, and fetch it no longer. [`Reply::Done`]
    Drop(Cid),
}
