//! What strangers tell of where peers are, and the book that it is written into.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::OnceLock};

use chacha20::ChaCha8Rng;
use libp2p::{Multiaddr, PeerId, multiaddr};
use rand_core::SeedableRng;
use weft_core::{
    node::{Protocol, Role},
    peers::{
        Book, BookShape, Found, Group, Guards, Invite, MAX_INVITE_BYTES, MAX_RECORD_ADDRESSES, MAX_RECORDS,
        MAX_TEXT_BYTES, MAX_TEXTS, Names, PeerRecord, PeersRequest, PeersResponse, Rumour, Scope, can_dial,
        is_name, texts_in, verify_records,
    },
    primitives::{Hash, Mono, SecretKey, Wall, encode},
};

use super::gossip::peer;
use crate::{
    canonical,
    steps::{step, steps},
};

const CHAIN: Hash = Hash([3; 32]);
const NOW: Wall = Wall(1_700_000_000_000);

/// The address of a peer in a network.
fn address(network: u8, host: u8, port: u16) -> Multiaddr {
    let ip = multiaddr::Protocol::Ip4(Ipv4Addr::new(8, network, 0, host));
    Multiaddr::empty().with(ip).with(multiaddr::Protocol::Tcp(port.max(1)))
}

/// All that three peers have ever signed.
fn signed() -> &'static [PeerRecord] {
    static SIGNED: OnceLock<Vec<PeerRecord>> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let sign = |byte: u8, count: u16| {
            let addresses: Vec<_> = (0..count).map(|port| address(byte, 1, 4100 + port)).collect();
            PeerRecord::sign(&SecretKey::from_seed([byte; 32]), &CHAIN, NOW, &addresses)
        };
        vec![sign(1, 1), sign(2, 8), sign(3, 0)]
    })
}

/// A question for peers or its answer; valid when all records in it are signed. Those are written into a book, which tells of them.
pub fn exchange(data: &[u8]) -> bool {
    let request = canonical::<PeersRequest>(data, Protocol::Peers.max_request());
    let response = canonical::<PeersResponse>(data, Protocol::Peers.max_response());
    let is_one = request.is_some() || response.is_some();
    let own = request.and_then(|request| request.own);
    let records: Vec<_> =
        own.into_iter().chain(response.into_iter().flat_map(|response| response.0)).collect();
    assert!(records.len() <= MAX_RECORDS);
    let verdicts = verify_records(&records, &CHAIN);
    assert_eq!(verdicts.len(), records.len());
    let mut book = Book::new([7; 32], BookShape::BROWSER, Guards::ALL);
    for (record, _) in records.into_iter().zip(&verdicts).filter(|(_, is_signed)| **is_signed) {
        let peer = record.peer().expect("a key that has signed");
        assert!(record.addresses().len() <= MAX_RECORD_ADDRESSES);
        if signed().iter().any(|known| known.peer() == Some(peer)) {
            assert!(signed().contains(&record), "a forged record");
        }
        let addresses = record.addresses();
        let teller = Group::of(&address(1, 1, 1));
        book.heard(Rumour { peer, addresses, record: Some(record), found: Found::Exchange, teller }, NOW);
    }
    check(&book);
    let told = book.sample(&mut ChaCha8Rng::seed_from_u64(1), MAX_RECORDS, NOW);
    assert!(told.len() <= MAX_RECORDS && told.iter().all(|record| record.is_timely(NOW)));
    assert!(!verify_records(&told, &CHAIN).contains(&false), "it passes on what nobody has signed");
    is_one && !verdicts.contains(&false)
}

/// Questions with and without a record, and answers.
pub fn exchange_seeds() -> Vec<Vec<u8>> {
    let [first, second, third] = signed() else { unreachable!("three") };
    vec![
        encode(&PeersResponse(vec![first.clone()])),
        encode(&PeersRequest { chain: CHAIN, own: Some(second.clone()) }),
        encode(&PeersRequest { chain: Hash::ZERO, own: None }),
        encode(&PeersResponse(vec![first.clone(), second.clone(), third.clone()])),
    ]
}

fn check(book: &Book) {
    for held in book.held() {
        assert!(held.count <= held.limit, "{} {} of {}", held.count, held.what, held.limit);
    }
}

// The kinds of steps.
const HEARD: u8 = 0;
const ANSWERED: u8 = 1;
const FAILED: u8 = 2;
const TEST: u8 = 3;
const PICK: u8 = 4;
const WAIT: u8 = 5;
const RESTORE: u8 = 6;
const KINDS: u8 = 7;
/// The peers there are.
const PEERS: u8 = 24;
/// The most steps of one input.
const MAX_STEPS: usize = 500;
const HOUR: u64 = 60 * 60 * 1000;

