//! The model of gossipsub, held to its specification, with scripted peers.

use std::{cell::Cell, rc::Rc};

use weft_core::{
    gossip::{MeshParameters, ScoreParameters, Topic},
    node::{Input, Output, Verdict},
    primitives::Now,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{
        EPOCH, Gossip, Kind, Network, NodeOptions, PeerIx, World,
        gossipsub::{Rules, library},
    },
};

use crate::town::{SLOT, Town};

/// Peers that judge all gossip alike and count what they hear.
struct Crowd {
    world: World,
    peers: Vec<PeerIx>,
    heard: Vec<Rc<Cell<u32>>>,
}

const D8: MeshParameters = MeshParameters { target: 8, low: 6, heartbeat_millis: 700, ..library() };

fn unscored(mesh: MeshParameters) -> Rules {
    Rules::plain(mesh, None)
}

impl Crowd {
    /// So many peers, each of which dials `dials` others.
    fn new(seed: u64, rules: Rules, count: usize, dials: usize, verdict: impl Fn(usize) -> Verdict) -> Self {
        let mut world = World::new(seed);
        world.set_gossip(Gossip::Mesh(rules.into()));
        let mut crowd = Self { world, peers: Vec::new(), heard: Vec::new() };
        for index in 0..count {
            crowd.add_judge(verdict(index));
        }
        let Self { world, peers, .. } = &mut crowd;
        for (index, &peer) in peers.iter().enumerate() {
            for step in 1..=dials {
                let other = peers[(index + step * step + step / 2) % count];
                let address = world.address(other);
                world.act(peer, Output::Dial(address));
            }
        }
        crowd
    }

    /// One more, that accepts all it hears.
    fn add(&mut self) -> PeerIx {
        self.add_judge(Verdict::Accept)
    }

    fn add_judge(&mut self, verdict: Verdict) -> PeerIx {
        let count = Rc::new(Cell::new(0));
        self.heard.push(Rc::clone(&count));
        let genesis = Some(TestChain::new(EPOCH, 1_000, 1, 0).genesis);
        let options = NodeOptions { genesis, ..NodeOptions::default() };
        let peer = self.world.add_puppet(options, move |_: Now, input: Input, outputs: &mut Vec<Output>| {
            if let Input::Gossip(message) = input {
                count.set(count.get() + 1);
                outputs.push(Output::Judge { id: message.id, verdict });
            }
        });
        self.world.act(peer, Output::Subscribe(Topic::Block));
        self.peers.push(peer);
        peer
    }

    fn dial(&mut self, from: usize, to: usize) {
        let address = self.world.address(self.peers[to]);
        self.world.act(self.peers[from], Output::Dial(address));
    }

    fn publish(&mut self, from: usize, data: Vec<u8>) {
        self.world.act(self.peers[from], Output::Publish { topic: Topic::Block, data });
    }

    fn heard(&self) -> Vec<u32> {
        self.heard.iter().map(|heard| heard.get()).collect()
    }

    /// Copies received for each message and receiver.
    fn copies(&self) -> f64 {
        let came: u64 =
            self.peers.iter().map(|ix| self.world.traffic(*ix).received[Kind::Block].messages).sum();
        came as f64 / f64::from(self.heard().iter().sum::<u32>())
    }
}

fn accept(_: usize) -> Verdict {
    Verdict::Accept
}

#[test]
fn meshes_settle_between_their_bounds_and_both_sides_agree() {
    for seed in 0..3 {
        let mut crowd = Crowd::new(seed, unscored(D8), 60, 8, accept);
        crowd.world.run_for(20_000);
        for &ix in &crowd.peers {
            let mesh = crowd.world.mesh(ix, &Topic::Block);
            // Up to two more: whom a peer has dialled itself may graft it beyond the bound until the next heartbeat.
            assert!((6..=14).contains(&mesh.len()), "seed {seed}: {ix:?} has {} in its mesh", mesh.len());
            for other in mesh {
                assert!(crowd.world.mesh(other, &Topic::Block).contains(&ix), "{other:?} has pruned {ix:?}");
            }
        }
    }
}

