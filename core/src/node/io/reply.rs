//! What a node answers, and what it tells unasked.

use crate::{
    chain::Checkpoint,
    content::ShelfError,
    gossip::{Room, SayError},
    mempool::AdmissionError,
    node::{
        content::FileView,
        dht::DhtFailure,
        metrics::Snapshot,
        view::{
            AccountView, AuthoritiesView, BansView, BlockSummary, BlockView, BucketView, ChatView,
            MempoolView, PeerView, StatusView, SyncView, TraceView, TransactionStatus,
        },
    },
    peers::{NameError, TooMany},
    primitives::Hash,
};

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
    /// There is no such ban to end, and nothing to forgive.
    #[error("that peer or range is not banned, and there is nothing to forgive")]
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
