#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    account::{HALF_LIFE_MILLIS, MAX_DEEDS},
    *,
};
use crate::primitives::{Wall, decode, encode};

const HOUR: u64 = 60 * 60 * 1000;

fn peer(index: u64) -> PeerId {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&index.to_le_bytes());
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

fn at(mono: u64) -> Now {
    Now { mono: Mono(mono), wall: Wall(1_000_000_000 + mono) }
}

fn host(last: u8) -> AddressRange {
    AddressRange::of_host(&format!("/ip4/9.8.7.{last}/tcp/1").parse().unwrap()).unwrap()
}

fn report(ledger: &mut Ledger, peer: PeerId, offence: Offence, mono: u64) -> Consequence {
    ledger.report(peer, offence, None, at(mono))
}

#[test]
fn offences_add_up_to_disconnection_and_then_to_a_ban_that_ends() {
    let mut ledger = Ledger::default();
    let (mallory, now) = (peer(1), 1000);
    let mut again = || report(&mut ledger, mallory, Offence::Malformed, now);
    assert_eq!([again(), again()], [Consequence::None, Consequence::None]);
    assert_eq!(
        [again(), again(), again()],
        [Consequence::Disconnect, Consequence::Disconnect, Consequence::Disconnect]
    );
    assert!(!ledger.is_banned(&mallory, Mono(now)));
    assert_eq!(report(&mut ledger, mallory, Offence::Malformed, now), Consequence::Ban);
    assert!(ledger.is_banned(&mallory, Mono(now)) && !ledger.is_banned(&peer(2), Mono(now)));
    let end = ledger.next_end().unwrap();
    assert_eq!(end, Mono(now + 24 * HOUR));
    assert_eq!(ledger.end_bans(end), [Whom::Peer(mallory)]);
    assert!(!ledger.is_banned(&mallory, end));
    assert_eq!(ledger.score(&mallory, end), 0);
}

#[test]
fn proven_malice_bans_at_once() {
    assert_eq!(report(&mut Ledger::default(), peer(1), Offence::BadSignature, 0), Consequence::Ban);
}

#[test]
fn scores_halve_in_ten_minutes() {
    let mut ledger = Ledger::default();
    report(&mut ledger, peer(1), Offence::Malformed, 0);
    report(&mut ledger, peer(1), Offence::Malformed, 0);
    for (mono, score) in
        [(0, -20), (HALF_LIFE_MILLIS / 2, -15), (HALF_LIFE_MILLIS, -10), (2 * HALF_LIFE_MILLIS, -5)]
    {
        assert_eq!(ledger.score(&peer(1), Mono(mono)), score);
    }
}

#[test]
fn service_raises_a_score_up_to_a_bound_and_good_deeds_do_not_buy_bad_ones() {
    let mut ledger = Ledger::default();
    let (helper, now) = (peer(1), Mono(5));
    for _ in 0..1000 {
        ledger.credit(helper, Service::Block, now);
    }
    assert_eq!(ledger.score(&helper, now), 20);
    assert_eq!(ledger.score(&helper, now + HALF_LIFE_MILLIS), 10);
    report(&mut ledger, helper, Offence::Malformed, 5);
    assert_eq!(ledger.score(&helper, now), -10, "as if it had no credit");
    ledger.credit(helper, Service::Block, now);
    assert_eq!(ledger.score(&helper, now), -10, "only time heals");
    let healed = now + 20 * HALF_LIFE_MILLIS;
    for _ in 0..9 {
        ledger.credit(helper, Service::Answer, healed);
    }
    assert_eq!(ledger.score(&helper, healed), 0, "not whole points yet");
    ledger.credit(helper, Service::Answer, healed);
    assert_eq!(ledger.score(&helper, healed), 1);
}

#[test]
fn a_host_of_several_banned_peers_is_banned_for_an_hour() {
    let mut ledger = Ledger::default();
    let mut fall = |index, host| ledger.report(peer(index), Offence::BadProof, host, at(0));
    assert_eq!(fall(1, Some(host(1))), Consequence::Ban);
    assert_eq!(fall(1, Some(host(1))), Consequence::Ban, "one peer is one strike");
    assert_eq!(fall(2, Some(host(1))), Consequence::Ban);
    for index in 3..9 {
        assert_eq!(fall(index, None), Consequence::Ban, "nobody knows where these are");
    }
    assert_eq!(fall(9, Some(host(2))), Consequence::Ban, "another host");
    assert_eq!(fall(10, Some(host(1))), Consequence::BanHost(host(1)));
    let barred = |ledger: &Ledger, address: &str, mono| {
        ledger.is_barred(&peer(99), &address.parse().unwrap(), Mono(mono))
    };
    assert!(barred(&ledger, "/ip4/9.8.7.1/tcp/77", HOUR - 1));
    assert!(!barred(&ledger, "/ip4/9.8.7.1/tcp/77", HOUR) && !barred(&ledger, "/ip4/9.8.7.2/tcp/77", 0));
    assert!(
        !barred(&ledger, &format!("/ip4/9.8.7.1/tcp/77/p2p/{}/p2p-circuit", peer(5)), 0),
        "behind a relay"
    );
    assert_eq!(ledger.end_bans(Mono(HOUR)), [Whom::Range(host(1))]);
}

