//! Peers of which one attacker has many: they join every mesh they can, and what they then do with gossip is decided for all at once.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use borsh::BorshDeserialize;
use weft_core::{
    chain::{Checkpoint, Header, Vote},
    gossip::{MeshParameters, Topic, TxMode, TxRefusal, TxRequest, TxResponse},
    node::{GossipId, GossipMessage, Input, OutboundId, Output, Protocol, Role, Verdict},
    primitives::{Hash, Height, Now, PublicKey, Wall, decode, encode},
    sync::{SyncRequest, SyncResponse, SyncStatus},
};

use crate::sim::PeerIx;

/// What Sybils do with gossip. Payments they swallow, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
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

/// What all Sybils of a world have in common.
pub(super) struct Orders {
    pub(super) conduct: Conduct,
    /// What is passed on later, and when.
    held: VecDeque<(Wall, PeerIx, GossipId)>,
}

pub(super) type SharedOrders = Rc<RefCell<Orders>>;

impl Orders {
    pub(super) fn new(conduct: Conduct) -> SharedOrders {
        Rc::new(RefCell::new(Self { conduct, held: VecDeque::new() }))
    }

    /// What is due to be passed on by now, and by whom.
    pub(super) fn due(&mut self, now: Wall) -> Vec<(PeerIx, GossipId)> {
        let count = self.held.partition_point(|(due, ..)| *due <= now);
        self.held.drain(..count).map(|(_, ix, id)| (ix, id)).collect()
    }
}

/// The mesh of a peer that wants to be in everybody's.
pub(super) const fn greedy() -> MeshParameters {
    const ALL: usize = 1 << 20;
    MeshParameters { target: ALL, low: ALL, high: 2 * ALL, ..MeshParameters::for_role(Role::Native) }
}

/// What a Sybil does, on the chain with this genesis hash. `ix` is its own number.
pub(super) fn script(
    ix: PeerIx,
    genesis: Hash,
    orders: SharedOrders,
) -> impl FnMut(Now, Input, &mut Vec<Output>) {
    let mut asked = 0;
    let at_genesis = Checkpoint { height: Height(0), hash: genesis };
    let mut best =
        SyncStatus { genesis, head: genesis, height: Height(0), finalised: at_genesis, oldest: Height(0) };
    move |now, input, outputs| match input {
        Input::Gossip(message) => {
            let mut orders = orders.borrow_mut();
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
            let answer = match (orders.borrow().conduct, decode(&body, usize::MAX)) {
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
