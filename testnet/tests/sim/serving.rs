//! What a peer that has followed the chain answers to one that wants to join without doing so.

use std::{cell::RefCell, rc::Rc, sync::OnceLock};

use weft_core::{
    chain::{Checkpoint, Header},
    node::{Command, Input, OutboundId, Output, Protocol, Reply},
    primitives::{Hash, Height, Now, decode, encode, merkle_root, verify_each},
    sync::{MAX_HEADERS, Proven, SyncRequest, SyncResponse, TransactionProofError},
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain, address, key},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

const SLOT: u64 = 1_000;

/// 1,295 blocks in which one authority comes and another goes; the last finalised checkpoint is at 1,264.
fn made() -> &'static LongChain {
    static CHAIN: OnceLock<LongChain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let chain = TestChain::with_bystanders(EPOCH, SLOT, 4, 3, 500);
        LongChain::make(ChainMaker::voting(&chain), &chain, 1_295, |maker, height| {
            match height {
                20 => maker.let_in(4),
                90 => maker.put_out(0),
                _ => {}
            }
            vec![chain.transfer(height as usize % 3, address(&key("payee", height)), (height - 1) / 3)]
        })
    })
}

/// By request; none where it was refused.
type Answers = Rc<RefCell<Vec<(u64, Option<SyncResponse>)>>>;

/// A peer that only serves, and one that only asks it.
struct Desk {
    world: World,
    server: PeerIx,
    asker: PeerIx,
    answers: Answers,
    asked: u64,
}

impl Desk {
    fn open() -> Self {
        let made = made();
        let mut world = World::new(5);
        world.set_wall(made.now().0);
        let options = || NodeOptions { genesis: Some(made.chain.genesis.clone()), ..NodeOptions::default() };
        let server = world.add_node(NodeOptions { storage: made.storage(), ..options() });
        let answers = Answers::default();
        let heard = Rc::clone(&answers);
        let asker = world.add_puppet(options(), move |_: Now, input: Input, _: &mut Vec<Output>| {
            if let Input::Response { id, outcome } = input {
                let answer = outcome.ok().map(|bytes| {
                    assert!(bytes.len() <= Protocol::Sync.max_response());
                    decode(&bytes, usize::MAX).expect("an honest peer's answers can be read")
                });
                heard.borrow_mut().push((id.0, answer));
            }
        });
        let mut desk = Self { world, server, asker, answers, asked: 0 };
        desk.connect();
        desk
    }

    fn connect(&mut self) {
        let address = self.world.address(self.server);
        self.world.act(self.asker, Output::Dial(address));
        self.world.run_for(5_000);
    }

    fn send(&mut self, request: &SyncRequest) -> u64 {
        self.asked += 1;
        let peer = self.world.peer_id(self.server);
        let (id, body) = (OutboundId(self.asked), encode(request));
        self.world.act(self.asker, Output::Request { id, peer, protocol: Protocol::Sync, body });
        self.asked
    }

