//! The simulator's model of gossipsub beside the library: fifty real swarms over TCP on loopback, and fifty modelled peers with
//! the same parameters and the same connections. How large meshes become, how many copies of a message come, over how
//! many hops the first one, and what a mesh's members are worth must agree within [`TOLERANCE`].
//!
//! Nothing here waits for a time but what a run is about: the swarms' heartbeats take as long as they take, and a message is published once the one
//! before has reached everybody.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "gossip_model/model.rs"]
mod model;
#[path = "gossip_model/swarms.rs"]
mod swarms;

use std::{collections::BTreeMap, ops::RangeInclusive};

use weft_core::{
    gossip::{MeshParameters, ScoreParameters},
    node::Role,
};
use weft_testnet::scenario::Scenario;

const PEERS: usize = 50;
/// More messages that follow, so that of those counted no copy is still on its way when all is over.
const AFTER: u8 = 10;
/// Large enough for IDONTWANT.
const BYTES: usize = 3_000;
/// How far from the library's the model's mean mesh, copies, hops and scores may be.
const TOLERANCE: f64 = 0.25;
/// The slot that scores are derived from.
const SLOT_MILLIS: u64 = 1_000;
/// Messages that begin with this byte, or a greater one, are spam.
const SPAM: u8 = 200;
/// How much of it there is.
const SPAM_COUNT: u8 = 24;
/// After so much of it nobody listens to whoever brought it: where 50 times the square passes 16,000.
const SPAM_HEARD: RangeInclusive<usize> = 18..=19;
/// Who brings it.
const SPAMMER: usize = 0;

/// What both sides are set to.
#[derive(Clone)]
struct Setting {
    mesh: MeshParameters,
    scores: Option<ScoreParameters>,
    /// Whether everybody takes a while to judge a message.
    holds: bool,
    /// Messages that are counted.
    messages: u8,
}

impl Setting {
    fn new() -> Self {
        let mesh = MeshParameters::for_role(Role::Native);
        Self { mesh, scores: None, holds: false, messages: 60 }
    }

    /// Everybody is scored, as on a chain.
    fn scored() -> Self {
        let mut setting = Self::new();
        setting.scores = Some(ScoreParameters::derive(SLOT_MILLIS, 1, &setting.mesh));
        setting
    }

    /// For how long a peer holds a message, in milliseconds: each another time, so that what is sent meanwhile comes in time or does not,
    /// however fast the machine is.
    const fn hold(&self, me: usize, message: u8) -> u64 {
        if self.holds { 40 + 20 * ((me * 31 + message as usize * 17) % 8) as u64 } else { 0 }
    }
}

/// Who publishes a message: everybody but the spammer in turn.
const fn author(message: u8) -> usize {
    1 + message as usize * 8 % (PEERS - 1)
}

/// Whom each peer dials.
fn dials() -> Vec<Vec<usize>> {
    let text = format!(
        "name = \"fifty\"\nseed = 9\nseconds = 60\nslot-millis = {SLOT_MILLIS}\n\
         [[peers]]\nname = \"all\"\nrole = \"native\"\ncount = {PEERS}\nvalidators = 1\ndials = 8\n"
    );
    Scenario::parse(&text).unwrap().dials()
}

/// Whom each peer is connected to.
fn neighbours() -> Vec<Vec<usize>> {
    let mut all = dials();
    for (from, dialled) in dials().iter().enumerate() {
        dialled.iter().for_each(|to| all[*to].push(from));
    }
    all
}

/// From whom each peer had each message first, by number.
type Tree = BTreeMap<(u8, usize), usize>;

/// Who is in a peer's mesh, and what each is worth.
type Mesh = BTreeMap<usize, f64>;

/// What a run came to.
#[derive(Debug)]
struct Found {
    /// Of those who should have heard, who did.
    delivered: f64,
    /// The least, mean and greatest number of peers in a mesh, before the first message.
    mesh: (usize, f64, usize),
    /// Copies that each received of each message.
    copies: f64,
    /// How many times a message was passed on before it first came.
    hops: f64,
    /// What the members of a mesh are worth after the last message, mean.
    worth: f64,
    /// And the best of each mesh, mean.
    best: f64,
}

