//! The examples of `docs/FORMATS.md` are what the code makes.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use weft_core::{
    chain::{Mmr, MmrProver},
    content::{Maker, Manifest},
    gossip::CompactKey,
    primitives::{Amount, Hash, encode, merkle_root},
    state::{Account, AccountChange, Diff, Trie},
};

/// The examples of the document by name. In its blocks of text, one begins with `name = ` and may go on in further lines.
fn written(document: &str) -> BTreeMap<String, String> {
    let mut examples: Vec<(String, String)> = Vec::new();
    for block in document.split("```text\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.split_once(" =") {
                Some((name, value)) => examples.push((name.to_owned(), value.to_owned())),
                None => examples.last_mut().unwrap().1.push_str(line),
            }
        }
    }
    examples.into_iter().map(|(name, value)| (name, value.replace(' ', ""))).collect()
}

fn key(first: u8) -> Hash {
    let mut key = Hash::ZERO;
    key.0[0] = first;
    key
}

fn hello() -> Manifest {
    let mut maker = Maker::default();
    maker.add(b"hello").unwrap();
    maker.finish("a.txt")
}

fn trie(accounts: &[(Hash, Account)]) -> Trie {
    Trie::default().update(&accounts.iter().copied().collect()).unwrap()
}

#[test]
fn the_examples_of_the_written_formats_are_what_the_code_makes() {
    let account = |nonce, balance| Account { nonce, balance: Amount(balance) };
    let a = (key(0x80), account(1, 2));
    let b = (key(0x81), account(0, 1));
    let c = (key(0x01), account(u64::MAX, 0));
    let all = trie(&[a, b, c]);
    let prove = |trie: &Trie, first| encode(&trie.prove(&key(first)).unwrap());
    let range = |from, to, most| encode(&all.prove_range(&from, &to, most).unwrap());
    let no_items: [&[u8]; 0] = [];
    let after = |(key, after): (Hash, Account)| AccountChange { key, before: Account::default(), after };
    let diff = Diff(vec![after(a), AccountChange { key: b.0, before: b.1, after: Account::default() }]);
    let header = |index: u64| Hash([index as u8; 32]);
    let mut seven = Mmr::default();
    (0..7).for_each(|index| seven.push(&header(index)));
    let ascending = Hash(std::array::from_fn(|at| at as u8));
    let proof = MmrProver::default().prove(2, 7, |index| Some(header(index))).unwrap();

    let made = [
        ("empty root", encode(&Trie::default().root())),
        ("leaf A", encode(&trie(&[a]).root())),
        ("leaf B", encode(&trie(&[b]).root())),
        ("leaf C", encode(&trie(&[c]).root())),
        ("branch AB", encode(&trie(&[a, b]).root())),
        ("root C AB", encode(&all.root())),
        ("present A", prove(&all, 0x80)),
        ("absent 00", prove(&all, 0)),
        ("absent in the empty trie", prove(&Trie::default(), 0)),
        ("range 02 to 80", range(key(2), key(0x80), 9)),
        ("range 00 to ff of one", range(Hash::ZERO, Hash([255; 32]), 1)),
        ("empty range 02 to 7f", range(key(2), key(0x7f), 9)),
        ("no items", encode(&merkle_root(no_items))),
        ("items 01", encode(&merkle_root([[1]]))),
        ("items 01 02 03", encode(&merkle_root([[1], [2], [3]]))),
        ("diff A then B gone", encode(&diff.root())),
        ("range of 7", encode(&seven)),
        ("root of none", encode(&Mmr::default().root())),
        ("root of 7", encode(&seven.root())),
        ("header 2 of 7", encode(&proof)),
        ("manifest of hello", hello().to_bytes()),
        ("name of hello", [&[1, 0x55, 0x1e, 0x20], &hello().hash().0[..]].concat()),
        ("short id", CompactKey::of(&ascending).short(&ascending).0.to_vec()),
    ];
    let made: BTreeMap<_, _> =
        made.into_iter().map(|(name, bytes)| (name.to_owned(), hex::encode(bytes))).collect();
    assert_eq!(written(include_str!("../../docs/FORMATS.md")), made);
}