    fn ask(&mut self, request: &SyncRequest) -> SyncResponse {
        let id = self.send(request);
        self.world.run_for(3_000);
        let answer = self.answers.borrow().iter().find(|(of, _)| *of == id).map(|(_, answer)| answer.clone());
        answer.flatten().unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    fn diffs(&mut self, from: u64, to: Checkpoint) -> Vec<Header> {
        let SyncResponse::Diffs(diffs) = self.ask(&SyncRequest::Diffs { from: Height(from), to }) else {
            panic!("no diffs")
        };
        let root = |accounts: &[(Hash, _)]| merkle_root(accounts.iter().map(encode));
        diffs.iter().for_each(|diff| assert_eq!(root(&diff.accounts), diff.header.content.diff_root));
        diffs.into_iter().map(|diff| diff.header).collect()
    }

    fn before(&mut self, height: u64, hash: Hash, max: u32) -> Vec<Header> {
        match self.ask(&SyncRequest::HeadersBefore { height: Height(height), hash, max }) {
            SyncResponse::Headers(headers) => headers,
            other => panic!("{other:?}"),
        }
    }
}

fn checkpoint(height: u64) -> Checkpoint {
    Checkpoint { height: Height(height), hash: made().header(Height(height)).hash() }
}

/// The heights from one to another, on the chain in that order.
fn are(headers: &[Header], from: u64, to: u64) -> bool {
    headers.iter().eq((from..=to).map(|height| made().header(Height(height))))
}

#[test]
fn the_proof_of_the_newest_checkpoint_is_served_from_any_older_one() {
    let mut desk = Desk::open();
    let genesis = made().chain.hash();
    for restarted in [false, true] {
        let SyncResponse::Warp { fragments, finished } = desk.ask(&SyncRequest::Warp { from: Height(0) })
        else {
            panic!("no proof")
        };
        let heights: Vec<_> = fragments.iter().map(|fragment| fragment.checkpoint.height().0).collect();
        // Decided at 20, proven at 32, in force from 49 on, so proven again at 64; and likewise from 90 on.
        assert_eq!(heights, [32, 64, 96, 128, 1_264]);
        assert!(finished);
        let end = Proven::genesis(&made().chain.genesis).follow_all(&fragments).unwrap();
        assert_eq!((end.checkpoint, end.record.set.id), (checkpoint(1_264), 2));
        assert_eq!(verify_each(5, |index, batch| fragments[index].add_to_batch(&genesis, batch)), [true; 5]);
        for from in [1_264, 1_295, u64::MAX] {
            let nothing = SyncResponse::Warp { fragments: Vec::new(), finished: true };
            assert_eq!(desk.ask(&SyncRequest::Warp { from: Height(from) }), nothing);
        }
        if !restarted {
            desk.world.restart(desk.server, Keep::All).unwrap();
            desk.connect();
        }
    }
}

#[test]
fn the_records_of_finalised_checkpoints_are_served_and_of_nothing_else() {
    let mut desk = Desk::open();
    for height in [16, 32, 48, 64, 640, 1_248, 1_264] {
        let hash = made().header(Height(height)).hash();
        let answer = desk.ask(&SyncRequest::Checkpoint { hash });
        let SyncResponse::Checkpoint(Some(found)) = answer else { panic!("none at {height}") };
        assert_eq!((&found.0, &found.1), (made().header(Height(height)), &**made().record(Height(height))));
    }
    // The genesis header is nobody's to serve: it is made from the genesis.
    for hash in [Hash::ZERO, checkpoint(0).hash, checkpoint(17).hash, checkpoint(1_280).hash] {
        assert_eq!(desk.ask(&SyncRequest::Checkpoint { hash }), SyncResponse::Checkpoint(None));
    }
}

#[test]
fn the_last_eight_finalised_checkpoints_are_served_and_older_ones_are_gone() {
    let mut desk = Desk::open();
    for height in (1_152..=1_264).step_by(16) {
        let header = made().header(Height(height));
        let answer = desk.ask(&SyncRequest::Pivot { hash: header.hash() });
        let SyncResponse::Pivot(Some(parts)) = answer else { panic!("none at {height}") };
        assert_eq!((parts.mmr.count(), parts.mmr.root()), (height, header.content.mmr_root));
    }
    for hash in [Hash::ZERO, checkpoint(1_136).hash, checkpoint(1_263).hash, checkpoint(1_280).hash] {
        assert_eq!(desk.ask(&SyncRequest::Pivot { hash }), SyncResponse::Pivot(None));
    }
}

#[test]
fn accounts_and_ranges_are_proven_at_each_checkpoint_that_is_served() {
    let mut desk = Desk::open();
    for restarted in [false, true] {
        for height in (1_152..=1_264).step_by(16).map(Height) {
            let (header, accounts) = (made().header(height), made().accounts(height));
            let (pivot, root) = (header.hash(), header.content.state_root);
            let keys = [address(&key("account", 0)), address(&key("nobody", 0))].map(|of| of.trie_key());
            for key in keys {
                let SyncResponse::Account(Some(proof)) = desk.ask(&SyncRequest::Account { pivot, key })
                else {
                    panic!("no proof at {height}")
                };
                assert_eq!(proof.verify(&root, &key), Ok(accounts.get(&key).copied().unwrap_or_default()));
            }
            let (from, to) = (Hash::ZERO, Hash([255; 32]));
            let SyncResponse::Range(Some(proof)) = desk.ask(&SyncRequest::Range { pivot, from, to }) else {
                panic!("no range at {height}")
            };
            let range = proof.verify(&root, &from, &to).unwrap();
            assert_eq!((range.leaves, range.next), (accounts.into_iter().collect(), None));
        }
        if !restarted {
            desk.world.restart(desk.server, Keep::All).unwrap();
            desk.connect();
        }
    }
    let (key, from, to) = (Hash::ZERO, Hash::ZERO, Hash([255; 32]));
    for pivot in [Hash::ZERO, checkpoint(1_136).hash, checkpoint(1_280).hash, made().chain.hash()] {
        assert_eq!(desk.ask(&SyncRequest::Account { pivot, key }), SyncResponse::Account(None));
        assert_eq!(desk.ask(&SyncRequest::Range { pivot, from, to }), SyncResponse::Range(None));
    }
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused_and_held_against_who_asks() {
    let mut desk = Desk::open();
    let (pivot, from, to) = (checkpoint(1_264).hash, Hash([9; 32]), Hash([8; 32]));
    let id = desk.send(&SyncRequest::Range { pivot, from, to });
    desk.world.run_for(3_000);
    assert_eq!(*desk.answers.borrow(), [(id, None)]);
    let Ok(Reply::Peers(peers)) = desk.world.command(desk.server, Command::Peers) else { panic!("no peers") };
    assert!(peers[0].score < 0, "{}", peers[0].score);
}

#[test]
fn changes_are_served_in_order_for_a_thousand_blocks_and_no_further() {
    let mut desk = Desk::open();
    let newest = checkpoint(1_264);
    assert!(are(&desk.diffs(1_152, newest), 1_153, 1_264));
    assert!(are(&desk.diffs(240, checkpoint(256)), 241, 256));
    assert!(are(&desk.diffs(1_263, newest), 1_264, 1_264));
    let long = desk.diffs(240, newest);
    assert!(are(&long, 241, 240 + long.len() as u64) && long.len() > 500 && long.len() < 1_024);
    for (from, to) in [
        (239, newest),
        (0, newest),
        (1_264, newest),
        (1_265, newest),
        (u64::MAX, newest),
        (1_200, Checkpoint { height: Height(u64::MAX), ..newest }),
        (1_200, Checkpoint { hash: Hash::ZERO, ..newest }),
        (1_264, checkpoint(1_280)),
    ] {
        assert_eq!(desk.diffs(from, to), [], "from {from} to {to:?}");
    }
}

#[test]
fn headers_are_served_backwards_from_the_tree_and_from_the_archive() {
    let mut desk = Desk::open();
    for (height, max, from) in
        [(1_290, 10, 1_280), (1_290, 500, 1_264), (1_264, 500, 764), (700, u32::MAX, 1), (5, 3, 2)]
    {
        let headers = desk.before(height, checkpoint(height).hash, max);
        assert!(are(&headers, from, height - 1), "{} before {height}", headers.len());
        assert!(headers.len() <= MAX_HEADERS);
    }
    let hash = checkpoint(700).hash;
    for (height, hash, max) in [
        (700, hash, 0),
        (699, hash, 9),
        (0, hash, 9),
        (u64::MAX, hash, u32::MAX),
        (1_290, hash, 9),
        (9, Hash::ZERO, 9),
    ] {
        assert_eq!(desk.before(height, hash, max), [], "before {height}");
    }
}

#[test]
fn a_transaction_of_any_block_is_proven_under_every_checkpoint_after_it() {
    let mut desk = Desk::open();
    for (block, pivot) in [(1, 1_264), (31, 1_152), (32, 1_264), (640, 1_248), (1_247, 1_248), (1_264, 1_264)]
    {
        let transaction = &made().blocks[block - 1].body.transactions[0];
        let (checkpoint, id) = (made().header(Height(pivot)), transaction.id());
        let pivot = checkpoint.hash();
        let SyncResponse::Transaction(Some(proof)) = desk.ask(&SyncRequest::Transaction { pivot, id }) else {
            panic!("no proof of the transaction of block {block}")
        };
        assert_eq!((&proof.transaction, proof.header.height()), (transaction, Height(block as u64)));
        assert_eq!(proof.verify(checkpoint, &id), Ok(()));
        assert_eq!(proof.verify(checkpoint, &Hash::ZERO), Err(TransactionProofError::Other));
        let before = made().header(checkpoint.height().saturating_sub(1));
        assert_eq!(proof.verify(before, &id), Err(TransactionProofError::Ancestry));
        let mut other = proof.clone();
        other.header.content.tx_root = Hash::ZERO;
        assert_eq!(other.verify(checkpoint, &id), Err(TransactionProofError::Inclusion));
    }
    let of = |block: usize| made().blocks[block - 1].body.transactions[0].id();
    for (pivot, id) in [
        (checkpoint(1_264).hash, Hash::ZERO),
        (checkpoint(1_264).hash, of(1_265)),
        (checkpoint(1_248).hash, of(1_249)),
        (checkpoint(1_136).hash, of(1)),
        (Hash::ZERO, of(1)),
    ] {
        let request = SyncRequest::Transaction { pivot, id };
        assert_eq!(desk.ask(&request), SyncResponse::Transaction(None));
    }
}

#[test]
fn who_asks_for_more_than_anyone_needs_is_put_off_and_others_are_not() {
    let mut desk = Desk::open();
    let ask = SyncRequest::Diffs { from: Height(240), to: checkpoint(1_264) };
    let ids: Vec<_> = (0..120).map(|_| desk.send(&ask)).collect();
    desk.world.run_for(10_000);
    let answers = desk.answers.borrow().clone();
    let of = |id: &u64| answers.iter().find(|(of, _)| of == id).and_then(|(_, answer)| answer.clone());
    let busy = ids.iter().filter(|id| of(id) == Some(SyncResponse::Busy)).count();
    assert!((1..60).contains(&busy), "{busy} of {} were put off", ids.len());
    assert!(!desk.diffs(1_200, checkpoint(1_264)).is_empty(), "the budget does not come back");
}
