//! The contract with a shell: what goes in, what comes out.

use libp2p::{Multiaddr, PeerId};

use super::{
    content::FileView,
    dht::{DhtAnswer, DhtFailure, DhtId, DhtQuery},
    metrics::Snapshot,
    rendezvous::{self, RENDEZVOUS_PROTOCOL},
    view::{
        AccountView, AuthoritiesView, BansView, BlockSummary, BlockView, BucketView, ChatView, MempoolView,
        PeerView, StatusView, SyncView, TraceView, TransactionStatus,
    },
    work::{Job, JobResult, WorkId},
};
use crate::{
    chain::{Change, Checkpoint, Transaction},
    content::{Cid, MAX_CONTENT_REQUEST_BYTES, MAX_CONTENT_RESPONSE_BYTES, Manifest, ShelfError},
    gossip::{Room, SayError, Topic},
    mempool::AdmissionError,
    peers::{Found, NameError, TooMany, Whom},
    primitives::{Address, Hash},
    store::{ArchiveAnswer, ArchiveFailure, ArchiveRequest, Seq},
};

/// A connection, named by the shell; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How a connection reaches the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Straight to the peer.
    Direct,
    /// Through a circuit relay: limited, for signalling and small messages only.
    Relayed,
}

/// How it is known that others can dial this peer at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReachedBy {
    /// A person says so.
    Named,
    /// Another peer dialled it there (AutoNAT).
    Test,
    /// The router passes what comes there on (UPnP).
    Mapping,
}

impl ReachedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Named, Self::Test, Self::Mapping];

    /// The name for people and in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Test => "test",
            Self::Mapping => "mapping",
        }
    }
}

/// A request/response protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Status and headers: `/weft/<chain>/sync/1`.
    Sync,
    /// Bodies: `/weft/<chain>/archive/1`.
    Archive,
    /// Transactions: `/weft/<chain>/tx/1`.
    Transactions,
    /// Chat history: `/weft/chat/1`.
    Chat,
    /// Peer exchange: `/weft/peers/1`.
    Peers,
    /// Files: `/weft/content/1`.
    Content,
    /// Who else is on this chain, asked of a relay: libp2p's `/rendezvous/1.0.0`.
    Rendezvous,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sync,
        Self::Archive,
        Self::Transactions,
        Self::Chat,
        Self::Peers,
        Self::Content,
        Self::Rendezvous,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Archive => "archive",
            Self::Transactions => "tx",
            Self::Chat => "chat",
            Self::Peers => "peers",
            Self::Content => "content",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// The name on the wire, on the chain with this genesis hash; `None` for protocols that need a chain, without one.
    #[must_use]
    pub fn name(self, genesis: Option<&Hash>) -> Option<String> {
        match self {
            Self::Chat | Self::Peers | Self::Content => Some(format!("/weft/{}/1", self.label())),
            // Its messages name the chain.
            Self::Rendezvous => genesis.map(|_| RENDEZVOUS_PROTOCOL.to_owned()),
            _ => genesis.map(|genesis| format!("/weft/{}/{}/1", genesis.short(), self.label())),
        }
    }

    /// The most bytes a request may have; the shell refuses more before reading them.
    #[must_use]
    pub const fn max_request(self) -> usize {
        match self {
            Self::Sync | Self::Archive => 16 << 10,
            Self::Transactions => 160 << 10,
            Self::Chat => 1 << 10,
            Self::Peers => 4 << 10,
            Self::Content => MAX_CONTENT_REQUEST_BYTES,
            Self::Rendezvous => rendezvous::MAX_REQUEST_BYTES,
        }
    }

    /// The most bytes a response may have; the shell refuses more before reading them.
    #[must_use]
    pub const fn max_response(self) -> usize {
        match self {
            Self::Sync => 512 << 10,
            Self::Archive => 3 << 20,
            Self::Transactions => 160 << 10,
            Self::Chat => 512 << 10,
            Self::Peers => 64 << 10,
            Self::Content => MAX_CONTENT_RESPONSE_BYTES,
            Self::Rendezvous => rendezvous::MAX_RESPONSE_BYTES,
        }
    }
}

/// A request from another peer, to be answered once; named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// A request to another peer, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundId(pub u64);

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// The other side does not speak the protocol, so it is on another chain or another kind of peer.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// No answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection closed first, or could not be used.
    #[error("the connection was lost")]
    ConnectionLost,
    /// The answer was larger than the protocol allows.
    #[error("the answer was larger than the protocol allows")]
    TooLarge,
}

/// A gossip message waiting for its verdict, named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// What becomes of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Do not forward it, and blame whoever passed it on.
    Reject,
    /// Do not forward it, and blame nobody.
    Ignore,
}

