//! Headers without end: signed as they should be, and still no more of them are kept or passed on than the caps allow.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

use weft_core::{
    chain::{Block, Checkpoint},
    gossip::CompactBlock,
    node::{Input, Output, Protocol},
    primitives::{Hash, Height, Now, decode, encode},
    sync::{BodiesRequest, BodiesResponse, SyncRequest, SyncResponse, SyncStatus},
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain},
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

use crate::siege::{Blame, Siege};

/// Of how many blocks for one slot somebody floods the network with.
const SIBLINGS: usize = 40;
/// How many headers a peer takes ahead of what it has executed, and how many come at once.
const AHEAD: u64 = 8_192;
const AT_ONCE: u64 = 1_024;

/// Many blocks for the present slot, each signed by the one whose turn it is.
fn siblings(siege: &Siege) -> Vec<Block> {
    let slot = siege.slot();
    let sibling = |payer: usize| {
        let payment = siege.chain.transfer(payer % 20, siege.chain.address(payer / 20), 0);
        siege.maker.clone().extend_at(slot, vec![payment])
    };
    (0..SIBLINGS).map(sibling).collect()
}

/// The blocks at a height on a peer's disk.
fn held(siege: &Siege, ix: PeerIx, height: Height) -> usize {
    siege.world.storage(ix).archive.keys().filter(|(at, _)| *at == height).count()
}

#[test]
fn of_many_blocks_for_one_slot_two_are_kept_and_passed_on() {
    let mut siege = Siege::new(40);
    siege.goes_on(Vec::new());
    siege.next_slot();
    let flood = siblings(&siege);
    let height = flood[0].header.height();
    let intruder = siege.mute();
    for block in flood {
        siege.gossip(intruder, encode(&CompactBlock::whole(&block)));
    }
    for ix in [siege.victim, siege.bystander] {
        assert_eq!(held(&siege, ix, height), 2, "{ix:?}");
    }
    // Whoever passes them on cannot know how many there are.
    assert_eq!(siege.blame(intruder), Blame::none());
}

#[test]
fn of_many_branches_for_one_slot_two_are_downloaded() {
    let mut siege = Siege::new(41);
    siege.goes_on(Vec::new());
    siege.next_slot();
    let flood = siblings(&siege);
    let (genesis, height) = (siege.chain.hash(), flood[0].header.height());
    let asked: Rc<RefCell<BTreeSet<Hash>>> = Rc::default();
    let shown = Rc::new(Cell::new(0));
    let (asked_for, next) = (Rc::clone(&asked), Rc::clone(&shown));
    let intruder = siege.intruder(move |_, input, outputs| {
        let Input::Request { id, protocol, body, .. } = input else { return };
        let body = match protocol {
            Protocol::Sync => match decode(&body, usize::MAX) {
                Ok(SyncRequest::Status(_)) => {
                    let finalised = Checkpoint { height: Height(0), hash: genesis };
                    let (head, height) = (flood[0].header.hash(), Height(height.0 + 10));
                    encode(&SyncResponse::Status(SyncStatus {
                        genesis,
                        head,
                        height,
                        finalised,
                        oldest: Height(0),
                    }))
                }
                Ok(SyncRequest::Headers { .. }) => {
                    let header = flood[next.get() % SIBLINGS].header.clone();
                    next.set(next.get() + 1);
                    encode(&SyncResponse::Headers(vec![header]))
                }
                _ => return,
            },
            Protocol::Archive => {
                let BodiesRequest(keys) = decode(&body, usize::MAX).expect("the victim is honest");
                asked_for.borrow_mut().extend(keys.iter().map(|(_, hash)| *hash));
                let find = |(_, hash): &(Height, Hash)| {
                    flood.iter().find(|block| block.header.hash() == *hash).map(|block| encode(&block.body))
                };
                encode(&BodiesResponse(keys.iter().map(find).collect()))
            }
            Protocol::Transactions
            | Protocol::Chat
            | Protocol::Peers
            | Protocol::Content
            | Protocol::Rendezvous => return,
        };
        outputs.push(Output::Respond { id, body });
    });
    // It says again and again that it has more.
    siege.world.run_for(200_000);
    assert!(shown.get() > 10, "headers were asked for {} times", shown.get());
    assert!(asked.borrow().len() <= 2, "{} of them were downloaded", asked.borrow().len());
    assert!(held(&siege, siege.victim, height) <= 2);
    assert!(!siege.blame(intruder).banned);
}

#[test]
fn headers_far_ahead_of_any_body_are_not_asked_for() {
    let chain = TestChain::new(EPOCH, 1_000, 3, 1);
    let blocks = AHEAD + 3 * AT_ONCE;
    let made = LongChain::make(ChainMaker::voting(&chain), &chain, blocks, |_, _| Vec::new());
    let mut world = World::new(42);
    world.set_wall(made.now().0);
    let options = || NodeOptions { genesis: Some(chain.genesis.clone()), ..NodeOptions::default() };
    let (genesis, head) = (chain.hash(), made.tip.head().hash());
    let highest = Rc::new(Cell::new(0));
    let given = Rc::clone(&highest);
    let headers: Vec<_> = made.blocks.iter().map(|block| block.header.clone()).collect();
    // All headers there are, and never a body.
    let flooder = world.add_puppet(options(), move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        let Input::Request { id, protocol, body, .. } = input else { return };
        let body = match (protocol, decode(&body, usize::MAX)) {
            (Protocol::Sync, Ok(SyncRequest::Status(_))) => {
                let finalised = Checkpoint { height: Height(0), hash: genesis };
                let (height, oldest) = (Height(blocks), Height(0));
                encode(&SyncResponse::Status(SyncStatus { genesis, head, height, finalised, oldest }))
            }
            (Protocol::Sync, Ok(SyncRequest::Headers { locator, max })) => {
                let known = locator.first().map_or(0, |(height, _)| height.0) as usize;
                let last = headers.len().min(known + max as usize);
                given.set(given.get().max(last as u64));
                encode(&SyncResponse::Headers(headers[known..last].to_vec()))
            }
            (Protocol::Archive, _) => {
                let BodiesRequest(keys) = decode(&body, usize::MAX).expect("the victim is honest");
                encode(&BodiesResponse(vec![None; keys.len()]))
            }
            _ => return,
        };
        outputs.push(Output::Respond { id, body });
    });
    let victim = world.add_node(NodeOptions { bootstrap: vec![flooder], ..options() });
    world.run_for(300_000);
    assert_eq!(world.chain(victim).height, Height(0));
    assert!((AHEAD..AHEAD + AT_ONCE).contains(&highest.get()), "{} headers were taken", highest.get());

    // Somebody who has the bodies is enough.
    let storage = made.storage();
    world.add_node(NodeOptions { storage, bootstrap: vec![victim], ..options() });
    world.run_until(600_000, |world| world.chain(victim).height.0 > AT_ONCE);
    assert!(world.seen(victim).banned.is_empty());
    world.check_all();
}