fn some_peer(byte: u8) -> PeerId {
    static PEERS_OF: OnceLock<Vec<PeerId>> = OnceLock::new();
    PEERS_OF.get_or_init(|| (0..PEERS).map(peer).collect())[usize::from(byte % PEERS)]
}

/// An address book with little room, in which anything happens: it stays bounded, tells only of whom it knows, and what was written
/// down of it can be read again.
pub fn book(data: &[u8]) -> bool {
    const SHAPE: BookShape = BookShape { new: 4, tried: 2, places: 2 };
    let mut book = Book::new([7; 32], SHAPE, Guards::ALL);
    let (mut rng, mut now) = (ChaCha8Rng::seed_from_u64(1), NOW);
    let mut rows = BTreeMap::new();
    for (kind, bytes) in steps(data).take(MAX_STEPS) {
        let mut first = [0; 4];
        first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let [who, teller, count, port] = first;
        let whom = some_peer(who);
        let at = |index: u8| address(teller, who, u16::from(port) * 16 + u16::from(index));
        let here = |other: &PeerId| *other == some_peer(teller);
        let wanted = |other: &PeerId, addresses: &[Multiaddr]| {
            assert!(!addresses.is_empty(), "a peer that is nowhere");
            *other != whom
        };
        let found = match kind % KINDS {
            HEARD => {
                let (count, is_signed) = (count % 12, count & 0x40 != 0);
                // A record that tells of no address is not passed on.
                let addresses = (0..count.max(is_signed.into())).map(at).collect();
                let found = if first[2] & 0x80 == 0 { Found::Exchange } else { Found::Dht };
                let (record, teller) = (is_signed.then(|| signed()[1].clone()), Group::of(&at(0)));
                let is_in = book.heard(Rumour { peer: whom, addresses, record, found, teller }, now);
                assert_eq!(is_in, !book.addresses(&whom).is_empty());
                None
            }
            ANSWERED => {
                let is_known = !book.addresses(&whom).is_empty();
                book.answered(&whom, &at(count), now);
                assert!(!is_known || book.addresses(&whom).first() == Some(&at(count)));
                None
            }
            FAILED => {
                book.failed(&whom, now);
                None
            }
            TEST => book.to_test(&mut rng, now, &here, &wanted),
            PICK => book.pick(&mut rng, now, &wanted),
            WAIT => {
                now = Wall(now.0 + u64::from(who) * HOUR);
                None
            }
            _ => {
                // A disk may say anything, but of nobody twice.
                if book.addresses(&whom).is_empty() {
                    book.restore(whom, bytes.get(1..).unwrap_or_default());
                }
                None
            }
        };
        if let Some((found, addresses)) = found {
            assert!(found != whom && book.addresses(&found) == addresses);
        }
        check(&book);
        rows.extend(book.take_changes());
    }
    let mut again = Book::new([7; 32], SHAPE, Guards::ALL);
    for (peer, row) in rows.iter().filter_map(|(peer, row)| Some((peer, row.as_ref()?))) {
        // Its place may be another's, since it moved to another address.
        if again.restore(*peer, row) {
            assert_eq!(again.addresses(peer), book.addresses(peer));
        }
    }
    check(&again);
    let (new, tried) = again.count();
    new + tried > 0
}

/// Some peers come to be known, answer or not, and stand in each other's way; and a row from a disk.
pub fn book_seeds() -> Vec<Vec<u8>> {
    let hear = |who: u8| step(HEARD, &[who, who % 5, 2, who]);
    let mut busy = Vec::new();
    for who in 0..PEERS {
        busy.extend(hear(who));
        busy.extend(step([ANSWERED, ANSWERED, FAILED][usize::from(who % 3)], &[who, who % 5, 1, who]));
        busy.extend(step([TEST, PICK, WAIT][usize::from(who % 3)], &[who]));
    }
    let mut book = Book::new([7; 32], BookShape::BROWSER, Guards::ALL);
    let (addresses, teller) = (vec![address(1, 1, 1)], Group::of(&address(2, 1, 1)));
    let rumour = Rumour { peer: some_peer(5), addresses, record: None, found: Found::Exchange, teller };
    book.heard(rumour, NOW);
    let row = book.take_changes().swap_remove(0).1.unwrap_or_default();
    vec![hear(1), busy, [hear(2), step(RESTORE, &[&[5], row.as_slice()].concat())].concat()]
}