#[test]
fn strikes_are_forgotten_with_the_bans() {
    let mut ledger = Ledger::default();
    for (index, mono) in [(1, 0), (2, 0), (3, 24 * HOUR), (4, 24 * HOUR)] {
        let consequence = ledger.report(peer(index), Offence::BadProof, Some(host(1)), at(mono));
        assert_eq!(consequence, Consequence::Ban);
    }
}

#[test]
fn a_person_decides_otherwise() {
    let mut ledger = Ledger::default();
    let (friend, now) = (peer(1), Mono(0));
    report(&mut ledger, friend, Offence::BadProof, 0);
    ledger.trust(friend, true).unwrap();
    assert!(!ledger.is_banned(&friend, now), "trust ends the ban");
    assert_eq!(report(&mut ledger, friend, Offence::BadProof, 0), Consequence::None);
    assert_eq!((ledger.score(&friend, now), ledger.deeds(&friend).count()), (-100, 1), "it is remembered");
    ledger.ban(Whom::Range(host(1)), HOUR, now).unwrap();
    let there = "/ip4/9.8.7.1/tcp/1".parse().unwrap();
    assert!(!ledger.is_barred(&friend, &there, now) && ledger.is_barred(&peer(2), &there, now));
    ledger.ban(Whom::Peer(friend), u64::MAX, now).unwrap();
    assert!(ledger.is_banned(&friend, Mono(MAX_BAN_MILLIS - 1)) && !ledger.is_trusted(&friend));
    assert!(!ledger.is_banned(&friend, Mono(MAX_BAN_MILLIS)), "no ban is for ever");
    assert!(ledger.unban(Whom::Peer(friend)) && !ledger.unban(Whom::Peer(friend)));
    assert_eq!(ledger.score(&friend, now), 0, "forgiven");
    assert!(ledger.unban(Whom::Range(host(1))) && !ledger.unban(Whom::Range(host(1))));
}

#[test]
fn who_is_forgiven_counts_no_longer_against_its_host() {
    let mut ledger = Ledger::default();
    let fall =
        |ledger: &mut Ledger, index| ledger.report(peer(index), Offence::BadProof, Some(host(1)), at(0));
    fall(&mut ledger, 1);
    fall(&mut ledger, 2);
    assert!(ledger.unban(Whom::Peer(peer(1))));
    assert_eq!(fall(&mut ledger, 3), Consequence::Ban, "it is the second");
    ledger.trust(peer(2), true).unwrap();
    assert_eq!(fall(&mut ledger, 4), Consequence::Ban, "that one is the second, too");
    assert_eq!(fall(&mut ledger, 5), Consequence::BanHost(host(1)));
}

#[test]
fn who_is_not_banned_is_forgiven_too() {
    let mut ledger = Ledger::default();
    report(&mut ledger, peer(1), Offence::Malformed, 0);
    assert!(ledger.score(&peer(1), Mono(0)) < 0 && !ledger.is_banned(&peer(1), Mono(0)));
    assert!(ledger.unban(Whom::Peer(peer(1))));
    assert_eq!((ledger.score(&peer(1), Mono(0)), ledger.deeds(&peer(1)).count()), (0, 0));
    assert!(!ledger.unban(Whom::Peer(peer(1))), "there is nothing to forgive");
}