impl Found {
    fn new(setting: &Setting, tree: &Tree, copies: u64, [before, after]: &[Vec<Mesh>; 2]) -> Self {
        let counted = || tree.keys().filter(|(message, _)| *message < setting.messages);
        let mut hops = 0;
        for &(message, to) in counted() {
            let mut at = to;
            while at != author(message) {
                hops += 1;
                at = tree[&(message, at)];
            }
        }
        let heard = counted().count() as f64;
        let sizes = || before.iter().map(Mesh::len);
        let members: usize = after.iter().map(Mesh::len).sum();
        let best = after.iter().map(|mesh| mesh.values().copied().fold(0.0, f64::max));
        Self {
            delivered: heard / (f64::from(setting.messages) * (PEERS - 1) as f64),
            mesh: (
                sizes().min().unwrap(),
                sizes().sum::<usize>() as f64 / PEERS as f64,
                sizes().max().unwrap(),
            ),
            copies: copies as f64 / heard,
            hops: f64::from(hops) / heard,
            worth: after.iter().flat_map(Mesh::values).sum::<f64>() / members as f64,
            best: best.sum::<f64>() / PEERS as f64,
        }
    }
}

/// What became of a spammer.
#[derive(Debug)]
struct Spammed {
    /// How much each of its neighbours heard of it.
    heard: BTreeMap<usize, usize>,
    /// How many good messages the spammer heard after the last of it.
    told: usize,
}

fn compare(setting: &Setting) -> [Found; 2] {
    let modelled = model::spread(setting);
    let real = swarms::spread(setting);
    println!("model: {modelled:.3?}\nreal:  {real:.3?}");
    assert!(modelled.delivered == 1.0 && real.delivered == 1.0, "{modelled:?} and {real:?}");
    // Up to two more than the bound between two heartbeats: whom a peer dialled itself it may graft beyond it.
    let mesh = &setting.mesh;
    assert!(modelled.mesh.0 >= mesh.low && modelled.mesh.2 <= mesh.high + 2, "{modelled:?}");
    let mut means = vec![
        ("peers in a mesh", modelled.mesh.1, real.mesh.1),
        ("copies", modelled.copies, real.copies),
        ("hops", modelled.hops, real.hops),
    ];
    if setting.scores.is_some() {
        means.push(("worth of a member", modelled.worth, real.worth));
        means.push(("worth of the best", modelled.best, real.best));
    }
    for (what, model, real) in means {
        let apart = (model / real - 1.0).abs();
        assert!(apart < TOLERANCE, "{what}: {model:.2} in the model, {real:.2} in the library");
    }
    [modelled, real]
}

#[test]
fn with_messages_of_ones_own_to_everybody_the_model_is_near_the_library() {
    let mut setting = Setting::new();
    setting.mesh.flood_publish = true;
    compare(&setting);
}

#[test]
fn with_messages_of_ones_own_to_the_mesh_the_model_is_near_the_library() {
    compare(&Setting::new());
}

#[test]
fn where_everybody_is_scored_the_model_is_near_the_library() {
    compare(&Setting::scored());
}

#[test]
fn in_both_nobody_listens_to_a_spammer_after_the_same_number_of_messages() {
    let mut setting = Setting::scored();
    setting.mesh.flood_publish = true;
    for (what, spammed) in [("model", model::spam(&setting)), ("library", swarms::spam(&setting))] {
        println!("{what}: {spammed:?}");
        assert_eq!(spammed.heard.len(), neighbours()[SPAMMER].len(), "{what}");
        assert!(spammed.heard.values().all(|heard| SPAM_HEARD.contains(heard)), "{what}: {spammed:?}");
        assert_eq!(spammed.told, 0, "{what}");
    }
}

/// The library does not count IDONTWANT. What it spares can be seen where everybody takes its time to judge.
#[test]
fn in_both_idontwant_spares_as_many_copies() {
    let with = Setting { holds: true, messages: 30, ..Setting::new() };
    let mut without = with.clone();
    without.mesh.idontwant_bytes = usize::MAX;
    let spared =
        |side: usize, with: &[Found; 2], without: &[Found; 2]| 1.0 - with[side].copies / without[side].copies;
    let (with, without) = (compare(&with), compare(&without));
    let [model, real] = [0, 1].map(|side| spared(side, &with, &without));
    println!("spared: {model:.3} in the model, {real:.3} in the library");
    assert!(model > 0.2 && real > 0.2, "{model:.2} in the model, {real:.2} in the library");
}
