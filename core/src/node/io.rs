//! The contract with a shell: what goes in, what comes out.

mod command;
mod dialled;
mod protocol;
mod refused;
mod reply;

use libp2p::{Multiaddr, PeerId};

pub use command::{BlockRef, Command, CommandId, ContentCommand, StandingCommand};
pub use dialled::DialFailure;
pub use protocol::{InboundId, OutboundId, Protocol, RequestFailure};
pub use refused::Refused;
pub use reply::{CommandError, ContentError, Event, Reply};

use super::{
    dht::{DhtAnswer, DhtFailure, DhtId, DhtQuery},
    work::{Job, JobResult, WorkId},
};
use crate::{
    gossip::{Room, Topic},
    peers::{Found, Whom},
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
        /// Why.
        reason: DialFailure,
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
    /// The swarm refused something that others brought.
    Refused(Refused),
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
