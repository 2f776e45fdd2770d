//! Accounts and transactions that a peer does not have, and how it comes to know of them.

use weft_core::{
    chain::Transaction,
    mempool::AdmissionError,
    node::{Command, CommandError, InBlock, Reply, SyncPhase, TransactionStatus, Verified},
    primitives::{Amount, Hash, Height, decode, encode},
    state::TransferError,
    store::{Store, Table},
    sync::{Strategy, SyncResponse},
};
use weft_testnet::{
    fixture::{TestChain, address, key},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

use super::strategies::{FINAL, answers, blames, is_there, join, made, servers};

fn ask(world: &mut World, ix: PeerIx, id: Hash) -> Result<TransactionStatus, CommandError> {
    match world.command(ix, Command::Transaction(id))? {
        Reply::Transaction(status) => Ok(*status),
        other => panic!("{ix:?} answered {other:?} when asked for a transaction"),
    }
}

/// The transaction of the made chain's block at a height.
fn made_at(height: u64) -> &'static Transaction {
    &made().blocks[height as usize - 1].body.transactions[0]
}

fn in_block(height: u64, verified: Verified, as_of: u64) -> Option<InBlock> {
    let hash = made().header(Height(height)).hash();
    let (height, as_of) = (Height(height), Height(as_of));
    Some(InBlock { height, hash, finalised: height.0 <= FINAL, verified, as_of })
}

#[test]
fn a_full_peer_finds_a_transaction_of_any_block_and_says_whether_it_is_final() {
    let (mut world, servers) = servers(31, vec![None]);
    let ix = join(&mut world, &servers, Strategy::Full);
    world.run_until(60_000, |world| is_there(world, ix));
    world.run_for(2_000);
    for _ in 0..2 {
        for height in [1, 300, FINAL, FINAL + 1, 623] {
            let status = ask(&mut world, ix, made_at(height).id()).unwrap();
            assert_eq!(status.transaction.id, made_at(height).id());
            assert_eq!(status.block, in_block(height, Verified::Executed, 623), "at {height}");
        }
        assert_eq!(ask(&mut world, ix, Hash::ZERO), Err(CommandError::NoSuchTransaction));
        // After a restart nothing is in memory any more.
        world.restart(ix, Keep::All).unwrap();
        world.run_for(5_000);
    }
    let nonce = world.account(ix, made().chain.address(0)).next_nonce;
    let waiting = made().chain.transfer(0, address(&key("shop", 0)), nonce);
    world.submit(ix, waiting.clone()).unwrap();
    assert_eq!(ask(&mut world, ix, waiting.id()).unwrap().block, None);
}

#[test]
fn a_peer_that_joined_by_proof_has_older_transactions_proven() {
    for strategy in [Strategy::Snap, Strategy::Light] {
        let (mut world, servers) = servers(32, vec![None, None]);
        let ix = join(&mut world, &servers, strategy);
        let light = strategy == Strategy::Light;
        let phase = if light { SyncPhase::Light } else { SyncPhase::Following };
        world.run_until(60_000, |world| world.chain(ix).sync.phase == phase);
        world.run_for(1_000);
        for height in [1, 300, FINAL] {
            let status = ask(&mut world, ix, made_at(height).id()).unwrap();
            assert_eq!(status.block, in_block(height, Verified::Proven, FINAL), "{strategy}: at {height}");
        }
        let newer = ask(&mut world, ix, made_at(FINAL + 1).id()).map(|status| status.block);
        let executed = Ok(in_block(FINAL + 1, Verified::Executed, 623));
        assert_eq!(newer, if light { Err(CommandError::Unproven) } else { executed });
        assert_eq!(ask(&mut world, ix, Hash::ZERO), Err(CommandError::Unproven));
        for server in &servers {
            assert!(!blames(&mut world, ix, *server), "{strategy}: not knowing is no offence");
        }
    }
}

#[test]
fn no_transaction_is_believed_without_a_right_proof_and_a_wrong_one_is_blamed() {
    for strategy in [Strategy::Snap, Strategy::Light] {
        for part in 0..4 {
            let lies = answers(move |response| match response {
                SyncResponse::Transaction(Some(mut proof)) => {
                    match part {
                        0 => proof.transaction.content.amount = Amount(7),
                        1 => proof.header.content.slot.0 += 1,
                        2 => proof.ancestry = None,
                        _ => {
                            let mut bytes = encode(&proof.inclusion);
                            bytes[0] ^= 1;
                            proof.inclusion = decode(&bytes, usize::MAX).unwrap_or(proof.inclusion);
                            proof.header.content.tx_root = Hash([1; 32]);
                        }
                    }
                    Some(SyncResponse::Transaction(Some(proof)))
                }
                other => Some(other),
            });
            let (mut world, servers) = servers(33, vec![lies, None]);
            let ix = join(&mut world, &servers, strategy);
            let goal = [SyncPhase::Light, SyncPhase::Following];
            world.run_until(60_000, |world| goal.contains(&world.chain(ix).sync.phase));
            world.run_for(1_000);
            for height in [40, 50, 60] {
                let status = ask(&mut world, ix, made_at(height).id()).unwrap();
                assert_eq!(status.block, in_block(height, Verified::Proven, FINAL), "{strategy}, {part}");
            }
            assert!(!blames(&mut world, ix, servers[1]));
            world.kill(servers[1]);
            world.run_for(2_000);
            assert_eq!(
                ask(&mut world, ix, made_at(70).id()),
                Err(CommandError::Unproven),
                "{strategy}, {part}"
            );
            assert!(blames(&mut world, ix, servers[0]), "{strategy}, {part}");
        }
    }
}

