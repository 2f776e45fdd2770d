//! A peer that has stood still, and those it takes for connected.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::peers::PeersRequest;

/// How long a slot on a relay lasts, and for how much longer than that the tab sleeps here.
const SLOT_LASTS: u64 = 60 * 60 * 1000;

/// The questions that are open, by the peer that was asked.
fn asked(alone: &mut Alone) -> Vec<(PeerId, OutboundId)> {
    let outputs = std::mem::take(&mut alone.outputs).into_iter();
    let asked = outputs.filter_map(|output| match output {
        Output::Request { id, peer, protocol: Protocol::Sync, .. } => Some((peer, id)),
        _ => None,
    });
    asked.collect()
}

fn woke(alone: &Alone) -> Option<u64> {
    alone.outputs.iter().find_map(|output| match output {
        Output::Notify(Event::Woke(millis)) => Some(*millis),
        _ => None,
    })
}

fn sent_away(alone: &Alone) -> Vec<PeerId> {
    let gone = alone.outputs.iter().filter_map(|output| match output {
        Output::Disconnect(peer) => Some(*peer),
        _ => None,
    });
    gone.collect()
}

#[test]
fn who_stood_still_asks_everybody_and_lets_those_go_who_are_silent() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let peers = [1, 2, 3].map(|number| alone.meet(number));
    let before = asked(&mut alone);
    alone.mono += 3 * 60 * 1000;
    alone.node.handle_timeout(alone.now());
    alone.drain();
    assert!(woke(&alone).is_some_and(|millis| millis > 2 * 60 * 1000));
    let questions = asked(&mut alone);
    let of = |peer: PeerId| questions.iter().rfind(|(asked, _)| *asked == peer).expect("it is asked").1;
    // What was asked before it stood still has had its time too, and says nothing.
    for (_, id) in before {
        alone.handle(Input::Response { id, outcome: Err(RequestFailure::Timeout) });
    }
    assert!(sent_away(&alone).is_empty());
    for (peer, failure) in peers.into_iter().zip([
        RequestFailure::Timeout,
        RequestFailure::Unsupported,
        RequestFailure::ConnectionLost,
    ]) {
        alone.handle(Input::Response { id: of(peer), outcome: Err(failure) });
    }
    assert_eq!(sent_away(&alone), [peers[0]]);
}

#[test]
fn a_shorter_stop_counts_when_the_platform_tells_of_it_and_a_network_that_is_back_always() {
    let mut alone = Alone::new(false, MemoryStore::default());
    alone.meet(1);
    alone.mono += 20_000;
    alone.handle(Input::Pinged { peer: PeerId::random(), millis: 1 });
    assert_eq!(woke(&alone), None, "a busy machine is late too");
    alone.handle(Input::Resumed);
    assert!(woke(&alone).is_some_and(|millis| millis >= 5_000));
    alone.outputs.clear();
    alone.handle(Input::Resumed);
    assert_eq!(woke(&alone), None);

    alone.handle(Input::Offline);
    let alarms = |alone: &mut Alone| match alone.ask(Command::Status) {
        Ok(Reply::Status(status)) => status.alarms,
        other => panic!("{other:?}"),
    };
    assert_eq!(alarms(&mut alone).len(), 1);
    assert_eq!(asked(&mut alone).len(), 1);
    alone.handle(Input::Online);
    assert_eq!(woke(&alone), Some(0));
    assert!(alarms(&mut alone).is_empty());
}

/// A tab with a slot on one of two relays to which it is connected, which it has told others.
struct Guest {
    alone: Alone,
    relays: [PeerId; 2],
}

impl Guest {
    fn new() -> Self {
        let discovery = Discovery { exchange: true, rendezvous: true, ..Discovery::OFF };
        let config = Config { role: Role::Browser, key: Some(key(3)), slots: 1, discovery, ..config(false) };
        let mut alone = Alone::with(config, MemoryStore::default());
        let relays = [1, 2].map(|number| {
            let mut seed = [20 + number; 32];
            let relay =
                libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
            alone.handle(Input::Connected {
                peer: relay,
                connection: ConnectionId(number.into()),
                link: Link::Direct,
                address: at(number),
                outbound: true,
            });
            let protocols = vec!["/libp2p/circuit/relay/0.2.0/hop".into(), "/rendezvous/1.0.0".into()];
            alone.handle(Input::Identified {
                peer: relay,
                agent: "a relay".into(),
                protocols,
                addresses: Vec::new(),
            });
            relay
        });
        let mut guest = Self { alone, relays };
        let (first, circuit) = guest.asked_for_slot().expect("it asks at once");
        guest.granted(first, &circuit);
        guest.alone.run_to(5_000);
        assert_eq!(guest.told(), [circuit.clone(), circuit], "to its peers and at the rendezvous");
        guest
    }

