#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::gossip::Topic;

const ROLES: [Role; 3] = [Role::Relay, Role::Native, Role::Browser];

/// Every kind of peer on chains from the fastest to the slowest, with the smallest and the largest committee.
fn each(mut test: impl FnMut(&ScoreParameters, &MeshParameters)) {
    for role in ROLES {
        for slot_millis in [200, 1000, 2000, 12_000] {
            for committee in [1, 4, 256] {
                let mesh = MeshParameters::for_role(role);
                test(&ScoreParameters::derive(slot_millis, committee, &mesh), &mesh);
            }
        }
    }
}

fn native() -> (ScoreParameters, MeshParameters) {
    let mesh = MeshParameters::for_role(Role::Native);
    (ScoreParameters::derive(2000, 4, &mesh), mesh)
}

/// The best peer there can be: in every mesh for long, and always first.
fn saint(parameters: &ScoreParameters) -> Standing {
    let mut saint = Standing::default();
    Topic::OF_CHAIN.iter().for_each(|topic| saint.grafted(topic));
    (0..4_000).for_each(|_| saint.tick(parameters));
    for topic in &Topic::OF_CHAIN {
        let cap = parameters.topic(topic).first_cap.ceil() as usize;
        (0..=cap).for_each(|_| saint.delivered(topic, parameters));
    }
    saint
}

#[test]
fn every_mesh_is_in_order_and_a_relays_is_the_largest() {
    for role in ROLES {
        let mesh = MeshParameters::for_role(role);
        assert!(mesh.outbound < mesh.low && 2 * mesh.outbound <= mesh.target, "{role:?}");
        assert!(mesh.low < mesh.target && mesh.target < mesh.high && mesh.best < mesh.target, "{role:?}");
        assert!(mesh.history_told < mesh.history);
    }
    let [relay, native, tab] = ROLES.map(|role| MeshParameters::for_role(role).target);
    assert!(relay > native && native > tab);
}

#[test]
fn an_honest_silent_peer_on_a_quiet_chain_never_falls() {
    each(|parameters, _| {
        let mut silent = Standing::default();
        Topic::OF_CHAIN.iter().for_each(|topic| silent.grafted(topic));
        let mut last = 0.0;
        for tick in 0..10_000 {
            silent.tick(parameters);
            let score = silent.score(parameters);
            assert!(score >= last && score > parameters.gossip_threshold, "{score} after {tick} ticks");
            last = score;
        }
        assert!(
            last > parameters.opportunity_threshold,
            "nor is it replaced once it has been there for long: {last}"
        );
    });
}

#[test]
fn invalid_messages_end_the_best_standing() {
    each(|parameters, _| {
        let (saint, stranger) = (saint(parameters), Standing::default());
        for topic in [Topic::Block, Topic::Vote, Topic::Evidence, Topic::Chat("lobby".parse().unwrap())] {
            let after = |start: &Standing, count: usize| {
                let mut peer = start.clone();
                (0..count).for_each(|_| peer.failed(&topic));
                peer.score(parameters)
            };
            assert!(
                saint.score(parameters) > 0.0 && after(&saint, 1) <= 1e-6,
                "one undoes all it has earned"
            );
            assert!(after(&stranger, 8) > parameters.gossip_threshold);
            assert!(after(&stranger, 9) < parameters.gossip_threshold);
            assert!(after(&stranger, 12) > parameters.publish_threshold);
            assert!(after(&saint, 13) < parameters.publish_threshold);
            assert!(after(&stranger, 17) > parameters.graylist_threshold);
            assert!(after(&saint, 18) < parameters.graylist_threshold);
        }
    });
}

#[test]
fn invalid_messages_are_forgotten_in_time() {
    let (parameters, _) = native();
    let mut peer = Standing::default();
    (0..18).for_each(|_| peer.failed(&Topic::Block));
    let mut ticks = 0;
    while peer.score(&parameters) < parameters.gossip_threshold {
        peer.tick(&parameters);
        ticks += 1;
    }
    assert_eq!(ticks, 243, "8 minutes until it is told of messages again");
    while peer.score(&parameters) < 0.0 {
        peer.tick(&parameters);
        ticks += 1;
    }
    assert_eq!(ticks, 2605, "87 minutes until nothing is left");
}

