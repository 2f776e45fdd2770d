//! Many questions at once to a peer that answers none for a while.

use futures::{FutureExt, future::select_all};

use super::*;
use crate::swarm::{codec::Codec, requests::MAX_INBOUND};

/// What one connection may have open of one protocol.
const OF_CONNECTION: usize = 64;
const ASKERS: usize = 3;
const PROTOCOLS: [Protocol; 6] = [
    Protocol::Sync,
    Protocol::Archive,
    Protocol::Transactions,
    Protocol::Chat,
    Protocol::Peers,
    Protocol::Content,
];

impl Peer {
    /// The next so many questions that it is asked.
    async fn asked(&mut self, count: usize) -> Vec<InboundId> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let id = |input| if let Input::Request { id, .. } = input { Some(id) } else { None };
            heard.push(self.told(id).await);
        }
        heard
    }
}

/// How the next of their questions ends.
async fn any_outcome(askers: &mut [Peer]) -> Result<Vec<u8>, RequestFailure> {
    let outcome = |input| if let Input::Response { outcome, .. } = input { Some(outcome) } else { None };
    let told = askers.iter_mut().map(|asker| asker.told(outcome).boxed_local());
    select_all(told).await.0
}

#[test]
fn so_many_questions_wait_for_an_answer_and_further_ones_are_dropped_unheard() {
    run(|spawner| async move {
        let mut victim = Peer::start(&spawner, Some(chain("ours")));
        let mut askers: Vec<_> = (0..ASKERS).map(|_| Peer::start(&spawner, Some(chain("ours")))).collect();
        for asker in &mut askers {
            asker.dial(&mut victim).await;
        }
        let of_each = OF_CONNECTION * PROTOCOLS.len();
        let surplus = ASKERS * of_each - MAX_INBOUND;
        assert!(surplus > 0, "or nothing is tested");
        for asker in &askers {
            for id in 0..of_each {
                let protocol = PROTOCOLS[id % PROTOCOLS.len()];
                let (id, peer, body) = (OutboundId(id as u64), victim.id, b"ask".to_vec());
                asker.put_out(Output::Request { id, peer, protocol, body });
            }
        }
        let heard = victim.asked(MAX_INBOUND).await;
        for _ in 0..surplus {
            assert_eq!(
                any_outcome(&mut askers).await,
                Err(RequestFailure::ConnectionLost),
                "dropped at once"
            );
        }
        let unheard = |input| matches!(input, Input::Refused(Refused::RequestUnheard)).then_some(());
        for _ in 0..surplus {
            victim.told(unheard).await;
        }
        for id in heard {
            victim.put_out(Output::Respond { id, body: b"at last".to_vec() });
        }
        for _ in 0..MAX_INBOUND {
            assert_eq!(any_outcome(&mut askers).await, Ok(b"at last".to_vec()));
        }
        // There is room again.
        victim.react(|input| match input {
            Input::Request { id, body, .. } => Some(Output::Respond { id: *id, body: body.clone() }),
            _ => None,
        });
        let again = askers[0].request(victim.id, Protocol::Sync, 10_000).await;
        assert_eq!(again, Ok(b"ask".to_vec()));
    });
}

/// Asks somebody so much at once, and tells how each question ends.
async fn pester(
    mut swarm: Swarm<request_response::Behaviour<Codec>>,
    at: Multiaddr,
    questions: usize,
    ends: mpsc::UnboundedSender<bool>,
) {
    swarm.dial(at).unwrap();
    loop {
        let end = match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                for _ in 0..questions {
                    swarm.behaviour_mut().send_request(&peer_id, Ok(b"ask".to_vec()));
                }
                continue;
            }
            SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. }) => false,
            SwarmEvent::Behaviour(request_response::Event::Message {
                message: request_response::Message::Response { .. },
                ..
            }) => true,
            _ => continue,
        };
        ends.unbounded_send(end).unwrap();
    }
}

#[test]
fn one_connection_has_so_many_questions_open_whatever_the_other_side_allows_itself() {
    run(|spawner| async move {
        let mut victim = Peer::start(&spawner, Some(chain("ours")));
        let (protocol, surplus) = (Protocol::Sync, 36);
        let name = protocol.name(Some(&chain("ours").hash())).unwrap();
        let (_, stranger) = stranger(Codec::new(protocol), name, 2 * (OF_CONNECTION + surplus));
        let (ends, mut ended) = mpsc::unbounded();
        let at = victim.address.clone().with(Part::P2p(victim.id));
        spawner.spawn_local(pester(stranger, at, OF_CONNECTION + surplus, ends)).unwrap();
        let heard = victim.asked(OF_CONNECTION).await;
        for _ in 0..surplus {
            assert_eq!(ended.next().await, Some(false), "dropped at once");
        }
        for id in heard {
            victim.put_out(Output::Respond { id, body: b"at last".to_vec() });
        }
        for _ in 0..OF_CONNECTION {
            assert_eq!(ended.next().await, Some(true));
        }
    });
}