    /// Which relay is asked for a slot, and the address by which this tab would be reached there.
    fn asked_for_slot(&mut self) -> Option<(PeerId, Multiaddr)> {
        let at = self.alone.outputs.iter().position(|output| matches!(output, Output::Reserve { .. }))?;
        match self.alone.outputs.remove(at) {
            Some(Output::Reserve { relay, circuit }) => {
                Some((relay, circuit.with(multiaddr::Protocol::WebRTC)))
            }
            _ => None,
        }
    }

    fn granted(&mut self, relay: PeerId, circuit: &Multiaddr) {
        self.alone.outputs.clear();
        self.alone.handle(Input::Listening(circuit.clone()));
        self.alone.handle(Input::SlotGranted(relay));
    }

    /// What it says of where it is: to those of whom it asks for peers, and at a rendezvous, each the last time.
    fn told(&self) -> Vec<Multiaddr> {
        let bodies = |of: Protocol| {
            let bodies = self.alone.outputs.iter().filter_map(move |output| match output {
                Output::Request { protocol, body, .. } if *protocol == of => Some(body.clone()),
                _ => None,
            });
            bodies.collect::<Vec<_>>()
        };
        let exchanged = bodies(Protocol::Peers).last().and_then(|body| {
            let request: PeersRequest = decode(body, Protocol::Peers.max_request()).unwrap();
            request.own.and_then(|own| own.addresses().first().cloned())
        });
        // In a signed record among the rest.
        let circuits = self.relays.into_iter().zip([1, 2]).map(|(relay, number)| {
            let circuit = at(number).with(multiaddr::Protocol::P2p(relay));
            circuit.with(multiaddr::Protocol::P2pCircuit).with(multiaddr::Protocol::WebRTC)
        });
        let registered = bodies(Protocol::Rendezvous).into_iter().rev().find_map(|body| {
            let names =
                |circuit: &Multiaddr| body.windows(circuit.len()).any(|part| part == circuit.as_ref());
            circuits.clone().find(names)
        });
        exchanged.into_iter().chain(registered).collect()
    }

    /// Sleeps for so long that the relay has forgotten it; nobody has said so. Wakes, and gives back what it takes for its slot.
    fn sleeps(&mut self, circuit: &Multiaddr) {
        self.alone.outputs.clear();
        self.alone.mono += 2 * SLOT_LASTS;
        self.alone.node.handle_timeout(self.alone.now());
        self.alone.drain();
        assert!(woke(&self.alone).is_some_and(|millis| millis > SLOT_LASTS));
        let given_back = self.alone.outputs.iter().find_map(|output| match output {
            Output::Release(relay) => Some(*relay),
            _ => None,
        });
        let relay = given_back.expect("a slot of before is worth nothing");
        self.alone.handle(Input::NotListening(circuit.clone()));
        self.alone.handle(Input::SlotLost { relay, reason: "given back".to_owned() });
    }
}

fn at(number: u8) -> Multiaddr {
    format!("/ip4/10.0.0.{number}/tcp/1/ws").parse().unwrap()
}

#[test]
fn a_tab_whose_slot_ran_out_while_it_slept_asks_for_another_and_tells_of_it() {
    let mut guest = Guest::new();
    let circuit = guest.told().remove(0);
    guest.sleeps(&circuit);
    guest.alone.run_to(guest.alone.mono + 5_000);
    let (relay, again) = guest.asked_for_slot().expect("it asks anew");
    guest.granted(relay, &again);
    guest.alone.run_to(guest.alone.mono + 5_000);
    assert_eq!(guest.told(), [again.clone(), again], "soon, and not at the next time of its own accord");
}

#[test]
fn a_tab_whose_relay_was_gone_when_it_woke_has_a_slot_on_another_and_tells_of_that() {
    let mut guest = Guest::new();
    let circuit = guest.told().remove(0);
    let gone = guest
        .relays
        .into_iter()
        .zip([1, 2])
        .find(|(relay, _)| circuit.to_string().contains(&relay.to_string()));
    let (gone, number) = gone.unwrap();
    guest.sleeps(&circuit);
    let (relay, elsewhere) = guest.asked_for_slot().expect("it asks the other at once");
    assert!(relay != gone && elsewhere != circuit);
    let questions = asked(&mut guest.alone);
    let (_, id) = questions.into_iter().rfind(|(peer, _)| *peer == gone).unwrap();
    guest.alone.handle(Input::Response { id, outcome: Err(RequestFailure::Timeout) });
    assert_eq!(sent_away(&guest.alone), [gone]);
    guest.alone.handle(Input::Disconnected { peer: gone, connection: ConnectionId(number) });
    guest.granted(relay, &elsewhere);
    guest.alone.run_to(guest.alone.mono + 5_000);
    assert_eq!(guest.told(), [elsewhere.clone(), elsewhere]);
}
