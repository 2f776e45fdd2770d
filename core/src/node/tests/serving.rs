//! Reads from the archive for others: so many at a time for one peer, and for all.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::node::ArchiveId;

/// A peer asks for a body that is not in memory. Returns the read that it leads to; none if it is refused.
fn ask(alone: &mut Alone, peer: PeerId, number: u64) -> Option<ArchiveId> {
    let body = encode(&BodiesRequest(vec![(Height(1), Hash::of(&number.to_le_bytes()))]));
    alone.outputs.clear();
    alone.handle(Input::Request { id: InboundId(number), peer, protocol: Protocol::Archive, body });
    let is_refusal = |output: &Output| matches!(output, Output::Refuse(id) if *id == InboundId(number));
    let refused = alone.outputs.iter().any(is_refusal);
    let read = alone.outputs.iter().find_map(|output| match output {
        Output::Archive(id, ArchiveRequest::Bodies { .. }) => Some(*id),
        _ => None,
    });
    assert_eq!(read.is_none(), refused);
    read
}

fn busy(alone: &Alone) -> u64 {
    alone.node.fx.refusals.get("archive-busy").copied().unwrap_or_default()
}

#[test]
fn the_archive_is_read_for_one_peer_so_often_at_once_and_for_all_so_often() {
    let mut alone = Alone::with(Config { max_inbound: 64, ..config(false) }, MemoryStore::default());
    let mut number = 0;
    let mut ask = |alone: &mut Alone, peer| {
        number += 1;
        ask(alone, peer, number)
    };
    let mut reads = Vec::new();
    for peer in 0..16 {
        let peer = alone.meet(peer);
        for _ in 0..8 {
            reads.push(ask(&mut alone, peer).expect("it may have eight"));
        }
        let before = busy(&alone);
        assert_eq!((ask(&mut alone, peer), busy(&alone)), (None, before + 1), "the ninth");
    }
    assert_eq!(reads.len(), 128);
    let newcomer = alone.meet(16);
    assert_eq!((ask(&mut alone, newcomer), busy(&alone)), (None, 17), "all places are taken");
    alone.handle(Input::Archive(reads[0], Ok(ArchiveAnswer::Bodies(vec![None]))));
    assert!(ask(&mut alone, newcomer).is_some(), "a read that has ended makes room");
    assert!(ask(&mut alone, newcomer).is_none());
}
