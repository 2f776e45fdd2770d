//! The attack suite at its small size: with the defence each attack keeps its bars, and without it is plain that it was the defence.
//! Those that are known to succeed are held to that too, so that a defence that is found does not go unnoticed.

use weft_testnet::attacks::{Attack, Verdict, all, named};

/// The seeds of the full tier. Elsewhere it is the first one.
const SEEDS: u64 = 5;

fn is_defended(name: &str) {
    let attack: &'static Attack = named(name).expect("the suite has it");
    let seeds = if std::env::var_os("WEFT_FULL").is_some() { SEEDS } else { 1 };
    for seed in 1..=seeds {
        let pair = attack.pair(seed, 1);
        let wanted = match (attack.open, attack.idle) {
            (Some(_), _) => Verdict::Broken,
            // The bars are kept whatever the seed; what it is that keeps them is looked at with the first.
            _ if seed > 1 && pair.verdict() != Verdict::Broken => pair.verdict(),
            (None, Some(_)) => Verdict::DefenceIdle,
            (None, None) => Verdict::Defended,
        };
        assert_eq!(pair.verdict(), wanted, "{pair}");
    }
}

/// A test for each attack, and none is forgotten.
macro_rules! defended {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            is_defended($name);
        })*

        #[test]
        fn every_attack_of_the_suite_is_tested() {
            let tested = [$($name),*];
            let known: Vec<_> = all().map(|attack| attack.name).collect();
            assert_eq!(known, tested);
        }
    };
}

defended! {
    sybils_that_come_late: "sybils-late",
    as_many_sybils_as_honest_peers: "sybils-1",
    two_sybils_for_each_honest_peer: "sybils-2",
    a_start_among_sybils: "cold-boot",
    sybils_that_turn_at_once: "covert-flash",
    one_surrounded_peer: "eclipse-one",
    surrounded_publishers: "eclipse-publishers",
    a_censored_validator: "censorship",
    sybils_that_withhold: "withholding",
    sybils_that_are_late: "degradation",
    transactions_nobody_signed: "spam-forged",
    noise_instead_of_transactions: "spam-noise",
    the_same_transactions_again_and_again: "spam-replayed",
    transactions_of_the_future: "spam-future",
    transactions_that_expire: "spam-expiring",
    forged_bodies: "forged-data",
    servers_that_stall: "stalling-servers",
    silent_authorities: "silent-authorities",
    authorities_that_run_twice: "twins",
    two_halves: "partition-50",
    seven_tenths: "partition-70",
    tellers_of_many: "book-groups",
    tried_peers_pushed_out: "book-eviction",
    a_restart_under_siege: "book-restart",
    many_in_one_network: "book-network",
    addresses_where_nobody_is: "book-nobody",
    places_that_are_held: "held-places",
    known_links_cut: "known-links",
}
