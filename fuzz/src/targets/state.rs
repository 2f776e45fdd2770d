//! The accounts.

use std::collections::{BTreeMap, BTreeSet};

use weft_core::{
    chain::{MAX_BLOCK_BYTES, Transaction},
    primitives::{Address, Hash, Slot, encode},
    state::{Account, AccountProof, BlockContext, RangeProof, Trie, execute, select},
};

use crate::{canonical, sample::sample};

/// A key, and a proof of its account: nothing but the account can be proven.
pub fn account_proof(data: &[u8]) -> bool {
    let Some((key, data)) = data.split_first_chunk().map(|(bytes, rest)| (Hash(*bytes), rest)) else {
        return false;
    };
    let Some(proof) = canonical::<AccountProof>(data, AccountProof::MAX_LEN) else { return false };
    let (accounts, root) = (&sample().accounts, sample().trie.root());
    let Ok(account) = proof.verify(&root, &key) else { return false };
    assert_eq!(account, accounts.get(&key).copied().unwrap_or_default(), "a forged account");
    true
}

/// Accounts that are there, and such that are not.
pub fn account_proof_seeds() -> Vec<Vec<u8>> {
    let there = sample().accounts.keys().step_by(20).copied();
    let absent = (0..2).map(|index: u8| Hash::of(&[index]));
    let prove = |key: Hash| {
        let proof = sample().trie.prove(&key).expect("the trie is whole");
        [&key.0[..], &encode(&proof)].concat()
    };
    there.chain(absent).map(prove).collect()
}

/// Two keys, and a proof of the accounts between them: none can be hidden, changed or made up.
pub fn range_proof(data: &[u8]) -> bool {
    let Some((from, data)) = data.split_first_chunk().map(|(bytes, rest)| (Hash(*bytes), rest)) else {
        return false;
    };
    let Some((to, data)) = data.split_first_chunk().map(|(bytes, rest)| (Hash(*bytes), rest)) else {
        return false;
    };
    let Some(proof) = canonical::<RangeProof>(data, RangeProof::MAX_LEN) else { return false };
    let sample = sample();
    let Ok(range) = proof.verify(&sample.trie.root(), &from, &to) else { return false };
    assert!(from <= to && range.next.is_none_or(|next| from < next && next <= to));
    let covered = |key: &Hash| *key <= to && range.next.is_none_or(|next| *key < next);
    let there = sample.accounts.range(from..).take_while(|(key, _)| covered(key));
    let there: Vec<_> = there.map(|(key, account)| (*key, *account)).collect();
    assert_eq!(range.leaves, there, "forged accounts");
    let part = Trie::default().update(&there.into_iter().collect()).expect("a trie made of leaves is whole");
    assert_eq!(range.part.root(), part.root());
    true
}

/// The whole state, parts of it, a part with nothing in it, and one that is cut short.
pub fn range_proof_seeds() -> Vec<Vec<u8>> {
    let keys: Vec<Hash> = sample().accounts.keys().copied().collect();
    let last = Hash([0xff; 32]);
    let mut gap = (keys[7], keys[7]);
    gap.0.0[31] ^= 1;
    gap.1.0[31] ^= 1;
    let ranges = [(Hash::ZERO, last, 100), (keys[3], keys[9], 100), (gap.0, gap.1, 9), (keys[5], last, 4)];
    let prove = |(from, to, most): (Hash, Hash, usize)| {
        let proof = sample().trie.prove_range(&from, &to, most).expect("the trie is whole");
        [&from.0[..], &to.0, &encode(&proof)].concat()
    };
    ranges.map(prove).into()
}

/// A trie as a page and its worker hand it over: what decodes can be read and cut.
pub fn trie(data: &[u8]) -> bool {
    let Some(trie) = canonical::<Trie>(data, 256 << 10) else { return false };
    let keys: BTreeSet<Hash> = sample().accounts.keys().step_by(9).copied().collect();
    let part = trie.witness(&keys);
    assert_eq!(part.root(), trie.root());
    assert_eq!(part.graft(&trie, &keys).root(), trie.root());
    for key in &keys {
        assert_eq!(part.get(key), trie.get(key));
    }
    true
}

/// The sample's state, whole, in part and without accounts.
pub fn trie_seeds() -> Vec<Vec<u8>> {
    let keys: BTreeSet<Hash> = sample().accounts.keys().step_by(9).copied().collect();
    let part = sample().trie.witness(&keys);
    let gone: BTreeMap<Hash, Account> = keys.iter().map(|key| (*key, Account::default())).collect();
    let emptied = part.update(&gone).expect("the witness is for these keys");
    vec![encode(&Trie::default()), encode(&sample().trie), encode(&part), encode(&emptied)]
}

/// Transactions whose signatures are taken for right: executing them makes no money and loses none, and a diff leads there
/// and back.
pub fn execution(data: &[u8]) -> bool {
    let Some(transactions) = canonical::<Vec<Transaction>>(data, MAX_BLOCK_BYTES) else { return false };
    let before = &sample().trie;
    let context = BlockContext { slot: Slot(1), fee_address: Address([7; 32]), min_fee_per_byte: 1 };
    let outcome = execute(before, &context, &transactions);
    if let Ok(executed) = &outcome {
        let sum = |accounts: &mut dyn Iterator<Item = Account>| -> u128 {
            accounts.map(|account| u128::from(account.balance.0)).sum()
        };
        let (then, now) = (
            sum(&mut executed.diff.backward().map(|(_, account)| account)),
            sum(&mut executed.diff.forward().map(|(_, account)| account)),
        );
        assert_eq!(then, now, "money was made or lost");
        let there = before.update(&executed.diff.forward().collect()).expect("the trie is whole");
        assert_eq!(there.root(), executed.trie.root());
        let back = there.update(&executed.diff.backward().collect()).expect("the trie is whole");
        assert_eq!(back.root(), before.root());
    }
    let (chosen, selected) = select(before, &context, transactions.clone()).expect("the trie is whole");
    let again = execute(before, &context, &chosen).expect("what was chosen can be executed");
    assert_eq!(again.trie.root(), selected.trie.root());
    assert_eq!(chosen.len() == transactions.len(), outcome.is_ok());
    outcome.is_ok()
}

/// The transactions of the blocks after the pivot.
pub fn execution_seeds() -> Vec<Vec<u8>> {
    let block = |height: usize| &sample().chain.blocks[height - 1].body.transactions;
    vec![encode(block(97)), encode(&[97, 98, 99, 100].map(block).map(Vec::as_slice).concat())]
}
