//! What a simulated run came to.

use weft_core::{node::Node, primitives::Hash};

use super::{Kind, PeerIx, World};
use crate::{
    measure::Measure,
    play::Submitted,
    report::{Bytes, ModelCounts, Report, mean_by_role},
    scenario::{BlockKind, GossipKind, Scenario},
};

const fn gossip_name(kind: GossipKind) -> &'static str {
    match kind {
        GossipKind::Model => "a model of gossipsub v1.2 with Weft's parameters (not the library)",
        GossipKind::Library => "a model of gossipsub v1.2 with rust-libp2p's defaults (not the library)",
        GossipKind::Flood => "a model: flood to every neighbour",
    }
}

/// The report on a world that has come to its end.
pub(super) fn report(
    scenario: &Scenario,
    world: &World,
    trace: Hash,
    submitted: Submitted,
    finalised: &[u64],
) -> Report {
    let peers: Vec<PeerIx> = (0..scenario.count()).map(PeerIx).collect();
    let nothing = Measure::default();
    let (mut model, mut reorganisations, mut deepest) = (ModelCounts::default(), 0, 0);
    for &ix in &peers {
        let counts = world.mesh_counts(ix);
        model.fetched.0 += counts.wanted;
        model.fetched.1 += counts.fetched;
        model.spared += counts.spared;
        if let Some(blocks) = world.node(ix).and_then(Node::block_counts) {
            model.announcements += blocks.received;
            model.rebuilt_at_once += blocks.at_once;
            model.rebuilt_after_round_trip += blocks.after_round_trip;
        }
        let depths = &world.seen(ix).reorganised;
        reorganisations += depths.len() as u64;
        deepest = depths.iter().copied().fold(deepest, u64::max);
    }
    let duplicates = [Kind::Block, Kind::Vote].map(|kind| {
        let (again, first) = world.copies(kind);
        (kind.name(), if first == 0 { 0.0 } else { again as f64 / first as f64 })
    });
    let sent = |kind: Kind| {
        Bytes::of(peers.iter().map(|ix| world.traffic(*ix).sent[kind]).map(|it| (it.messages, it.bytes)))
    };
    Report {
        trace: Some(trace),
        gossip: match scenario.blocks {
            BlockKind::Compact => gossip_name(scenario.gossip).to_owned(),
            BlockKind::Full => format!("{}; blocks are announced whole", gossip_name(scenario.gossip)),
        },
        bytes_are: "on the wire, with what IP, TCP, Noise and yamux would add".to_owned(),
        reorganisations,
        deepest,
        duplicates: duplicates.into_iter().collect(),
        bytes: Kind::ALL
            .into_iter()
            .map(|kind| (kind.name(), sent(kind)))
            .filter(|(_, bytes)| bytes.messages > 0)
            .collect(),
        bytes_by_role: mean_by_role(scenario, |index| {
            let traffic = world.traffic(PeerIx(index));
            Kind::ALL.into_iter().map(|kind| traffic.sent[kind].bytes).sum()
        }),
        model: Some(model),
        ..Report::of(scenario, world.measured().unwrap_or(&nothing), submitted, finalised)
    }
}