#[test]
fn a_mesh_that_all_those_a_peer_dialled_join_is_thinned_at_the_next_heartbeat() {
    // Nobody else has anybody, so all graft the one that dialled them, and it lets them.
    let mut crowd = Crowd::new(6, unscored(D8), 41, 0, accept);
    for index in 1..41 {
        crowd.dial(0, index);
    }
    crowd.world.run_for(5_000);
    let mesh = crowd.world.mesh(crowd.peers[0], &Topic::Block);
    assert_eq!(mesh.len(), 8, "{mesh:?}");
}

#[test]
fn a_full_mesh_of_callers_takes_in_two_that_the_peer_dialled() {
    let mut crowd = Crowd::new(7, unscored(D8), 60, 8, accept);
    crowd.world.run_for(10_000);
    let hub = crowd.add();
    for index in 0..8 {
        crowd.dial(index, 60);
    }
    crowd.world.run_for(5_000);
    let callers = crowd.world.mesh(hub, &Topic::Block);
    assert!(callers.len() >= 6, "{callers:?}");
    // Their meshes are full: none of them grafts.
    for index in 20..24 {
        crowd.dial(60, index);
    }
    crowd.world.run_for(5_000);
    let mesh = crowd.world.mesh(hub, &Topic::Block);
    let dialled = mesh.iter().filter(|ix| crowd.peers[20..24].contains(ix)).count();
    assert!(dialled >= 2, "{mesh:?}");
}

#[test]
fn a_mesh_that_brings_nothing_first_takes_in_whoever_does() {
    let rules = MeshParameters { opportunity_heartbeats: 5, ..D8 };
    let scored = Rules::plain(rules.clone(), Some(ScoreParameters::derive(1_000, 3, &rules)));
    let mut crowd = Crowd::new(8, scored, 60, 8, accept);
    crowd.world.run_for(10_000);
    let hub = crowd.add();
    for index in 0..8 {
        crowd.dial(index, 60);
    }
    crowd.world.run_for(5_000);
    // Two that it does not need, and that bring their own messages to everybody.
    for index in [20, 40] {
        crowd.dial(index, 60);
    }
    crowd.world.run_for(2_000);
    let able = [crowd.peers[20], crowd.peers[40]];
    let before = crowd.world.mesh(hub, &Topic::Block);
    assert!(!before.iter().any(|ix| able.contains(ix)), "{before:?}");
    for round in 0..20_u8 {
        crowd.publish([20, 40][usize::from(round) % 2], vec![round; 500]);
        crowd.world.run_for(500);
    }
    let mesh = crowd.world.mesh(hub, &Topic::Block);
    assert!(mesh.iter().any(|ix| able.contains(ix)), "{mesh:?}");
}

#[test]
fn who_is_pruned_is_left_alone_until_its_backoff_is_over() {
    // Everybody knows everybody, so that meshes overflow and are pruned.
    let rules = MeshParameters { target: 3, low: 2, high: 4, best: 2, outbound: 1, ..D8 };
    let mut crowd = Crowd::new(1, unscored(rules), 12, 5, accept);
    crowd.world.run_for(3_000);
    let before: u64 =
        crowd.peers.iter().map(|ix| crowd.world.traffic(*ix).sent[Kind::Control].messages).sum();
    crowd.world.run_for(30_000);
    let after: u64 = crowd.peers.iter().map(|ix| crowd.world.traffic(*ix).sent[Kind::Control].messages).sum();
    // There is nothing to tell by IHAVE, so all that could be sent is GRAFT and PRUNE.
    assert!(after - before <= 24, "{} control messages though all are pruned already", after - before);
}

#[test]
fn everybody_hears_a_message_once_with_fewer_copies_than_a_flood() {
    let mut crowd = Crowd::new(2, unscored(D8), 100, 10, accept);
    crowd.world.run_for(10_000);
    for round in 0..20_u8 {
        crowd.publish(usize::from(round) * 3, vec![round; 500]);
        crowd.world.run_for(2_000);
    }
    let heard = crowd.heard();
    assert_eq!(heard.iter().sum::<u32>(), 20 * 99, "{heard:?}");
    let copies = crowd.copies();
    assert!((3.0..12.0).contains(&copies), "{copies} copies; a flood over 20 links makes 19");
}

