//! Scenario files: all that are kept can be read, and one runs the same way twice.

use std::{collections::BTreeMap, fs, path::Path};

use weft_testnet::{
    scenario::{BlockKind, GossipKind, Scenario},
    sim::run,
};

fn read(path: &Path) -> Scenario {
    let text = fs::read_to_string(path).expect("a file that was listed can be read");
    Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_scenario_that_is_kept_can_be_read_and_is_called_like_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for directory in [root.clone(), root.join("bench")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                assert_eq!(read(&path).name, path.file_stem().unwrap().to_str().unwrap());
                count += 1;
            }
        }
    }
    assert!(count >= 10, "only {count} files were found");
}

/// In the full tier: these are minutes of a hundred peers.
#[test]
fn every_scenario_that_is_kept_ends_as_it_expects() {
    if std::env::var_os("WEFT_FULL").is_none() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut ended = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let scenario = read(&path);
            let outcome = run(&scenario, None).unwrap();
            assert!(
                outcome.failures.is_empty(),
                "{}: {:?}\n{}",
                scenario.name,
                outcome.failures,
                outcome.report
            );
            ended.push(scenario.name);
        }
    }
    assert!(ended.len() >= 5, "only {ended:?} were run");
}

/// A little of everything that a scenario can ask for.
fn small(gossip: GossipKind) -> Scenario {
    let text = "name = \"small\"\nseconds = 50\nslot-millis = 1000\nwarm-up-seconds = 5\ncool-down-seconds = 15\n\
                [network]\nloss = 0.02\n\
                [[peers]]\nname = \"validators\"\nrole = \"native\"\ncount = 4\nvalidators = 4\ndials = 3\nup-mbit = 50.0\n\
                [[peers]]\nname = \"tabs\"\nrole = \"browser\"\ncount = 10\ndials = 4\nnat = \"signalled\"\nup-mbit = 5.0\n\
                [workload]\ntransfers-per-slot = 4.0\nfee-spread = 1.0\nat = [\"tabs\"]\n\
                [churn]\nshare-per-minute = 0.5\naway-seconds = 5\ngroups = [\"tabs\"]\n\
                [[faults]]\nkind = \"partition\"\nat = 10\nseconds = 8\ngroup = \"tabs\"\nshare = 0.3\n\
                [[faults]]\nkind = \"pause\"\nat = 20\nseconds = 5\ngroup = \"tabs\"\nshare = 0.2\n\
                [[faults]]\nkind = \"disconnect\"\nat = 26\ngroup = \"tabs\"\nshare = 0.2\n\
                [[faults]]\nkind = \"restart\"\nat = 27\ngroup = \"validators\"\nshare = 0.5\n\
                [[faults]]\nkind = \"kill\"\nat = 28\nseconds = 3\ngroup = \"validators\"\nshare = 0.25\n\
                [expect]\nblocks-delivered = 0.8\nfinalised-within = 16\n";
    Scenario { gossip, ..Scenario::parse(text).expect("it was written here") }
}

#[test]
fn a_scenario_with_every_fault_ends_as_expected_and_the_same_seed_gives_the_same_trace() {
    let scenario = small(GossipKind::Model);
    let first = run(&scenario, None).unwrap();
    assert!(first.failures.is_empty(), "{:?}\n{}", first.failures, first.report);
    assert!(first.report.blocks.count > 10 && first.report.transactions.count > 50, "{}", first.report);
    assert_eq!(first.report.trace, run(&scenario, None).unwrap().report.trace);
    let other = Scenario { seed: 1, ..scenario };
    assert_ne!(first.report.trace, run(&other, None).unwrap().report.trace);
}

#[test]
fn the_mesh_makes_fewer_copies_of_a_block_than_the_flood() {
    let copies = |gossip| {
        let scenario = Scenario { churn: Default::default(), faults: Vec::new(), ..small(gossip) };
        let report = run(&scenario, None).unwrap().report;
        assert!(report.blocks.delivered > 0.99, "{report}");
        report.duplicates["block"]
    };
    let (mesh, flood) = (copies(GossipKind::Model), copies(GossipKind::Flood));
    assert!(mesh < flood, "{mesh} further copies in the mesh, {flood} in the flood");
}

#[test]
fn whole_blocks_arrive_like_compact_ones_and_weigh_more() {
    let report = |blocks| {
        let mut scenario = Scenario { blocks, ..small(GossipKind::Model) };
        (scenario.churn, scenario.faults, scenario.network.loss) = Default::default();
        scenario.workload.transfers_per_slot = Some(200.0);
        let report = run(&scenario, None).unwrap().report;
        assert!(report.blocks.delivered > 0.99 && report.blocks.count > 20, "{report}");
        report
    };
    let (compact, whole) = (report(BlockKind::Compact), report(BlockKind::Full));
    let model = whole.model.expect("a simulation has one");
    assert_eq!(model.rebuilt_at_once, model.announcements, "there is nothing to put together: {whole}");
    assert_eq!(compact.accepted, whole.accepted);
    let [compact, whole] = [compact, whole].map(|report| report.bytes["block"].mean_a_peer);
    assert!(whole > 2.0 * compact, "{whole} bytes a peer for whole blocks, {compact} for compact ones");
}

#[test]
fn under_loss_and_churn_no_honest_peer_gives_another_a_penalty() {
    let mut scenario = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/honest.toml"));
    scenario.seconds = 600;
    for (group, count) in scenario.peers.iter_mut().zip([7, 36, 17]) {
        group.count = count;
        group.validators = group.validators.min(count);
    }
    let outcome = run(&scenario, None).unwrap();
    assert!(outcome.failures.is_empty(), "{:?}\n{}", outcome.failures, outcome.report);
    assert_eq!(outcome.report.penalties, Some(BTreeMap::new()), "{}", outcome.report);
}

#[test]
fn a_run_is_written_down_as_a_report_plots_and_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace.jsonl");
    let scenario = Scenario { seconds: 25, faults: Vec::new(), ..small(GossipKind::Model) };
    let outcome = run(&scenario, Some(&trace)).unwrap();
    outcome.report.write(directory.path()).unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["trace"], outcome.report.trace.expect("a simulation has one").to_string());
    assert!(report["gossip"].as_str().unwrap().contains("model"));
    for plot in ["delivery.svg", "bytes.svg", "duplicates.svg"] {
        assert!(fs::read_to_string(directory.path().join(plot)).unwrap().ends_with("</svg>"));
    }
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.lines().count() > 1_000);
    let line: serde_json::Value = serde_json::from_str(trace.lines().next().unwrap()).unwrap();
    assert!(line["micros"].is_u64() && line["peer"].is_u64() && line["what"].is_string());
}
