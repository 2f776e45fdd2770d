//! `GET /metrics` of real programs, read as strictly as the OpenMetrics text format is written down.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weft_core::node::metrics::{Kind, METRICS};
use weft_testnet::live::{Chain, PATIENCE, Ports, Process, get, wait_for};

const SLOT_MILLIS: u64 = 200;

/// What was read: each sample by its name with its labels, as they were written.
type Samples = BTreeMap<String, f64>;

fn name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The labels between braces, in order.
fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (label, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    _ => return None,
                }),
                other => value.push(other),
            }
        }
        if !name(label) || labels.iter().any(|(other, _)| other == label) {
            return None;
        }
        labels.push((label.to_owned(), value));
        text = chars.as_str();
        if !text.is_empty() {
            text = text.strip_prefix(',').filter(|rest| !rest.is_empty())?;
        }
    }
    Some(labels)
}

/// Reads the text, and says which line is wrong if one is.
fn parse(text: &str) -> Result<Samples, String> {
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let mut family: Option<(String, String)> = None;
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
    for line in body.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            let [word, subject, rest] = words[..] else { return Err(wrong("a comment of too few words")) };
            match word {
                "TYPE" if !families.insert(subject.to_owned()) => return Err(wrong("a family twice")),
                "TYPE" if !["counter", "gauge", "histogram"].contains(&rest) => return Err(wrong("no type")),
                "TYPE" => family = Some((subject.to_owned(), rest.to_owned())),
                "UNIT" | "HELP" if family.as_ref().is_none_or(|(name, _)| name != subject) => {
                    return Err(wrong("not of this family"));
                }
                "UNIT" if !subject.ends_with(&format!("_{rest}")) => return Err(wrong("not the unit")),
                "UNIT" | "HELP" => {}
                _ => return Err(wrong("an unknown comment")),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
        let value: f64 = value.parse().map_err(|_| wrong("not a number"))?;
        let (metric, inside) = match series.split_once('{') {
            None => (series, ""),
            Some((metric, rest)) => (
                metric,
                rest.strip_suffix('}').filter(|rest| !rest.is_empty()).ok_or_else(|| wrong("no brace"))?,
            ),
        };
        let labels = labels(inside).ok_or_else(|| wrong("not labels"))?;
        let (of, kind) = family.as_ref().ok_or_else(|| wrong("a sample of no family"))?;
        let suffix = metric.strip_prefix(of.as_str()).ok_or_else(|| wrong("a sample of another family"))?;
        let fits = match (kind.as_str(), suffix) {
            ("counter", "_total") | ("gauge", "") | ("histogram", "_sum" | "_count") => true,
            ("histogram", "_bucket") => labels.last().is_some_and(|(label, _)| label == "le"),
            _ => false,
        };
        if !fits || !name(metric) {
            return Err(wrong("not a sample of its type"));
        }
        if !value.is_finite() || (kind != "gauge" && value < 0.0) {
            return Err(wrong("not a value of its type"));
        }
        if samples.insert(series.to_owned(), value).is_some() {
            return Err(wrong("a sample twice"));
        }
    }
    Ok(samples)
}

fn sum(samples: &Samples, metric: &str) -> f64 {
    samples
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(metric))
        .map(|(_, value)| value)
        .sum()
}

fn fetch(process: &Process) -> Samples {
    let (status, head, text) = get(process.rpc_address(), "/metrics").unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(
        head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_node_and_a_relay_tell_their_numbers_and_the_numbers_move() {
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let (relay, mut peers) = chain.start_all(None, Ports::default()).unwrap();
    peers.push(relay);
    let before: Vec<_> = peers
        .iter_mut()
        .map(|peer| {
            peer.reach(2).unwrap();
            fetch(peer)
        })
        .collect();
    let head = before.iter().map(|samples| samples["weft_chain_head_height"] as u64).max().unwrap();
    for (peer, before) in peers.iter_mut().zip(&before) {
        peer.finalise(16.max(head)).unwrap();
        let after = wait_for("what it received is counted", PATIENCE, || {
            let after = fetch(peer);
            Ok((sum(&after, "weft_gossip_received_messages_total")
                > sum(before, "weft_gossip_received_messages_total"))
            .then_some(after))
        })
        .unwrap();
        for grows in
            ["weft_chain_head_height", "weft_chain_finalised_height", "weft_chain_block_delay_seconds_count"]
        {
            assert!(after[grows] > before[grows], "{grows}: {} then {}", before[grows], after[grows]);
        }
        assert!(sum(&after, "weft_gossip_verdict_messages_total") > 0.0);
        assert!(sum(&after, "weft_request_received_bytes_total") > 0.0);
        assert!(after["weft_disk_used_bytes"] > 0.0);
        assert!(after["weft_connected_peers{link=\"direct\"}"] >= 1.0);
        assert_eq!(sum(&after, "weft_peer_offences_total"), 0.0, "nobody did anything wrong");
        // Every counter only grows, and a histogram's buckets do from one to the next.
        for (series, value) in before.iter().filter(|(series, _)| series.contains("_total")) {
            assert!(after[series] >= *value, "{series}");
        }
        let mut buckets: Vec<_> = after
            .iter()
            .filter_map(|(series, value)| {
                let bound = series
                    .strip_prefix("weft_chain_block_delay_seconds_bucket{le=\"")?
                    .strip_suffix("\"}")?;
                Some((bound.parse::<f64>().unwrap(), *value))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
        assert_eq!(buckets.last().unwrap().1, after["weft_chain_block_delay_seconds_count"]);
    }
}

#[test]
fn what_is_no_text_of_metrics_is_told_from_it() {
    let good =
        "# TYPE a_b counter\n# UNIT a_b b\n# HELP a_b Text.\na_b_total{x=\"1\\\"2\",y=\"\"} 5\n# EOF\n";
    assert_eq!(parse(good).unwrap().len(), 1);
    for (from, to) in [
        ("# EOF\n", ""),
        ("a_b_total{", "a_b{"),
        (" 5", " five"),
        (" 5", " -5"),
        ("\",y", "\" ,y"),
        ("y=", "x="),
        ("# TYPE a_b counter\n", ""),
        ("counter", "count"),
        ("UNIT a_b b", "UNIT a_b c"),
        ("# EOF", "a_b_total{x=\"1\\\"2\",y=\"\"} 5\n# EOF"),
    ] {
        assert!(parse(&good.replace(from, to)).is_err(), "{from} as {to}");
    }
}

/// All texts under this key, however deep.
fn each<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == key => found.push(text),
            _ => each(value, key, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| each(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut expressions = Vec::new();
    each(&dashboard, "expr", &mut expressions);
    let mut shown = BTreeSet::new();
    for expression in &expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<_> = words.filter(|word| word.starts_with("weft_")).collect();
        assert!(!named.is_empty(), "{expression} names nothing of ours");
        for word in named {
            let metric = METRICS.iter().find(|metric| match metric.kind {
                Kind::Counter => word == format!("{}_total", metric.name),
                Kind::Gauge => word == metric.name,
                Kind::Histogram => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|suffix| word == format!("{}{suffix}", metric.name)),
            });
            shown.insert(metric.unwrap_or_else(|| panic!("{expression}: there is no {word}")).name);
        }
    }
    let missing: Vec<_> =
        METRICS.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["title"].is_string() && panel["gridPos"].is_object()));
}
