//! The mixed scenario of the README, shortened, with real tabs.

use std::{fs, path::Path, sync::Arc};

use weft_testnet::{
    live::{Setup, run},
    scenario::{Fault, Scenario},
};

/// The scenario with fewer peers, for a minute, in which every kind of fault also hits a tab.
fn shortened() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/mixed.toml");
    let mut scenario = Scenario::parse(&fs::read_to_string(path).unwrap()).unwrap();
    scenario.seconds = 70;
    scenario.warm_up_seconds = 15;
    scenario.slot_millis = 1000;
    for group in &mut scenario.peers {
        group.count = group.count.min(if group.name == "desktops" { 1 } else { 3 });
    }
    let group = || "tabs".to_owned();
    // The first is killed, the first two stand still, and all lose what connections they have.
    scenario.faults = vec![
        Fault::Kill { at: 20, seconds: 3, group: group(), share: 0.3 },
        Fault::Pause { at: 30, seconds: 4, group: group(), share: 0.6 },
        Fault::Restart { at: 38, group: group(), share: 0.3 },
        Fault::Disconnect { at: 45, group: group(), share: 1.0 },
    ];
    scenario.churn.share_per_minute = 0.0;
    scenario
}

#[test]
fn the_mixed_scenario_holds_with_tabs_that_are_killed_paused_restarted_and_disconnected() {
    let scenario = shortened();
    let setup = Setup { app: crate::app(), stop: Arc::default() };
    let outcome = run(&scenario, &setup).unwrap();
    let report = &outcome.report;
    assert!(outcome.failures.is_empty(), "{:?}\n{report}", outcome.failures);
    println!("{report}");
    let live = report.live.unwrap();
    // A relay, three validators, a desktop and three tabs, and one of these twice more.
    assert_eq!(live.starts, 10, "{report}");
    assert!(live.closed >= 3, "{report}");
    assert!(report.blocks.count > 20 && report.transactions.count > 200, "{report}");
    // Those of the tabs among them: without these at most five of eight could be told.
    assert!(report.blocks.delivered > 0.9 && report.transactions.delivered > 0.9, "{report}");
    assert!(report.bytes_by_role["browser"] > 10_000.0, "{report}");
    assert!(report.not_reproduced.iter().any(|what| what.contains("tabs")), "{report}");
}