#[test]
fn what_is_lost_is_told_by_ihave_and_fetched() {
    let heard = |lazy| {
        let sparse = MeshParameters {
            target: 3,
            low: 2,
            high: 4,
            best: 2,
            outbound: 1,
            lazy,
            gossip_factor: 0.0,
            ..D8
        };
        let mut crowd = Crowd::new(3, unscored(sparse), 60, 8, accept);
        crowd.world.run_for(10_000);
        crowd.world.set_network(Network { loss: 0.2, ..Network::default() });
        for round in 0..40_u8 {
            crowd.publish(usize::from(round), vec![round; 100]);
            crowd.world.run_for(3_000);
        }
        crowd.world.run_for(10_000);
        let fetched: u64 = crowd.peers.iter().map(|ix| crowd.world.mesh_counts(*ix).fetched).sum();
        (f64::from(crowd.heard().iter().sum::<u32>()) / (40.0 * 59.0), fetched)
    };
    let (without, none) = heard(0);
    let (with, fetched) = heard(6);
    assert!(none == 0 && fetched > 0, "{none} and {fetched} were fetched");
    // What asks and what tells is lost as well, and a message is told of for three heartbeats only.
    assert!(3.0 * (1.0 - with) < 1.0 - without, "{with} with lazy gossip, {without} without");
}

#[test]
fn idontwant_spares_copies_of_large_messages_only() {
    let copies = |bytes: usize, idontwant_bytes| {
        let rules = MeshParameters { idontwant_bytes, ..D8 };
        let mut crowd = Crowd::new(4, unscored(rules), 80, 10, accept);
        // Where some ways are slower than others, so that a peer often hears of a message before it has it.
        crowd.world.set_network(Network { jitter: 3.0, ..Network::default() });
        crowd.world.run_for(10_000);
        for round in 0..20_u8 {
            crowd.publish(usize::from(round), vec![round; bytes]);
            crowd.world.run_for(2_000);
        }
        assert_eq!(crowd.heard().iter().sum::<u32>(), 20 * 79);
        let spared: u64 = crowd.peers.iter().map(|ix| crowd.world.mesh_counts(*ix).spared).sum();
        (crowd.copies(), spared)
    };
    let (large, spared) = copies(2_000, 1_024);
    let (plain, none) = copies(2_000, usize::MAX);
    assert!(none == 0 && spared > 0 && large < 0.98 * plain, "{large} copies with, {plain} without");
    assert_eq!(copies(500, 1_024).1, 0);
}

#[test]
fn who_passes_on_what_is_invalid_is_pruned_and_then_not_heard() {
    let rules = Rules::plain(D8, Some(ScoreParameters::derive(1_000, 3, &D8)));
    // One accepts everything, and so passes it on; the others reject all of it.
    let judge = |index| if index == 1 { Verdict::Accept } else { Verdict::Reject };
    let mut crowd = Crowd::new(5, rules, 20, 4, judge);
    crowd.world.allow_blame();
    crowd.world.run_for(10_000);
    let bad = crowd.peers[1];
    assert!(!crowd.world.mesh(bad, &Topic::Block).is_empty());
    for round in 0..20_u8 {
        crowd.publish(1, vec![round; 10]);
        crowd.world.run_for(1_000);
    }
    assert_eq!(crowd.world.mesh(bad, &Topic::Block), []);
    let before = crowd.heard();
    crowd.publish(1, vec![99; 10]);
    crowd.world.run_for(5_000);
    assert_eq!(crowd.heard(), before, "a graylisted peer is heard");
}

#[test]
fn a_town_agrees_over_the_model_and_replays() {
    let run = |seed| {
        let mut town = Town::with_gossip(seed, 3, 12, Gossip::Mesh(Rules::weft(SLOT, 3).into()));
        town.world.run_for(40 * SLOT);
        town.converge(35, 5 * SLOT);
        town.world.check_all();
        town.world.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
