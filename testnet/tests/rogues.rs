//! A misbehaving peer on the real swarm commits every offence there is against a real node and a real relay.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use libp2p::Multiaddr;
use serde_json::Value;
use weft_core::peers::{Offence, Severity};
use weft_testnet::{
    fixture::{LongChain, TestChain},
    live::{Chain, NodeOptions, PATIENCE, Process, RelayOptions, answer, wait_for},
    rogue::{Deed, Rogue, Sight},
};

const SLOT_MILLIS: u64 = 200;
const BLOCKS: u64 = 40;

/// A chain of which a checkpoint is final, whose next slots have passed, and to which nobody adds.
fn made() -> Arc<LongChain> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let time = u64::try_from(now).unwrap() - 2 * BLOCKS * SLOT_MILLIS;
    Arc::new(LongChain::paying(&TestChain::new(time, SLOT_MILLIS, 3, 4), BLOCKS))
}

/// A node or a relay that has all of the chain.
fn victim(chain: &Chain, name: &str) -> Process {
    let command = match name {
        "relay" => {
            chain.give("relay/chain").unwrap();
            chain.relay_command(name, &RelayOptions::default())
        }
        _ => {
            chain.give(name).unwrap();
            chain.node_command(name, &NodeOptions::default())
        }
    };
    let mut victim = Process::start_ready(name, command, chain.dir()).unwrap();
    victim.reach(BLOCKS).unwrap();
    victim
}

fn address(victim: &Process) -> Multiaddr {
    victim.tcp_addresses()[0].parse().unwrap()
}

fn run(chain: &Chain, at: &Process, words: &[&str]) -> Value {
    let mut command = chain.weft();
    answer(command.args(words).args(["--json", "--rpc", at.rpc_address()])).unwrap()
}

/// What `weft bans` says that a peer is banned for.
fn cause(chain: &Chain, victim: &Process, peer: &str) -> Option<String> {
    let bans = run(chain, victim, &["bans"])["bans"].as_array().unwrap().clone();
    let ban = bans.into_iter().find(|ban| ban["whom"] == peer)?;
    Some(ban["cause"].as_str().unwrap().to_owned())
}

/// What `weft peers` holds against a peer that is connected: how often it did this, and its score.
fn held(chain: &Chain, victim: &Process, peer: &str, offence: Offence) -> Option<(u64, i64)> {
    let peers = run(chain, victim, &["peers"]).as_array().unwrap().clone();
    let view = peers.into_iter().find(|view| view["peer"] == peer)?;
    Some((view["offences"][offence.name()].as_u64().unwrap_or_default(), view["score"].as_i64().unwrap()))
}

async fn arrives(rogue: &mut Rogue, at: &Process) {
    rogue.visit(address(at));
    assert_eq!(rogue.sees().await.unwrap(), Sight::Connected);
}

/// It comes again, and is not let in, or shown out at once.
async fn is_shut_out(rogue: &mut Rogue, at: &Process) {
    rogue.visit(address(at));
    match rogue.sees().await.unwrap() {
        Sight::Refused(_) => {}
        Sight::Connected => assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected),
        Sight::Disconnected => panic!("it was not connected"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_and_a_relay_give_every_offence_the_answer_it_deserves() {
    let made = made();
    for name in ["node", "relay"] {
        let chain = Chain::made(&made).unwrap();
        let mut victim = victim(&chain, name);
        for deed in Deed::all() {
            let offence = deed.offence();
            let mut rogue = Rogue::start(made.clone(), deed).unwrap();
            let id = rogue.id().to_string();
            arrives(&mut rogue, &victim).await;
            rogue.strike();
            let what = format!("the {name} answers {offence}");
            match offence.severity() {
                Severity::Fatal => {
                    assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected, "{what}");
                    assert_eq!(cause(&chain, &victim, &id).as_deref(), Some(offence.name()), "{what}");
                    is_shut_out(&mut rogue, &victim).await;
                }
                // Each question too many costs a point, and it does not stop.
                _ if offence == Offence::Flood => {
                    assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected, "{what}");
                }
                severity => {
                    let (_, score) = wait_for(&what, PATIENCE, || {
                        victim.check()?;
                        Ok(held(&chain, &victim, &id, offence).filter(|(times, _)| *times > 0))
                    })
                    .unwrap();
                    assert!(score <= 1 - i64::from(severity.points()), "{what}: {score}");
                    assert_eq!(cause(&chain, &victim, &id), None, "{what}");
                }
            }
        }
        assert_eq!(victim.height().unwrap(), BLOCKS, "{name}");
        victim.check().unwrap();
        assert!(!victim.log().contains("panicked"), "{}", victim.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_is_shown_out_and_in_the_end_banned() {
    let made = made();
    let chain = Chain::made(&made).unwrap();
    let victim = victim(&chain, "node");
    let mut rogue = Rogue::start(made, Deed::of(Offence::Malformed)).unwrap();
    let id = rogue.id().to_string();
    arrives(&mut rogue, &victim).await;
    for times in 1..=2 {
        rogue.strike();
        wait_for("it is held against it", PATIENCE, || {
            Ok(held(&chain, &victim, &id, Offence::Malformed).filter(|(held, _)| *held == times))
        })
        .unwrap();
    }
    // Below -20 with the third, and again with each.
    rogue.strike();
    assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected);
    for _ in 4..=5 {
        assert_eq!(cause(&chain, &victim, &id), None);
        arrives(&mut rogue, &victim).await;
        rogue.strike();
        assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected);
    }
    // Below -50 with the sixth.
    arrives(&mut rogue, &victim).await;
    rogue.strike();
    assert_eq!(rogue.sees().await.unwrap(), Sight::Disconnected);
    assert_eq!(cause(&chain, &victim, &id).as_deref(), Some("malformed"));
    is_shut_out(&mut rogue, &victim).await;
}