#[test]
fn a_restart_keeps_scores_bans_and_their_reasons_and_heals_meanwhile() {
    let mut ledger = Ledger::default();
    let (bad, worse, shunned) = (peer(1), peer(2), peer(3));
    for _ in 0..2 {
        report(&mut ledger, bad, Offence::Malformed, 0);
    }
    report(&mut ledger, worse, Offence::BadProof, 0);
    ledger.ban(Whom::Peer(shunned), 48 * HOUR, Mono(0)).unwrap();
    ledger.ban(Whom::Range(host(1)), 2 * HOUR, Mono(0)).unwrap();
    ledger.credit(peer(4), Service::Block, Mono(0));
    assert_eq!(ledger.stored(&peer(4), at(0)), None, "credit is earned again");
    // The new process counts from zero, an hour later.
    let later = Now { mono: Mono(7), wall: Wall(at(0).wall.0 + HOUR) };
    let mut next = Ledger::default();
    for peer in [bad, worse, shunned] {
        let bytes = encode(&ledger.stored(&peer, at(0)).unwrap());
        next.restore(peer, decode(&bytes, 1024).unwrap(), later);
    }
    next.restore_range(host(1), ledger.stored_range(&host(1), at(0)).unwrap(), later);
    assert_eq!(next.score(&bad, later.mono), 0, "20 points are a third of one after six half-lives");
    let bans: Vec<_> =
        next.bans(later.mono).map(|(whom, ban)| (whom, ban.until - later.mono, ban.cause)).collect();
    let mut wanted = vec![
        (Whom::Peer(worse), 23 * HOUR, Cause::Offence(Offence::BadProof)),
        (Whom::Peer(shunned), 47 * HOUR, Cause::Person),
        (Whom::Range(host(1)), HOUR, Cause::Person),
    ];
    wanted.sort_by_key(|(whom, ..)| *whom);
    assert_eq!(bans, wanted);
    let deeds: Vec<_> = next.deeds(&worse).copied().collect();
    assert_eq!(deeds, [Deed { offence: Offence::BadProof, at: at(0).wall }]);
}

/// The next start of a ledger, that much later.
fn restarted(ledger: &Ledger, host: AddressRange, millis: u64) -> (Ledger, Now) {
    let later = Now { mono: Mono(7), wall: Wall(at(millis).wall.0) };
    let mut next = Ledger::default();
    if let Some(strikes) = ledger.stored_strikes(&host, at(0)) {
        let bytes = encode(&strikes);
        next.restore_strikes(host, &decode(&bytes, 1024).unwrap(), later);
    }
    (next, later)
}

#[test]
fn a_restart_keeps_what_speaks_against_a_host_for_as_long_as_it_counts() {
    let mut ledger = Ledger::default();
    for index in 1..=2 {
        let consequence = ledger.report(peer(index), Offence::BadProof, Some(host(1)), at(0));
        assert_eq!(consequence, Consequence::Ban);
    }
    assert_eq!(ledger.take_struck(), BTreeSet::from([host(1)]));
    assert!(ledger.take_struck().is_empty() && ledger.stored_strikes(&host(2), at(0)).is_none());
    let (mut next, now) = restarted(&ledger, host(1), 24 * HOUR - 1);
    let third = next.report(peer(3), Offence::BadProof, Some(host(1)), now);
    assert_eq!(third, Consequence::BanHost(host(1)));
    assert_eq!(next.stored_strikes(&host(1), now), None, "they have been answered for");
    assert_eq!(next.take_struck(), BTreeSet::from([host(1)]));

    let (mut next, now) = restarted(&ledger, host(1), 24 * HOUR);
    let third = next.report(peer(3), Offence::BadProof, Some(host(1)), now);
    assert_eq!(third, Consequence::Ban, "that was long ago");

    // A clock that was set back keeps them a day, and no longer.
    let mut next = Ledger::default();
    let strikes = ledger.stored_strikes(&host(1), at(0)).unwrap();
    next.restore_strikes(host(1), &strikes, Now { mono: Mono(0), wall: Wall(1) });
    let day = |mono| Now { mono: Mono(mono), wall: Wall(1 + mono) };
    assert!(next.stored_strikes(&host(1), day(24 * HOUR - 1)).is_some());
    assert_eq!(next.stored_strikes(&host(1), day(24 * HOUR)), None);
}

#[test]
fn who_is_forgiven_after_a_restart_counts_no_longer_either() {
    let mut ledger = Ledger::default();
    for index in 1..=2 {
        ledger.report(peer(index), Offence::BadProof, Some(host(1)), at(0));
    }
    let (mut next, now) = restarted(&ledger, host(1), HOUR);
    next.restore(peer(1), ledger.stored(&peer(1), at(0)).unwrap(), now);
    assert!(next.unban(Whom::Peer(peer(1))));
    assert_eq!(next.take_struck(), BTreeSet::from([host(1)]));
    assert_eq!(next.stored_strikes(&host(1), now).unwrap().len(), 1);
    let third = next.report(peer(3), Offence::BadProof, Some(host(1)), now);
    assert_eq!(third, Consequence::Ban, "it is the second");
    next.unban(Whom::Range(host(1)));
    assert_eq!(next.stored_strikes(&host(1), now), None);
}

#[test]
fn a_clock_that_was_set_back_makes_no_ban_longer() {
    let mut ledger = Ledger::default();
    report(&mut ledger, peer(1), Offence::BadProof, 0);
    let stored = ledger.stored(&peer(1), at(0)).unwrap();
    let mut next = Ledger::default();
    next.restore(peer(1), stored, Now { mono: Mono(0), wall: Wall(1) });
    assert_eq!(next.next_end(), Some(Mono(24 * HOUR)));
}