/// A gossip message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipMessage {
    /// For the verdict.
    pub id: GossipId,
    /// Where it was published.
    pub topic: Topic,
    /// Who passed it on to us.
    pub from: PeerId,
    /// Who signed it.
    pub author: PeerId,
    /// The author's sequence number.
    pub sequence: u64,
    /// What it says.
    pub data: Vec<u8>,
}

/// A storage archive request in flight, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(pub u64);

/// A user's command in flight, named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What happened, as told by the shell.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection is open.
    Connected {
        /// To whom.
        peer: PeerId,
        /// Its name.
        connection: ConnectionId,
        /// How it reaches the peer.
        link: Link,
        /// The other side's address.
        address: Multiaddr,
        /// Whether this side dialled.
        outbound: bool,
    },
    /// A connection is closed.
    Disconnected {
        /// To whom it was.
        peer: PeerId,
        /// Its name.
        connection: ConnectionId,
    },
    /// A dial asked for with [`Output::Dial`] failed.
    DialFailed {
        /// Where to.
        address: Multiaddr,
        /// Why, in words.
        reason: String,
    },
    /// A peer said what it is.
    Identified {
        /// Who.
        peer: PeerId,
        /// Its software.
        agent: String,
        /// The protocols it speaks.
        protocols: Vec<String>,
        /// Where it says it can be dialled.
        addresses: Vec<Multiaddr>,
    },
    /// So many bytes went over a connection since it was opened, as the shell counts them.
    Carried {
        /// To whom it is.
        peer: PeerId,
        /// Its name.
        connection: ConnectionId,
        /// By us.
        sent: u64,
        /// By the other side.
        received: u64,
    },
    /// A ping was answered.
    Pinged {
        /// By whom.
        peer: PeerId,
        /// The round trip in milliseconds.
        millis: u64,
    },
    /// The shell found an address of a peer.
    Discovered {
        /// Who.
        peer: PeerId,
        /// Where.
        address: Multiaddr,
        /// How.
        found: Found,
    },
    /// The DNS was asked with [`Output::Resolve`].
    Resolved {
        /// For what.
        name: String,
        /// The strings of its TXT records, each joined; none when it has no such records. Else why it cannot be known, in words.
        outcome: Result<Vec<String>, String>,
    },
    /// A list of peers was fetched with [`Output::FetchList`].
    ListFetched {
        /// From where.
        url: String,
        /// The bytes, at most [`MAX_NODE_LIST_BYTES`](crate::peers::MAX_NODE_LIST_BYTES). Else why there are none, in words.
        outcome: Result<Vec<u8>, String>,
    },
    /// What came of a lookup in the distributed hash table.
    Dht(DhtId, Result<DhtAnswer, DhtFailure>),
    /// The platform lets this peer go on after it stood still, or a person looks at it again.
    Resumed,
    /// The platform has no network any more, as it says.
    Offline,
    /// The platform has a network again.
    Online,
    /// A peer wants the distributed hash table to hold something. Whether it does is up to the shell.
    TableTold(PeerId),
    /// Others can reach us here.
    Listening(Multiaddr),
    /// Others can no longer reach us here.
    NotListening(Multiaddr),
    /// Others can dial us here.
    Reachable {
        /// Where.
        address: Multiaddr,
        /// How that is known.
        by: ReachedBy,
    },
    /// Others cannot dial us here, or no longer.
    Unreachable(Multiaddr),
    /// A relay granted a slot.
    SlotGranted(PeerId),
    /// A relay refused a slot or ended it, or it was given back.
    SlotLost {
        /// Which relay.
        relay: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// There will be no direct connection to a peer that is reached through a relay.
    UpgradeFailed {
        /// Who.
        peer: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// A gossip message arrived and waits for its verdict.
    Gossip(GossipMessage),
    /// The message with this tag, given to [`Output::Publish`], was handed to no peer, since none is subscribed.
    PublishedToNobody(Topic),
    /// A peer takes part in a chat room.
    RoomEntered {
        /// Who.
        peer: PeerId,
        /// Where.
        room: Room,
    },
    /// A peer takes part in a chat room no longer. Not told for those it was in when its last connection closed.
    RoomLeft {
        /// Who.
        peer: PeerId,
        /// Where.
        room: Room,
    },
    /// A request arrived and waits for its response.
    Request {
        /// For the response.
        id: InboundId,
        /// From whom.
        peer: PeerId,
        /// On what protocol.
        protocol: Protocol,
        /// What it says, at most [`Protocol::max_request`] bytes.
        body: Vec<u8>,
    },
    /// A peer sent a request larger than [`Protocol::max_request`]: the shell read its length, and refused it.
    Oversized {
        /// Who.
        peer: PeerId,
        /// On what protocol.
        protocol: Protocol,
    },
    /// A request was answered, or will never be.
    Response {
        /// Which.
        id: OutboundId,
        /// The answer, at most [`Protocol::max_response`] bytes.
        outcome: Result<Vec<u8>, RequestFailure>,
    },
    /// A job is done.
    WorkDone(WorkId, JobResult),
    /// A job could not be run: the worker died. It is retried once.
    WorkFailed(WorkId),
    /// The archive answered.
    Archive(ArchiveId, Result<ArchiveAnswer, ArchiveFailure>),
    /// All batches up to this one are durable.
    Persisted(Seq),
    /// The store can no longer be written; says why.
    StorageFailed(String),
    /// A person, or a program of theirs, wants something.
    Command(CommandId, Command),
}

/// What the shell is to do. Every effect that has an answer ends in an [`Input`], failure included.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a connection. Ends in `Connected` or `DialFailed`.
    Dial(Multiaddr),
    /// Close all connections to a peer. Ends in `Disconnected`.
    Disconnect(PeerId),
    /// Close one connection, which another one replaces. Ends in `Disconnected`.
    Close {
        /// To whom.
        peer: PeerId,
        /// Which.
        connection: ConnectionId,
    },
    /// Ask a relay for a slot by listening on this address. Ends in `SlotGranted` or `SlotLost`, and the former at some time in
    /// the latter.
    Reserve {
        /// Which.
        relay: PeerId,
        /// Where, with `/p2p-circuit` at the end.
        circuit: Multiaddr,
    },
    /// Give the slot on a relay back. Ends in `SlotLost`.
    Release(PeerId),
    /// Close all connections to a peer, or accept none from these addresses, until `Unban`.
    Ban(Whom),
    /// Accept the peer, or these addresses, again.
    Unban(Whom),
    /// Ask the DNS for the TXT records of this name. Ends in `Resolved`.
    Resolve(String),
    /// Fetch a signed list of peers from this URL of `http`, `https` or `file`. Ends in `ListFetched`.
    FetchList(String),
    /// Look something up in the distributed hash table. Ends in `Dht`.
    Dht(DhtId, DhtQuery),
    /// This peer answers questions of the distributed hash table, and is at this address.
    Routable {
        /// Who.
        peer: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// Answer others' questions of the distributed hash table, or no longer. A peer begins by not doing so.
    ServeDht(bool),
    /// Send a request over a direct connection. Ends in `Response`.
    Request {
        /// The name for the response.
        id: OutboundId,
        /// To whom.
        peer: PeerId,
        /// On what protocol.
        protocol: Protocol,
        /// What to say.
        body: Vec<u8>,
    },
    /// Answer a request.
    Respond {
        /// Which.
        id: InboundId,
        /// What to say.
        body: Vec<u8>,
    },
    /// Drop a request without an answer.
    Refuse(InboundId),
    /// Take part in a topic.
    Subscribe(Topic),
    /// Leave a topic.
    Unsubscribe(Topic),
    /// Publish to a topic this peer takes part in.
    Publish {
        /// Where.
        topic: Topic,
        /// What.
        data: Vec<u8>,
    },
    /// Judge a gossip message.
    Judge {
        /// Which.
        id: GossipId,
        /// The verdict.
        verdict: Verdict,
    },
    /// The ledger's score of a connected peer is now this many points, at most 0: gossip prefers others to it.
    Score(PeerId, i32),
    /// Run a job. Ends in `WorkDone` or `WorkFailed`.
    Work(WorkId, Job),
    /// Use the archive. Ends in `Archive`.
    Archive(ArchiveId, ArchiveRequest),
    /// Make all batches up to this one durable now. Ends in `Persisted` or `StorageFailed`.
    Flush(Seq),
    /// Answer a command.
    Reply(CommandId, Box<Result<Reply, CommandError>>),
    /// Something a person may want to see.
    Notify(Event),
}

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

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Command::Status`].
    Status(Box<StatusView>),
    /// To [`Command::Peers`].
    Peers(Vec<PeerView>),
    /// To [`Command::Metrics`].
    Metrics(Box<Snapshot>),
    /// To [`Command::Account`].
    Account(AccountView),
    /// To [`Command::Transaction`].
    Transaction(Box<TransactionStatus>),
    /// To [`Command::Block`].
    Block(BlockView),
    /// To [`Command::RecentBlocks`].
    Blocks(Vec<BlockSummary>),
    /// To [`Command::Mempool`].
    Mempool(MempoolView),
    /// To [`DhtQuery::FindPeer`]: where the peer is; empty when nobody knows.
    Addresses(Vec<String>),
    /// To [`DhtQuery::Providers`]: the ids of the peers that say they have it.
    Providers(Vec<String>),
    /// To [`ContentCommand::Offer`]: the chunks that are not here.
    Missing(Vec<u32>),
    /// To [`ContentCommand::Fetch`] and [`ContentCommand::Show`].
    File(Box<FileView>),
    /// To [`ContentCommand::List`].
    Files(Vec<FileView>),
    /// To [`ContentCommand::Read`].
    Chunk(Vec<u8>),
    /// To [`DhtQuery::Trace`].
    Trace(Box<TraceView>),
    /// To [`Command::Bans`].
    Bans(BansView),
    /// To [`Command::RoutingTable`]: the buckets that are not empty, the nearest first.
    RoutingTable(Vec<BucketView>),
    /// To [`Command::Submit`]: the transaction's id.
    Submitted(Hash),
    /// To [`Command::Authorities`].
    Authorities(AuthoritiesView),
    /// To [`Command::History`].
    History(Vec<ChatView>),
    /// To [`Command::Rooms`].
    Rooms(Vec<Room>),
    /// It is done, and there is no more to say.
    Done,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The peer runs without a genesis.
    #[error("this peer follows no chain: start it with a genesis")]
    NoChain,
    /// The peer is still reading its state from disk.
    #[error("the peer is still starting; try again in a moment")]
    Starting,
    /// This peer does not have the answer, and no other has proven it.
    #[error("no peer has proven what was asked for; try again in a moment")]
    Unproven,
    /// There is no such block.
    #[error("no such block here")]
    NoSuchBlock,
    /// There is no such transaction.
    #[error("no such transaction waits here or is in a block")]
    NoSuchTransaction,
    /// The peer proposes with no key, or with that of nobody in force.
    #[error("this peer is no authority: only an authority in force can ask for a change of the set")]
    NoAuthority,
    /// The change asked for cannot be made.
    #[error(
        "that change cannot be made: who is to be added is in already, who is to be removed is not in or is the last, or \
         the set is full"
    )]
    NoSuchChange,
    /// The mempool refused the transaction.
    #[error("the transaction was refused: {0}")]
    Refused(#[from] AdmissionError),
    /// The chat message cannot be sent.
    #[error(transparent)]
    Say(#[from] SayError),
    /// The peer takes part in as many rooms as it may.
    #[error("this peer already takes part in {0} rooms, as many as it may: leave one first")]
    TooManyRooms(usize),
    /// The address cannot be looked up in the DNS.
    #[error("that address is not looked up: {0}")]
    Name(#[from] NameError),
    /// The distributed hash table has no answer.
    #[error(transparent)]
    Dht(#[from] DhtFailure),
    /// Something about files cannot be done.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// There is no such ban to end.
    #[error("that peer or range is not banned")]
    NotBanned,
    /// A peer does not think about itself.
    #[error("that is this peer itself")]
    Oneself,
    /// There is no room for another ban of a range, or another trusted peer.
    #[error(transparent)]
    TooManyDecisions(#[from] TooMany),
    /// The disk no longer takes writes, so nothing can be promised.
    #[error("storage failed, so nothing is accepted any more: {0}")]
    Storage(String),
    /// The peer has more commands waiting than it takes.
    #[error("too many requests wait for an answer; try again in a moment")]
    Busy,
    /// The peer has ended, or is about to.
    #[error("the peer has stopped")]
    Stopped,
}

/// Why something about files is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// There is no room for the file.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// That file, or that part of it, is not here.
    #[error("that file, or that part of it, is not here")]
    NotHere,
    /// These bytes are not that chunk of the file.
    #[error("these bytes are not that chunk of the file")]
    NotTheChunk,
    /// As many files are being fetched as may be.
    #[error("this peer already fetches {0} files, as many as it may at a time; wait for one, or let one go")]
    TooManyFetches(usize),
}

/// Something a person may want to see as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The best chain has a new head; after a reorganisation, blocks above the common ancestor follow in order.
    Block(BlockSummary),
    /// This checkpoint is final: nothing up to it is ever undone.
    Finalised(Checkpoint),
    /// The best chain switched to another branch; this many blocks were undone.
    Reorganised(u64),
    /// Someone said something in a joined room.
    Chat(ChatView),
    /// A peer connected or disconnected, or its connections changed.
    Peers,
    /// The mempool changed; at most one a second.
    Mempool,
    /// Synchronisation moved on; at most four a second.
    Sync(SyncView),
    /// This peer has stood still for so many milliseconds, as frozen tabs and machines that sleep do, and looks now what became of
    /// its connections; 0 when it was only cut off from the network.
    Woke(u64),
    /// Something is wrong that a person should know, in words.
    Alarm(String),
    /// An alarm is over; the same words.
    AlarmOver(String),
}