#[test]
fn whoever_delivers_first_rises_to_the_cap_in_the_time_stated() {
    each(|parameters, mesh| {
        let block = parameters.topic(&Topic::Block);
        // Twice the average share converges to the cap, so all of it takes until 1 - decay^n = 2 / D.
        let expected = (1.0 - 2.0 / mesh.target as f64).ln() / block.first_decay.ln();
        let rate = block.first_cap * (1.0 - block.first_decay) * mesh.target as f64 / 2.0;
        let (mut counter, mut ticks) = (0.0, 0.0);
        while counter < block.first_cap - 1e-9 {
            counter = counter * block.first_decay + rate;
            ticks += 1.0;
        }
        assert!((ticks - expected).abs() <= 1.0, "{ticks} for {expected}");
        // The average neighbour converges to half of it.
        let average = rate / mesh.target as f64 / (1.0 - block.first_decay);
        assert!((average / block.first_cap - 0.5).abs() < 1e-9);
    });
    let (parameters, _) = native();
    let mut first = Standing::default();
    let mut last = first.score(&parameters);
    for slot in 1..=27 {
        first.tick(&parameters);
        first.delivered(&Topic::Block, &parameters);
        let score = first.score(&parameters);
        assert!(score > last, "slot {slot}");
        last = score;
    }
    (0..2).for_each(|_| first.delivered(&Topic::Block, &parameters));
    assert!((first.score(&parameters) - 20.0).abs() < 1e-9, "the cap: 40 times the topic's weight");
}

#[test]
fn the_ledgers_score_outweighs_all_a_peer_earns() {
    each(|parameters, _| {
        let at = |start: &Standing, points| {
            let mut peer = start.clone();
            peer.judged(points);
            peer.score(parameters)
        };
        let (saint, stranger) = (saint(parameters), Standing::default());
        assert!(at(&saint, -1) < 0.0, "one point, and it leaves every mesh");
        assert!(at(&stranger, -9) > parameters.gossip_threshold);
        assert!(at(&saint, -11) < parameters.gossip_threshold);
        assert!(at(&saint, -21) < parameters.publish_threshold, "where the ledger disconnects");
        assert!(at(&saint, -41) < parameters.graylist_threshold);
    });
}

#[test]
fn a_few_lapses_are_free_and_a_habit_is_not() {
    each(|parameters, _| {
        let mut tab = Standing::default();
        (0..6).for_each(|_| tab.lapsed());
        assert!(tab.score(parameters) >= 0.0);
        tab.lapsed();
        assert!(tab.score(parameters) < 0.0);

        let run = |every: usize| {
            let mut peer = Standing::default();
            for tick in 0..2_000 {
                peer.tick(parameters);
                if tick % every == 0 {
                    peer.lapsed();
                }
            }
            peer.score(parameters)
        };
        assert!(run(2) < parameters.gossip_threshold, "one each second tick");
        assert!((run(3) / parameters.gossip_threshold - 1.0).abs() < 0.1, "one each third: {}", run(3));
        assert!(run(6) > -100.0, "one each sixth: {}", run(6));
    });
}

#[test]
fn the_numbers_are_those_of_the_documentation() {
    let (parameters, _) = native();
    let [block, vote, evidence] = Topic::OF_CHAIN.map(|topic| parameters.topic(&topic).clone());
    let near = |value: f64, expected: f64| {
        assert!((value / expected - 1.0).abs() < 1e-3, "{value} is not {expected}");
    };
    near(block.first_decay, 0.985_71);
    near(block.first_cap, 23.329);
    near(block.first_weight, 1.714_6);
    near(block.in_mesh_cap, 1800.0);
    near(vote.first_decay, 0.971_63);
    near(vote.first_cap, 2.937_7);
    near(evidence.first_cap, 1.0);
    near(block.invalid_weight, -100.0);
    near(vote.invalid_weight, -125.0);
    near(parameters.topic_cap, 25.0);
    near(parameters.application_weight, 400.0);
    near(parameters.lapse_weight, -121.0);
    near(parameters.opportunity_threshold, 5.0);
}
