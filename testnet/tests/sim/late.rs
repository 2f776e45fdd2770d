//! A peer that comes late downloads the chain from several others, some of which fail it or lie to it.

use std::{cell::Cell, rc::Rc};

use weft_core::{
    chain::{Block, Header, Transaction},
    node::{Command, Input, Output, Protocol, Reply},
    primitives::{Hash, Height, Now, decode, encode},
    sync::{BodiesRequest, BodiesResponse, SyncRequest, SyncResponse, SyncStatus},
};
use weft_testnet::{
    fixture::{ChainMaker, TestChain, address, key},
    sim::{EPOCH, NodeOptions, PeerIx, Tamper, World},
};

use crate::town::seeds;

const SLOT: u64 = 1_000;

/// A chain made at once, and the bare means to hand it out.
struct Library {
    genesis: Hash,
    headers: Vec<Header>,
    bodies: Vec<Vec<u8>>,
}

impl Library {
    fn new(chain: &TestChain, blocks: Vec<Block>) -> Self {
        let (headers, bodies) = blocks.into_iter().map(|block| (block.header, encode(&block.body))).unzip();
        Self { genesis: chain.hash(), headers, bodies }
    }

    fn status(&self) -> SyncStatus {
        let (head, height) =
            self.headers.last().map_or((self.genesis, Height(0)), |header| (header.hash(), header.height()));
        let finalised = weft_core::chain::Checkpoint { height: Height(0), hash: self.genesis };
        SyncStatus { genesis: self.genesis, head, height, finalised, oldest: Height(0) }
    }

    fn answer(&self, protocol: Protocol, body: &[u8]) -> Option<Vec<u8>> {
        match protocol {
            Protocol::Sync => match decode::<SyncRequest>(body, protocol.max_request()).ok()? {
                SyncRequest::Status(_) => Some(encode(&SyncResponse::Status(self.status()))),
                SyncRequest::Headers { locator, max } => {
                    let known = locator.iter().map(|(height, _)| height.0).max().unwrap_or(0);
                    let from = known as usize;
                    let headers = self.headers.iter().skip(from).take(max as usize).cloned().collect();
                    Some(encode(&SyncResponse::Headers(headers)))
                }
                _ => None,
            },
            Protocol::Archive => {
                let BodiesRequest(keys) = decode(body, protocol.max_request()).ok()?;
                let body = |height: Height| self.bodies.get(height.0 as usize - 1).cloned();
                Some(encode(&BodiesResponse(keys.iter().map(|(height, _)| body(*height)).collect())))
            }
            Protocol::Transactions
            | Protocol::Chat
            | Protocol::Peers
            | Protocol::Content
            | Protocol::Rendezvous => None,
        }
    }

    /// Answers every request truthfully.
    fn open(self) -> impl FnMut(Now, Input, &mut Vec<Output>) + 'static {
        move |_, input, outputs| {
            if let Input::Request { id, protocol, body, .. } = input {
                outputs.push(match self.answer(protocol, &body) {
                    Some(body) => Output::Respond { id, body },
                    None => Output::Refuse(id),
                });
            }
        }
    }
}

/// `blocks` blocks of `transfers` transfers, each from another account; signed on all cores.
fn make_chain(chain: &TestChain, blocks: u64, transfers: usize) -> (Vec<Block>, ChainMaker) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let to = address(&key("shop", 0));
    let sign = |share: usize| -> Vec<Vec<Transaction>> {
        (0..blocks)
            .map(|nonce| {
                let mine = (share..transfers).step_by(threads);
                mine.map(|from| chain.transfer(from, to, nonce)).collect()
            })
            .collect()
    };
    let mut shares: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|share| scope.spawn(move || sign(share))).collect();
        handles.into_iter().map(|handle| handle.join().expect("signing does not panic").into_iter()).collect()
    });
    let mut maker = ChainMaker::new(chain);
    let made = (0..blocks)
        .map(|_| {
            maker.extend(
                shares.iter_mut().flat_map(|share| share.next().expect("a share of every block")).collect(),
            )
        })
        .collect();
    (made, maker)
}

fn options(chain: &TestChain) -> NodeOptions {
    NodeOptions { genesis: Some(chain.genesis.clone()), mempool_bytes: 1 << 20, ..NodeOptions::default() }
}

