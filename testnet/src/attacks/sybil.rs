//! Peers of which one attacker has many: they join every mesh they can, and what they then do with gossip is decided for all at once.
//! The same script is played in virtual time and by [real swarms](crate::rogue::Sybil).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use borsh::BorshDeserialize;
use weft_core::{
    chain::{Checkpoint, Header, Vote},
    gossip::{MeshParameters, Topic, TxMode, TxRefusal, TxRequest, TxResponse},
    node::{GossipId, GossipMessage, Input, OutboundId, Output, Protocol, Role, Verdict},
    primitives::{Hash, Height, Now, PublicKey, Wall, decode, encode},
    sync::{SyncRequest, SyncResponse, SyncStatus},
};

use crate::sim::PeerIx;

/// How often Sybils that were shown out come back, in milliseconds.
pub(crate) const COME_BACK: u64 = 5_000;

/// What Sybils do with gossip. Payments they swallow, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// They pass on everything, at once and unchecked: nobody is faster.
    Serve,
    /// They pass on nothing.
    Swallow,
    /// They pass on everything but what this one signed, and say that they have it all; they answer no question for it.
    Censor(PublicKey),
    /// They pass on everything so many milliseconds late.
    Delay(u64),
    /// They pass on everything at once, say that they have it all, and answer no question for it.
    Withhold,
}

/// What all Sybils of one attacker have in common.
#[derive(Clone, Debug)]
pub struct Orders(Arc<Mutex<Given>>);

#[derive(Debug)]
struct Given {
    conduct: Conduct,
    /// What is passed on later, and when.
    held: VecDeque<(Wall, PeerIx, GossipId)>,
}

impl Orders {
    /// This is what they do at first.
    #[must_use]
    pub fn new(conduct: Conduct) -> Self {
        Self(Arc::new(Mutex::new(Given { conduct, held: VecDeque::new() })))
    }

    /// What they do from now on.
    pub fn give(&self, conduct: Conduct) {
        self.given().conduct = conduct;
    }

    /// What is due to be passed on by now, and by whom.
    pub(super) fn due(&self, now: Wall) -> Vec<(PeerIx, GossipId)> {
        let mut given = self.given();
        let count = given.held.partition_point(|(due, ..)| *due <= now);
        given.held.drain(..count).map(|(_, ix, id)| (ix, id)).collect()
    }

    /// When this one next passes something on that it was to pass on later.
    pub(crate) fn next_of(&self, ix: PeerIx) -> Option<Wall> {
        self.given().held.iter().find(|(_, of, _)| *of == ix).map(|(due, ..)| *due)
    }

    /// What this one is to pass on by now.
    pub(crate) fn due_of(&self, ix: PeerIx, now: Wall) -> Vec<GossipId> {
        let mut given = self.given();
        let (due, later): (VecDeque<_>, _) =
            given.held.drain(..).partition(|(due, of, _)| *of == ix && *due <= now);
        given.held = later;
        due.into_iter().map(|(.., id)| id).collect()
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mesh of a peer that wants to be in everybody's.
pub(crate) const fn greedy() -> MeshParameters {
    const ALL: usize = 1 << 20;
    MeshParameters { target: ALL, low: ALL, high: 2 * ALL, ..MeshParameters::for_role(Role::Native) }
}

/// What a Sybil does, on the chain with this genesis hash. `ix` is its own number.
pub(crate) fn script(ix: PeerIx, genesis: Hash, orders: Orders) -> impl FnMut(Now, Input, &mut Vec<Output>) {
    let mut asked = 0;
    let at_genesis = Checkpoint { height: Height(0), hash: genesis };
    let mut best =
        SyncStatus { genesis, head: genesis, height: Height(0), finalised: at_genesis, oldest: Height(0) };
    move |now, input, outputs| match input {
        Input::Gossip(message) => {
            let mut orders = orders.given();
            if let Some(header) = header(&message).filter(|header| header.height() > best.height) {
                (best.height, best.head) = (header.height(), header.hash());
            }
            let verdict = match orders.conduct {
                Conduct::Serve | Conduct::Withhold => Verdict::Accept,
                Conduct::Swallow => Verdict::Ignore,
                Conduct::Censor(whom) if is_by(&message, &whom) => Verdict::Ignore,
                Conduct::Censor(_) => Verdict::Accept,
                Conduct::Delay(millis) => {
                    orders.held.push_back((Wall(now.wall.0 + millis), ix, message.id));
                    return;
                }
            };
            outputs.push(Output::Judge { id: message.id, verdict });
        }
        // It says it relays payments, so that it is sent some.
        Input::Connected { peer, .. } => {
            asked += 1;
            let hello = TxRequest::Hello { mode: TxMode::PushPull, salt: asked, min_fee_rate: 0 };
            let (id, protocol) = (OutboundId(asked), Protocol::Transactions);
            outputs.push(Output::Request { id, peer, protocol, body: hello.to_bytes() });
        }
        Input::Request { id, protocol: Protocol::Sync, body, .. } => {
            let answer = match (orders.given().conduct, decode(&body, usize::MAX)) {
                (Conduct::Withhold | Conduct::Censor(_), Ok(SyncRequest::Status(_))) => {
                    SyncResponse::Status(best.clone())
                }
                _ => return,
            };
            outputs.push(Output::Respond { id, body: encode(&answer) });
        }
        Input::Request { id, protocol: Protocol::Transactions, body, .. } => {
            let answer = match TxRequest::from_bytes(&body) {
                Ok(TxRequest::Fetch(_)) | Err(_) => return,
                Ok(TxRequest::Sketch { .. }) => TxResponse::Refused(TxRefusal::NotInThisMode),
                Ok(_) => TxResponse::Done,
            };
            outputs.push(Output::Respond { id, body: answer.to_bytes() });
        }
        _ => {}
    }
}

/// The header of an announced block, with which the announcement begins.
fn header(message: &GossipMessage) -> Option<Header> {
    let mut bytes = message.data.as_slice();
    (message.topic == Topic::Block).then(|| Header::deserialize(&mut bytes).ok()).flatten()
}

/// Whether this authority signed what the message says.
fn is_by(message: &GossipMessage, whom: &PublicKey) -> bool {
    let mut bytes = message.data.as_slice();
    match message.topic {
        Topic::Block => header(message).is_some_and(|header| header.content.proposer == *whom),
        Topic::Vote => Vote::deserialize(&mut bytes).is_ok_and(|vote| vote.by == *whom),
        Topic::Evidence | Topic::Chat(_) => false,
    }
}