#[test]
fn the_ledger_stays_bounded_and_forgets_the_best_first() {
    let mut ledger = Ledger::default();
    report(&mut ledger, peer(0), Offence::BadSignature, 0);
    ledger.ban(Whom::Peer(peer(1)), HOUR, Mono(0)).unwrap();
    for index in 2..=MAX_ACCOUNTS as u64 + 3 {
        report(&mut ledger, peer(index), Offence::Flood, 0);
    }
    assert_eq!(ledger.accounts.len(), MAX_ACCOUNTS);
    assert!(ledger.is_banned(&peer(0), Mono(1)) && ledger.is_banned(&peer(1), Mono(1)));
    for _ in 0..2 * MAX_DEEDS {
        report(&mut ledger, peer(7), Offence::Flood, 0);
    }
    assert_eq!(ledger.deeds(&peer(7)).count(), MAX_DEEDS);
    for index in 0..=255 {
        ledger.ban(Whom::Range(host(index)), HOUR, Mono(0)).unwrap();
        ledger.trust(peer(10_000 + u64::from(index)), true).unwrap();
    }
    assert_eq!(ledger.ban(Whom::Range("1.2.3.4".parse().unwrap()), HOUR, Mono(0)), Err(TooMany));
    assert_eq!(ledger.trust(peer(1), true), Err(TooMany));
    ledger.ban(Whom::Range(host(3)), 2 * HOUR, Mono(0)).unwrap();
}

#[test]
fn bans_give_way_to_newer_ones_and_a_persons_never_do() {
    let mut ledger = Ledger::default();
    let shunned = peer(1);
    ledger.ban(Whom::Peer(shunned), HOUR, Mono(0)).unwrap();
    report(&mut ledger, shunned, Offence::BadProof, 0);
    assert_eq!(ledger.bans(Mono(0)).next().unwrap().1, Ban { until: Mono(HOUR), cause: Cause::Person });
    for index in 0..MAX_BANS as u64 + 2 {
        report(&mut ledger, peer(100 + index), Offence::BadProof, index);
    }
    assert_eq!(ledger.end_bans(Mono(0)), [Whom::Peer(peer(100)), Whom::Peer(peer(101))]);
    assert_eq!(ledger.bans(Mono(0)).count(), MAX_BANS + 1);
    assert!(ledger.is_banned(&shunned, Mono(0)));
    // Who is not banned still has a score.
    for _ in 0..3 {
        report(&mut ledger, peer(50), Offence::Malformed, 0);
    }
    assert_eq!(ledger.score(&peer(50), Mono(0)), -30);
}

#[test]
fn hosts_give_way_to_newer_ones_and_leave_a_person_room() {
    let mut ledger = Ledger::default();
    for index in 0..=MAX_HOST_BANS as u64 {
        for key in 0..3 {
            let [.., a, b] = index.to_be_bytes();
            let host = AddressRange::of_host(&format!("/ip4/9.9.{a}.{b}/tcp/1").parse().unwrap());
            ledger.report(peer(10 * index + key), Offence::BadProof, host, at(index));
        }
    }
    let ranges = ledger.bans(Mono(0)).filter(|(whom, _)| matches!(whom, Whom::Range(_)));
    assert_eq!(ranges.count(), MAX_HOST_BANS);
    assert_eq!(ledger.end_bans(Mono(0)), [Whom::Range("9.9.0.0".parse().unwrap())]);
    ledger.ban(Whom::Range("9.9.0.0/16".parse().unwrap()), HOUR, Mono(0)).unwrap();
}

#[test]
fn counted_hosts_are_bounded() {
    let mut ledger = Ledger::default();
    let mut fall = |index: u16| {
        let [a, b] = index.to_be_bytes();
        let host = AddressRange::of_host(&format!("/ip4/9.9.{a}.{b}/tcp/1").parse().unwrap());
        ledger.report(peer(index.into()), Offence::BadProof, host, at(0))
    };
    (0..1100).for_each(|index| assert_eq!(fall(index), Consequence::Ban));
    assert_eq!(ledger.strikes.len(), MAX_HOSTS);
    // A host that is new to it is counted all the same.
    assert_eq!(ledger.report(peer(5001), Offence::BadProof, Some(host(1)), at(1)), Consequence::Ban);
    assert_eq!(ledger.report(peer(5002), Offence::BadProof, Some(host(1)), at(1)), Consequence::Ban);
    assert_eq!(
        ledger.report(peer(5003), Offence::BadProof, Some(host(1)), at(1)),
        Consequence::BanHost(host(1))
    );
}