/// Serves bodies in which one payment is another.
fn lies_about_bodies(lies: &Rc<Cell<u32>>) -> Tamper {
    let lies = Rc::clone(lies);
    Box::new(move |_, output| {
        if let Output::Respond { id, body } = &output
            && let Ok(BodiesResponse(mut bodies)) = decode::<BodiesResponse>(body, usize::MAX)
            && let Some(Some(first)) = bodies.first_mut()
            && first.len() > 200
        {
            first[80] ^= 1;
            lies.set(lies.get() + 1);
            return vec![Output::Respond { id: *id, body: encode(&BodiesResponse(bodies)) }];
        }
        vec![output]
    })
}

/// Serves headers of which the last claims another state.
fn forges_headers(lies: &Rc<Cell<u32>>) -> Tamper {
    let lies = Rc::clone(lies);
    Box::new(move |_, output| {
        if let Output::Respond { id, body } = &output
            && let Ok(SyncResponse::Headers(mut headers)) = decode::<SyncResponse>(body, usize::MAX)
            && let Some(last) = headers.last_mut()
        {
            last.content.state_root = Hash([6; 32]);
            lies.set(lies.get() + 1);
            return vec![Output::Respond { id: *id, body: encode(&SyncResponse::Headers(headers)) }];
        }
        vec![output]
    })
}

fn dial(world: &mut World, by: PeerIx, whom: PeerIx) {
    let address = world.address(whom);
    assert_eq!(world.command(by, Command::Dial(address)), Ok(Reply::Done));
}

/// Whether a peer holds something against another.
fn is_penalised(world: &mut World, by: PeerIx, whom: PeerIx) -> bool {
    let id = world.peer_id(whom).to_string();
    let Ok(Reply::Peers(peers)) = world.command(by, Command::Peers) else { panic!("no peers") };
    world.seen(by).banned.contains(&whom) || peers.iter().any(|view| view.peer == id && view.score < 0)
}

fn syncs(seed: u64, blocks: u64, transfers: usize) {
    let chain = TestChain::new(EPOCH, SLOT, 3, transfers);
    let (made, maker) = make_chain(&chain, blocks, transfers);
    let (head, root) = (maker.head().hash(), maker.trie().root());
    let mut world = World::new(seed);
    world.set_wall(EPOCH + (blocks + 1) * SLOT);
    let library = world.add_puppet(options(&chain), Library::new(&chain, made).open());
    let first = world.add_node(NodeOptions { bootstrap: vec![library], ..options(&chain) });
    let is_there = move |world: &mut World, ix| {
        let chain = world.chain(ix);
        (chain.height.0, chain.head, chain.state_root) == (blocks, head, root)
    };
    world.run_until(600_000, |world| is_there(world, first));
    world.run_for(1_000);
    world.kill(library);

    let storage = world.storage(first);
    let copy = |tamper| NodeOptions { storage: storage.clone(), tamper, ..options(&chain) };
    let dying = world.add_node(copy(None));
    let (wrong, forged) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let liar = world.add_node(copy(Some(lies_about_bodies(&wrong))));
    let forger = world.add_node(copy(Some(forges_headers(&forged))));
    world.run_for(5_000);
    assert!(is_there(&mut world, dying), "a restart finds its chain");

    // One after the other, so that every one of them is asked.
    let late = world.add_node(NodeOptions { bootstrap: vec![forger], ..options(&chain) });
    world.run_until(60_000, |_| forged.get() > 0);
    dial(&mut world, late, liar);
    world.run_until(60_000, |_| wrong.get() > 0);
    dial(&mut world, late, dying);
    world.run_until(60_000, |world| world.chain(late).height.0 > 0);
    world.kill(dying);
    dial(&mut world, late, first);
    world.run_until(600_000, |world| is_there(world, late));

    // What is under way arrives.
    world.run_for(2_000);
    assert!(is_penalised(&mut world, late, liar), "the liar gets away");
    assert!(is_penalised(&mut world, late, forger), "the forger gets away");
    assert!(world.seen(late).most_in_flight <= 16);
    world.check_all();
}

#[test]
fn a_late_peer_syncs_while_one_server_dies_and_two_lie() {
    for seed in seeds(4) {
        syncs(seed, 300, 3);
    }
}

#[test]
fn two_thousand_blocks_of_two_hundred_transfers_sync_while_one_server_dies_and_two_lie() {
    syncs(9, 2_000, 200);
}