/// Four validators that make blocks, from the start on.
fn validators(chain: &TestChain, seed: u64) -> (World, Vec<PeerIx>) {
    let mut world = World::new(seed);
    let mut validators: Vec<PeerIx> = Vec::new();
    for index in 0..4 {
        let options = NodeOptions {
            genesis: Some(chain.genesis.clone()),
            validator: Some(key("validator", index)),
            bootstrap: validators.clone(),
            ..NodeOptions::default()
        };
        validators.push(world.add_node(options));
    }
    world.run_until(120_000, |world| world.chain(validators[0]).finalised.0 >= 16);
    (world, validators)
}

#[test]
fn a_light_peer_pays_and_knows_when_that_is_final() {
    let chain = TestChain::new(EPOCH, 1_000, 4, 3);
    let (mut world, validators) = validators(&chain, 34);
    let ix = world.add_node(NodeOptions {
        genesis: Some(chain.genesis.clone()),
        bootstrap: validators[..2].to_vec(),
        strategy: Strategy::Light,
        ..NodeOptions::default()
    });
    world.run_until(60_000, |world| world.chain(ix).sync.phase == SyncPhase::Light);
    world.run_for(1_000);
    let (from, to) = (chain.address(0), address(&key("shop", 0)));
    let mut ids = Vec::new();
    for nonce in 0..3 {
        assert_eq!(world.account(ix, from).next_nonce, nonce, "what waits is counted");
        let transaction = chain.transfer(0, to, nonce);
        ids.push(world.submit(ix, transaction).unwrap());
    }
    assert!(world.account(ix, from).pending_balance.0 < TestChain::GRANT - 2);
    assert_eq!(world.account(ix, from).balance, Amount(TestChain::GRANT), "nothing is final yet");
    for id in &ids {
        assert_eq!(ask(&mut world, ix, *id).map(|status| status.block), Ok(None));
    }
    let repeated = chain.transfer(0, to, 0);
    assert_eq!(
        world.submit(ix, repeated),
        Err(CommandError::Refused(AdmissionError::Known)),
        "it waits already"
    );
    let mut dear = chain.unsigned(1, to, 0);
    dear.amount = Amount(2 * TestChain::GRANT);
    let refused = world.submit(ix, dear.sign(&chain.accounts[1], &chain.hash()));
    let overdraft = |error: &AdmissionError| {
        matches!(error, AdmissionError::Invalid(TransferError::Overdraft { .. }))
            || matches!(error, AdmissionError::Committed { .. })
    };
    assert!(matches!(&refused, Err(CommandError::Refused(error)) if overdraft(error)), "{refused:?}");

    // The peer dies before it is done: what it promised is on its disk, and it goes on with that.
    world.restart(ix, Keep::Prefix(world.unsettled(ix))).unwrap();
    world.run_until(120_000, |world| {
        ids.iter().all(|id| ask(world, ix, *id).is_ok_and(|status| status.block.is_some()))
    });
    for id in &ids {
        let block = ask(&mut world, ix, *id).unwrap().block.unwrap();
        assert!(block.finalised && block.verified == Verified::Proven && block.as_of >= block.height);
    }
    let account = world.account(ix, from);
    assert_eq!((account.nonce, account.next_nonce, account.verified), (3, 3, Verified::Proven));
    assert_eq!(world.account(ix, to).balance, Amount(3));
    let kept = world.storage(ix).store.range(Table("mempool/own"), &[], 1);
    assert_eq!(kept, [], "what is settled need not be kept");
    for validator in &validators[..2] {
        assert!(!blames(&mut world, ix, *validator));
    }
}

#[test]
fn a_payment_of_a_light_peer_survives_a_crash_before_anyone_has_it() {
    let chain = TestChain::new(EPOCH, 1_000, 4, 3);
    let (mut world, validators) = validators(&chain, 35);
    let ix = world.add_node(NodeOptions {
        genesis: Some(chain.genesis.clone()),
        bootstrap: validators[..1].to_vec(),
        strategy: Strategy::Light,
        ..NodeOptions::default()
    });
    world.run_until(60_000, |world| world.chain(ix).sync.phase == SyncPhase::Light);
    let transaction = chain.transfer(0, address(&key("shop", 0)), 0);
    let id = world.submit(ix, transaction).unwrap();
    // At the moment of the promise the transaction has not left: the push waits for more to gather.
    world.restart(ix, Keep::Prefix(0)).unwrap();
    assert_eq!(ask(&mut world, validators[0], id), Err(CommandError::NoSuchTransaction));
    world.run_until(120_000, |world| ask(world, ix, id).is_ok_and(|status| status.block.is_some()));
}
