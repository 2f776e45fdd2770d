//! A peer that has stood still, and those it takes for connected.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

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
