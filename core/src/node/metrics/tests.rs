#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn full() -> Snapshot {
    let mut delays = Delays::default();
    [10, 25, 26, 999, 8000, 8001].into_iter().for_each(|millis| delays.add(millis));
    let mut traffic = GossipTraffic { new: 2, ..GossipTraffic::default() };
    [100, 100, 200].into_iter().for_each(|bytes| traffic.received.add(bytes));
    let mut requests = RequestTraffic::default();
    requests.asked.add(7);
    Snapshot {
        direct_peers: 3,
        relayed_peers: 1,
        connections: [("tcp".to_owned(), 2)].into(),
        verdicts: [5, 6, 7],
        refusals: [("a \"quoted\" reason", 8)].into(),
        offences: [("flood", 9)].into(),
        mesh: [("block".to_owned(), 8)].into(),
        gossip: [("block", traffic)].into(),
        requests: [("sync", requests)].into(),
        proven: [("test", 1)].into(),
        stored_bytes: Some(4096),
        certificate: Some([1_800_000_000, 0]),
        stun_answers: Some(3),
        held: vec![crate::primitives::Held::new("files", 2, 512)],
        chain: Some(ChainSnapshot {
            head: 17,
            justified: 16,
            finalised: 0,
            authorities: 4,
            phase: SyncPhase::Following,
            pending: 1,
            queued: 2,
            mempool_bytes: 300,
            fee_floor: 1500,
            pool: crate::mempool::PoolCounts { evicted: 4, ..Default::default() },
            blocks: crate::node::BlockCounts { at_once: 3, fell_back: 1, ..Default::default() },
            relay: crate::gossip::RelayCounts {
                bytes_sent: crate::gossip::TxBytes { push: 500, fee_filter: 9, ..Default::default() },
                bytes_received: crate::gossip::TxBytes { symbols: 640, ..Default::default() },
                ..Default::default()
            },
            jobs_running: 1,
            jobs_waiting: 0,
            delays,
        }),
        ..Snapshot::default()
    }
}

#[test]
fn every_metric_says_what_it_is_in_which_unit() {
    const UNITS: [&str; 22] = [
        "addresses",
        "alarms",
        "answers",
        "authorities",
        "blocks",
        "sketches",
        "bytes",
        "connections",
        "failures",
        "files",
        "height",
        "items",
        "jobs",
        "messages",
        "offences",
        "peers",
        "phase",
        "seconds",
        "slots",
        "transactions",
        "units",
        "upgrades",
    ];
    let mut names = std::collections::BTreeSet::new();
    for metric in &METRICS {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        let words: Vec<_> = name.split('_').collect();
        assert!(words.len() > 2 && words[0] == "weft", "{name}");
        assert!(UNITS.contains(words.last().unwrap()), "{name} ends in no unit");
        assert!(
            words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())),
            "{name}"
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '"']),
            "{name}: {}",
            metric.help
        );
    }
}

#[test]
fn every_metric_has_a_sample_when_there_is_all_to_tell() {
    let text = render(&full());
    for metric in &METRICS {
        let sample = |line: &str| {
            line.strip_prefix(metric.name).is_some_and(|rest| {
                let name = rest.split(['{', ' ']).next().unwrap_or_default();
                ["", "_total", "_bucket"].contains(&name)
            })
        };
        assert!(text.lines().any(sample), "{}", metric.name);
    }
}

#[test]
fn the_text_is_as_openmetrics_has_it() {
    let text = render(&full());
    for expected in [
        "# TYPE weft_gossip_duplicate_messages counter\n# UNIT weft_gossip_duplicate_messages messages\n",
        "weft_gossip_duplicate_messages_total{kind=\"block\"} 1\n",
        "weft_gossip_received_bytes_total{kind=\"block\"} 400\n",
        "weft_held_items{what=\"files\"} 2\n",
        "weft_limit_items{what=\"files\"} 512\n",
        "weft_refused_items_total{reason=\"a \\\"quoted\\\" reason\"} 8\n",
        "weft_request_sent_bytes_total{protocol=\"sync\",part=\"request\"} 7\n",
        "weft_chain_sync_phase{phase=\"following\"} 1\n",
        "weft_chain_sync_phase{phase=\"light\"} 0\n",
        "weft_mempool_floor_units 1500\n",
        "weft_mempool_moved_transactions_total{event=\"evicted\"} 4\n",
        "weft_relay_sent_bytes_total{kind=\"push\"} 500\n",
        "weft_relay_sent_bytes_total{kind=\"fee-filter\"} 9\n",
        "weft_relay_sent_bytes_total{kind=\"symbols\"} 0\n",
        "weft_relay_received_bytes_total{kind=\"symbols\"} 640\n",
        "weft_block_rebuilt_blocks_total{outcome=\"at-once\"} 3\n",
        "weft_chain_block_delay_seconds_bucket{le=\"0.025\"} 2\n",
        "weft_chain_block_delay_seconds_bucket{le=\"0.05\"} 3\n",
        "weft_chain_block_delay_seconds_bucket{le=\"1.0\"} 4\n",
        "weft_chain_block_delay_seconds_bucket{le=\"8.0\"} 5\n",
        "weft_chain_block_delay_seconds_bucket{le=\"+Inf\"} 6\n",
        "weft_chain_block_delay_seconds_sum 17.061\n",
        "weft_chain_block_delay_seconds_count 6\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn a_peer_without_a_chain_tells_of_none() {
    let text = render(&Snapshot::default());
    assert!(
        !text.lines().any(|line| line.starts_with("weft_chain") || line.starts_with("weft_mempool")),
        "{text}"
    );
    assert!(text.contains("weft_connected_peers{link=\"direct\"} 0\n"));
}