/// The fragment of a link that invites; valid when a tab on this machine follows it. Where it leads, a peer of that kind can go.
pub fn invite(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(invite) = text.parse::<Invite>() else { return false };
    assert!(data.len() <= MAX_INVITE_BYTES);
    let shown = invite.to_string();
    assert!(shown.len() > MAX_INVITE_BYTES || shown.parse::<Invite>() == Ok(invite.clone()), "{shown}");
    let local = peer(9);
    let mut is_followed = false;
    for role in [Role::Browser, Role::Native, Role::Relay] {
        for near in [Scope::Machine, Scope::Network, Scope::World] {
            let Ok(address) = invite.clone().follow(role, &local, &CHAIN, near) else { continue };
            assert!(can_dial(role, &address) && Scope::of(&address).is_some_and(|scope| scope >= near));
            assert!(matches!(address.iter().last(), Some(multiaddr::Protocol::P2p(whom)) if whom != local));
            assert_eq!(shown, format!("peer={address}&chain={CHAIN}"));
            is_followed |= role == Role::Browser;
        }
    }
    is_followed
}

/// To a relay, and to a tab behind one.
pub fn invite_seeds() -> Vec<Vec<u8>> {
    let relay = format!("/dns4/relay.example.org/tcp/443/wss/p2p/{}", peer(1));
    let near = format!("/ip4/192.168.0.1/tcp/9/ws/p2p/{}", peer(1));
    let slot = format!("{relay}/p2p-circuit/p2p/{}", peer(2)).parse().expect("an address");
    let tab = Invite::to_tab(&slot, peer(2), CHAIN).expect("a slot").to_string();
    let plain = [relay, near].map(|address| format!("peer={address}&chain={CHAIN}"));
    plain.into_iter().chain([tab]).map(String::into_bytes).collect()
}

/// A name in the DNS, and on a line each what its records say; valid when it stands for a peer. No name leads on for ever.
pub fn names(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut lines = text.lines();
    let Some(Ok(address)) = lines.next().map(str::parse) else { return false };
    let mut names = Names::default();
    if names.add(&address, Mono(0)).is_err() {
        return false;
    }
    assert!(is_name(&address));
    let texts: Vec<String> = lines.take(2 * MAX_TEXTS).map(str::to_owned).collect();
    let (mut asked, mut is_found) = (0, false);
    loop {
        let due = names.due(Mono(0));
        if due.is_empty() {
            break;
        }
        for name in due {
            asked += 1;
            assert!(name.len() <= 253 && name.starts_with("_dnsaddr."), "{name} is no name");
            let (found, refused) = names.answered(&name, &texts, Mono(0));
            assert!(found.len() + refused <= texts.len() && found.len() <= MAX_TEXTS);
            for (peer, address) in &found {
                let last = address.iter().last();
                assert!(!is_name(address) && last == Some(multiaddr::Protocol::P2p(*peer)));
            }
            is_found |= !found.is_empty();
        }
        let held = names.held();
        assert!(asked <= held.limit && held.count <= held.limit, "{asked} questions at once");
    }
    assert!(names.next_due().is_some_and(|due| due > Mono(0)));
    is_found
}

/// A name that stands for peers, and names that stand for each other.
pub fn names_seeds() -> Vec<Vec<u8>> {
    let at = |byte: u8| format!("dnsaddr=/ip4/8.8.8.{byte}/tcp/1/p2p/{}", peer(byte));
    let direct = format!("/dnsaddr/example.org\n{}\nv=spf1 -all\n{}", at(1), at(2));
    let only = format!("/dnsaddr/example.org/p2p/{}\n{}\n{}", peer(2), at(1), at(2));
    let others = "dnsaddr=/dnsaddr/a.example\ndnsaddr=/dnsaddr/b.example\ndnsaddr=/dnsaddr/example.org";
    let round = format!("/dnsaddr/example.org\n{others}\n{}", at(1));
    [direct, only, round].map(String::into_bytes).into()
}

/// What a resolver answers a tab; valid when there are texts in it.
pub fn resolver(data: &[u8]) -> bool {
    let Ok(texts) = texts_in(data) else { return false };
    assert!(texts.len() <= MAX_TEXTS && texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES));
    assert!(texts.iter().map(String::len).sum::<usize>() <= data.len(), "more than was said");
    !texts.is_empty()
}

/// Answers with one record of two parts, and with two records.
pub fn resolver_seeds() -> Vec<Vec<u8>> {
    let name = b"\x08_dnsaddr\x07example\x00";
    let answer = |records: &[&[u8]]| {
        let count = u8::try_from(records.len()).expect("few");
        let head = [0, 0, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
        let mut bytes = [&head[..], name, &[0, 16, 0, 1]].concat();
        for record in records {
            let len = u8::try_from(record.len()).expect("short");
            // The name is the one that was asked for, in two bytes.
            bytes.extend([&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, len], *record].concat());
        }
        bytes
    };
    vec![answer(&[b"\x08dnsaddr=\x05/ip4/"]), answer(&[b"\x03a=b", b"\x01c\x00"])]
}
