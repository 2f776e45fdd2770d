//! What is said in the distributed hash table of a file that is here, and when again.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::content::Maker;

/// How long after a file was told of for the first time it is told of again.
const AGAIN: u64 = 10 * 60 * 1000;

fn told(alone: &mut Alone, of: Hash) -> Vec<DhtId> {
    let mut told = Vec::new();
    alone.outputs.retain(|output| match output {
        Output::Dht(id, DhtQuery::Provide(key)) if *key == of => {
            told.push(*id);
            false
        }
        _ => true,
    });
    told
}

/// It is told now, and somebody hears it.
fn is_told(alone: &mut Alone, of: Hash) {
    let [id] = told(alone, of)[..] else { panic!("it is told once") };
    alone.handle(Input::Dht(id, Ok(DhtAnswer::Done)));
}

/// Told now and once more, and not a third time.
fn is_told_twice(alone: &mut Alone, of: Hash) {
    is_told(alone, of);
    alone.run_to(alone.mono + AGAIN - 1);
    assert_eq!(told(alone, of), [], "too early");
    alone.run_to(alone.mono + 1);
    is_told(alone, of);
    alone.run_to(alone.mono + 3 * AGAIN);
    assert_eq!(told(alone, of), [], "libp2p goes on with it");
}

#[test]
fn what_was_told_is_told_again_ten_minutes_later_and_after_a_restart() {
    let config = || Config { discovery: Discovery { dht: true, ..Discovery::OFF }, ..config(false) };
    let mut alone = Alone::with(config(), SharedStore::default());
    let mut maker = Maker::default();
    maker.add(b"some bytes").unwrap();
    let manifest = maker.finish("x");
    let (cid, content) = (manifest.cid(), manifest.hash());
    alone.ask(Command::Content(ContentCommand::Offer(manifest))).unwrap();
    let put = ContentCommand::Put { cid, index: 0, bytes: b"some bytes".to_vec() };
    alone.ask(Command::Content(put)).unwrap();
    is_told_twice(&mut alone, content);

    let store = SharedStore(SHARED.with(|shared| shared.borrow().clone()));
    let mut again = Alone::with(config(), store);
    again.run_to(1_000);
    is_told_twice(&mut again, content);
}
