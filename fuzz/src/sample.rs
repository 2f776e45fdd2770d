//! The chain that the targets know everything about.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use weft_core::{
    chain::{Certificate, Checkpoint, Header, Link, Mmr, MmrProver, SystemItem, Transaction},
    primitives::{Hash, Height, PublicKey, SecretKey},
    state::{Account, Trie},
    sync::Fragment,
};
use weft_testnet::fixture::{ChainMaker, LongChain, TestChain, key};

/// The height of the last block.
const BLOCKS: u64 = 116;
/// A checkpoint whose state is asked for.
pub(crate) const PIVOT: Height = Height(96);

/// A chain of 116 blocks with two hand-offs: a fifth authority is let in at 20, and the first put out at 70.
pub(crate) struct Sample {
    pub(crate) chain: LongChain,
    /// What is in the state after [`PIVOT`].
    pub(crate) accounts: BTreeMap<Hash, Account>,
    pub(crate) trie: Trie,
    /// The hashes of all headers, by height.
    pub(crate) hashes: Vec<Hash>,
    pub(crate) fragments: Vec<Fragment>,
    /// The ids of all transactions in blocks.
    pub(crate) transactions: BTreeMap<Hash, Height>,
    /// All that authorities have ever signed votes for.
    pub(crate) links: BTreeSet<Link>,
    /// Everyone who was ever an authority.
    pub(crate) authorities: BTreeMap<PublicKey, SecretKey>,
}

pub(crate) fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(Sample::make)
}

impl Sample {
    fn make() -> Self {
        let test = TestChain::with_bystanders(0, 1_000, 4, 8, 50);
        let chain = LongChain::make(ChainMaker::voting(&test), &test, BLOCKS, |maker, height| {
            match height {
                20 => maker.let_in(4),
                70 => maker.put_out(0),
                _ => {}
            }
            let turn = (height - 1) as usize;
            (0..3)
                .map(|nth| {
                    let (from, nonce) = ((3 * turn + nth) % 8, (3 * turn + nth) / 8);
                    test.transfer(from, test.address((from + 1) % 8), nonce as u64)
                })
                .collect()
        });
        let accounts = chain.accounts(PIVOT);
        let trie = Trie::default().update(&accounts).expect("a trie made of leaves has no stubs");
        let hashes = (0..=BLOCKS).map(|height| chain.header(Height(height)).hash()).collect();
        let in_block = |at: usize| {
            let height = Height(at as u64 + 1);
            chain.blocks[at].body.transactions.iter().map(move |transaction| (transaction.id(), height))
        };
        let transactions = (0..chain.blocks.len()).flat_map(in_block).collect();
        let fragments: Vec<Fragment> = chain.fragments().collect();
        let links = chain.blocks.iter().flat_map(|block| certificates(&block.body.system));
        let links = links.map(|certificate| certificate.link).collect();
        let authorities = (0..5).map(|index| key("validator", index));
        let authorities = authorities.map(|secret| (secret.public(), secret)).collect();
        Self { accounts, trie, hashes, fragments, transactions, links, authorities, chain }
    }

    pub(crate) const fn genesis(&self) -> Hash {
        self.chain.chain.hash()
    }

    pub(crate) fn is_sender(&self, transaction: &Transaction) -> bool {
        self.chain.chain.accounts.iter().any(|account| account.public() == transaction.content.from)
    }

    /// The header at a height, if the chain is so long.
    pub(crate) fn header(&self, height: Height) -> Option<&Header> {
        (height.0 <= BLOCKS).then(|| self.chain.header(height))
    }

    /// Whether this is a header of the chain.
    pub(crate) fn has(&self, header: &Header) -> bool {
        self.header(header.height()) == Some(header)
    }

    pub(crate) fn checkpoint(&self, height: Height) -> Checkpoint {
        Checkpoint { height, hash: self.hashes[height.0 as usize] }
    }

    /// The mountain range over all headers before this height.
    pub(crate) fn mmr_before(&self, height: Height) -> Mmr {
        let mut mmr = Mmr::default();
        self.hashes[..height.0 as usize].iter().for_each(|hash| mmr.push(hash));
        mmr
    }

    /// What proves that headers are in the range before [`PIVOT`].
    pub(crate) fn prover(&self) -> MmrProver {
        let mut prover = MmrProver::default();
        prover.grow(PIVOT.0, |index| self.hashes.get(index as usize).copied()).expect("all are there");
        prover
    }

    /// The certificates in the blocks.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.chain.blocks.iter().flat_map(|block| certificates(&block.body.system))
    }
}

fn certificates(items: &[SystemItem]) -> impl Iterator<Item = &Certificate> {
    items.iter().filter_map(|item| match item {
        SystemItem::Certificate(certificate) => Some(certificate),
        SystemItem::Ballot(_) | SystemItem::Evidence(_) => None,
    })
}
