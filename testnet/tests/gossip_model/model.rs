//! The modelled peers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use libp2p::PeerId;
use weft_core::{
    gossip::Topic,
    node::{GossipId, Input, Output, Verdict},
    primitives::Now,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, Gossip, Kind, Network, NodeOptions, PeerIx, World, gossipsub::Rules},
};

use super::{
    AFTER, BYTES, Found, Mesh, PEERS, SLOT_MILLIS, SPAM, SPAM_COUNT, SPAMMER, Setting, Spammed, Tree, author,
    dials,
};

/// How often it is looked what is due, in milliseconds.
const STEP: u64 = 5;

/// What the peers heard.
#[derive(Default)]
struct Heard {
    ids: BTreeMap<PeerId, usize>,
    tree: Tree,
    spam: BTreeMap<usize, usize>,
    /// What is judged later: when, by whom and which.
    held: BTreeSet<(u64, usize, GossipId)>,
}

struct Crowd {
    world: World,
    peers: Vec<PeerIx>,
    heard: Rc<RefCell<Heard>>,
}

impl Crowd {
    fn new(setting: &Setting) -> Self {
        let genesis = TestChain::new(EPOCH, SLOT_MILLIS, 1, 0).genesis;
        let mut world = World::new(1);
        // On loopback what takes time is the processor's turn, which comes when it comes.
        world.set_network(Network { flat_micros: Some(300), jitter: 1.0, ..Network::default() });
        world.set_gossip(Gossip::Mesh(Rules::plain(setting.mesh.clone(), setting.scores.clone()).into()));
        let heard: Rc<RefCell<Heard>> = Rc::default();
        let peers: Vec<PeerIx> = (0..PEERS)
            .map(|me| {
                let (heard, setting) = (Rc::clone(&heard), setting.clone());
                let options = NodeOptions { genesis: Some(genesis.clone()), ..NodeOptions::default() };
                world.add_puppet(options, move |now: Now, input: Input, outputs: &mut Vec<Output>| {
                    let Input::Gossip(message) = input else { return };
                    let heard = &mut *heard.borrow_mut();
                    let (first, id) = (message.data[0], message.id);
                    if first >= SPAM {
                        *heard.spam.entry(me).or_default() += 1;
                        outputs.push(Output::Judge { id, verdict: Verdict::Reject });
                        return;
                    }
                    heard.tree.insert((first, me), heard.ids[&message.from]);
                    if setting.holds {
                        heard.held.insert((now.wall.0 + setting.hold(me, first), me, id));
                    } else {
                        outputs.push(Output::Judge { id, verdict: Verdict::Accept });
                    }
                })
            })
            .collect();
        for (me, dials) in dials().into_iter().enumerate() {
            heard.borrow_mut().ids.insert(world.peer_id(peers[me]), me);
            world.act(peers[me], Output::Subscribe(Topic::Block));
            for to in dials {
                let address = world.address(peers[to]);
                world.act(peers[me], Output::Dial(address));
            }
        }
        world.run_for(10_000);
        Self { world, peers, heard }
    }

    fn meshes(&self) -> Vec<Mesh> {
        let mesh = |ix: &PeerIx| {
            let members = self.world.mesh(*ix, &Topic::Block).into_iter();
            members.map(|other| (other.0, self.world.score(*ix, other))).collect()
        };
        self.peers.iter().map(mesh).collect()
    }

    fn publish(&mut self, author: usize, message: u8) {
        let data = vec![message; BYTES];
        self.world.act(self.peers[author], Output::Publish { topic: Topic::Block, data });
    }

    /// Runs for so many milliseconds, in which what is due is judged.
    fn run_for(&mut self, millis: u64) {
        for _ in 0..millis / STEP {
            self.world.run_for(STEP);
            for (me, id) in self.due() {
                self.world.act(self.peers[me], Output::Judge { id, verdict: Verdict::Accept });
            }
        }
    }

    /// What is to be judged by now, and by whom.
    fn due(&self) -> Vec<(usize, GossipId)> {
        let (now, held) = (EPOCH + self.world.elapsed(), &mut self.heard.borrow_mut().held);
        let due = held.extract_if(.., |(due, ..)| *due <= now);
        due.map(|(_, me, id)| (me, id)).collect()
    }
}

/// Spreads messages.
pub(super) fn spread(setting: &Setting) -> Found {
    let mut crowd = Crowd::new(setting);
    let before = crowd.meshes();
    let apart = if setting.holds { 1_500 } else { 100 };
    for message in 0..setting.messages {
        crowd.publish(author(message), message);
        crowd.run_for(apart);
    }
    let received = |ix: &PeerIx| crowd.world.traffic(*ix).received[Kind::Block].messages;
    let copies = crowd.peers.iter().map(received).sum();
    for message in setting.messages..setting.messages + AFTER {
        crowd.publish(author(message), message);
        crowd.run_for(apart);
    }
    let after = crowd.meshes();
    let heard = crowd.heard.borrow();
    Found::new(setting, &heard.tree, copies, &[before, after])
}

/// Has one peer spread spam beside good messages.
pub(super) fn spam(setting: &Setting) -> Spammed {
    let mut crowd = Crowd::new(setting);
    for message in 0..SPAM_COUNT {
        crowd.publish(SPAMMER, SPAM + message);
        crowd.publish(author(message), message);
        crowd.run_for(100);
    }
    // The heartbeats at which it is put out of meshes.
    crowd.run_for(2_000);
    assert!(crowd.meshes().iter().all(|mesh| !mesh.contains_key(&SPAMMER)));
    for message in SPAM_COUNT..SPAM_COUNT + AFTER {
        crowd.publish(author(message), message);
        crowd.run_for(100);
    }
    let heard = crowd.heard.borrow();
    let told =
        (SPAM_COUNT..SPAM_COUNT + AFTER).filter(|message| heard.tree.contains_key(&(*message, SPAMMER)));
    Spammed { heard: heard.spam.clone(), told: told.count() }
}
