//! Every way a block can be wrong, and what becomes of it and of the one who passed it on.

use weft_core::{
    chain::{Block, Body, Transaction, UnsignedHeader},
    gossip::{CompactBlock, CompactId},
    primitives::{Amount, Hash, Slot, encode},
};
use weft_testnet::fixture::{TestChain, address, key};

use crate::siege::{Blame, Siege, payment};

/// What becomes of a bad block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Rejected, and the one who passed it on is charged with this.
    Blamed(&'static str),
    /// Rejected, and the one who passed it on is banned.
    Banned,
    /// Not passed on, and nobody is blamed.
    Ignored,
    /// Passed on by what its header says, and refused when it is executed: its proposer's doing alone.
    Refused,
}

/// A way to spoil the draft of the next block, and what becomes of it.
type Spoil = (&'static str, Fate, fn(&mut Siege, UnsignedHeader, Body) -> Vec<u8>);

fn signed(siege: &Siege, unsigned: UnsignedHeader, body: Body) -> Vec<u8> {
    whole(&siege.sign(unsigned, body))
}

fn whole(block: &Block) -> Vec<u8> {
    encode(&CompactBlock::whole(block))
}

/// The draft with this one transaction in it, signed as if it were right.
fn with(siege: &Siege, mut unsigned: UnsignedHeader, transaction: Transaction) -> Vec<u8> {
    let body = Body { transactions: vec![transaction], system: Vec::new() };
    unsigned.tx_root = body.tx_root();
    signed(siege, unsigned, body)
}

const BAD_BLOCKS: &[Spoil] = &[
    ("nothing", Fate::Blamed("malformed"), |_, _, _| Vec::new()),
    ("noise", Fate::Blamed("malformed"), |_, _, _| vec![0xa5; 700]),
    ("too much", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut bytes = signed(siege, unsigned, body);
        bytes.resize((1 << 20) + 1, 0);
        bytes
    }),
    ("cut short", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut bytes = signed(siege, unsigned, body);
        bytes.pop();
        bytes
    }),
    ("a byte too many", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut bytes = signed(siege, unsigned, body);
        bytes.push(0);
        bytes
    }),
    ("another version", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut bytes = signed(siege, unsigned, body);
        bytes[0] = 2;
        bytes
    }),
    ("a false count", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut bytes = signed(siege, unsigned, body);
        let end = bytes.len();
        bytes[end - 8..end - 4].copy_from_slice(&[0xff; 4]);
        bytes
    }),
    ("a wrong height", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        unsigned.height.0 += 1;
        signed(siege, unsigned, body)
    }),
    ("the parent's slot", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        unsigned.slot = siege.maker.head().slot();
        unsigned.proposer = siege.maker.proposer(unsigned.slot).public();
        signed(siege, unsigned, body)
    }),
    ("somebody else's turn", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        let other = siege.maker.proposer(Slot(unsigned.slot.0 + 1)).clone();
        unsigned.proposer = other.public();
        whole(&Block { header: unsigned.sign(&other, &siege.chain.hash()), body })
    }),
    ("another set", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        unsigned.set_id = 1;
        signed(siege, unsigned, body)
    }),
    ("a wrong root of headers", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        unsigned.mmr_root = Hash::ZERO;
        signed(siege, unsigned, body)
    }),
    ("another body", Fate::Blamed("invalid-block"), |siege, unsigned, mut body| {
        body.transactions.push(payment(siege, |_| {}));
        signed(siege, unsigned, body)
    }),
    ("a whole block, not a compact one", Fate::Blamed("malformed"), |siege, mut unsigned, _| {
        let body = Body { transactions: vec![payment(siege, |_| {})], system: Vec::new() };
        unsigned.tx_root = body.tx_root();
        encode(&siege.sign(unsigned, body))
    }),
    ("a transaction past the end", Fate::Blamed("malformed"), |siege, unsigned, mut body| {
        body.transactions.push(payment(siege, |_| {}));
        let mut compact = CompactBlock::whole(&siege.sign(unsigned, body));
        compact.prefilled[0].skip = 1;
        encode(&compact)
    }),
    ("too many short ids", Fate::Blamed("malformed"), |siege, unsigned, body| {
        let mut compact = CompactBlock::whole(&siege.sign(unsigned, body));
        compact.short = vec![CompactId([7; 6]); 4_097];
        encode(&compact)
    }),
    ("too much beside short ids", Fate::Blamed("malformed"), |siege, unsigned, mut body| {
        body.transactions
            .extend([(); 2].map(|()| payment(siege, |payment| payment.memo = vec![0; 32 << 10])));
        encode(&CompactBlock::new(&siege.sign(unsigned, body), |place| place == 0))
    }),
    ("no system items where there is one", Fate::Blamed("invalid-block"), |siege, mut unsigned, body| {
        unsigned.system_root = Hash([9; 32]);
        signed(siege, unsigned, body)
    }),
    ("a forged signature", Fate::Banned, |siege, unsigned, body| {
        let mut block = siege.sign(unsigned, body);
        block.header.signature.0[40] ^= 1;
        whole(&block)
    }),
    ("somebody else's signature", Fate::Banned, |siege, unsigned, body| {
        let other = siege.maker.proposer(Slot(unsigned.slot.0 + 1)).clone();
        whole(&Block { header: unsigned.sign(&other, &siege.chain.hash()), body })
    }),
    ("another chain's signature", Fate::Banned, |siege, unsigned, body| {
        let key = siege.maker.proposer(unsigned.slot).clone();
        whole(&Block { header: unsigned.sign(&key, &Hash::ZERO), body })
    }),
    ("a slot to come", Fate::Ignored, |siege, mut unsigned, body| {
        unsigned.slot.0 += 30;
        unsigned.proposer = siege.maker.proposer(unsigned.slot).public();
        signed(siege, unsigned, body)
    }),
    ("an unknown parent", Fate::Ignored, |siege, mut unsigned, body| {
        unsigned.parent = Hash([9; 32]);
        signed(siege, unsigned, body)
    }),
    ("a wrong state root", Fate::Refused, |siege, mut unsigned, body| {
        unsigned.state_root = Hash::ZERO;
        signed(siege, unsigned, body)
    }),
    ("a wrong diff root", Fate::Refused, |siege, mut unsigned, body| {
        unsigned.diff_root = Hash::ZERO;
        signed(siege, unsigned, body)
    }),
    ("a wrong consensus root", Fate::Refused, |siege, mut unsigned, body| {
        unsigned.consensus_root = Hash::ZERO;
        signed(siege, unsigned, body)
    }),
    ("a payment with a forged signature", Fate::Refused, |siege, unsigned, _| {
        let mut bad = payment(siege, |_| {});
        bad.signature.0[0] ^= 1;
        with(siege, unsigned, bad)
    }),
    ("a payment of another chain", Fate::Refused, |siege, unsigned, _| {
        let content = siege.chain.unsigned(0, address(&key("shop", 0)), 0);
        with(siege, unsigned, content.sign(&siege.chain.accounts[0], &Hash::ZERO))
    }),
    ("a payment out of turn", Fate::Refused, |siege, unsigned, _| {
        with(siege, unsigned, payment(siege, |payment| payment.nonce = 1_000))
    }),
    ("an overdraft", Fate::Refused, |siege, unsigned, _| {
        with(siege, unsigned, payment(siege, |payment| payment.amount = Amount(2 * TestChain::GRANT)))
    }),
    ("a payment past all amounts", Fate::Refused, |siege, unsigned, _| {
        with(siege, unsigned, payment(siege, |payment| payment.amount = Amount(u64::MAX)))
    }),
    ("a payment below the minimum fee", Fate::Refused, |siege, unsigned, _| {
        with(siege, unsigned, payment(siege, |payment| payment.fee = Amount(1)))
    }),
    ("an expired payment", Fate::Refused, |siege, unsigned, _| {
        with(siege, unsigned, payment(siege, |payment| payment.valid_until = Slot(0)))
    }),
    ("a memo too long", Fate::Refused, |siege, unsigned, _| {
        let long = payment(siege, |payment| {
            payment.memo = vec![0; 300];
            payment.fee = Amount(10_000);
        });
        with(siege, unsigned, long)
    }),
];

#[test]
fn bad_blocks_are_judged_as_they_deserve() {
    let mut siege = Siege::new(1);
    siege.goes_on(Vec::new());
    for (name, fate, spoil) in BAD_BLOCKS {
        let intruder = siege.mute();
        let slot = siege.next_slot();
        let (unsigned, body, _) = siege.maker.draft(slot, Vec::new());
        let bytes = spoil(&mut siege, unsigned, body);
        siege.gossip(intruder, bytes);
        let blame = siege.blame(intruder);
        match fate {
            Fate::Blamed(offence) => {
                assert_eq!(blame.rejected, 1, "{name}: {blame:?}");
                assert_eq!(blame.offences.get(*offence), Some(&1), "{name}: {blame:?}");
            }
            Fate::Banned => assert!(blame.banned && blame.rejected == 1, "{name}: {blame:?}"),
            Fate::Ignored | Fate::Refused => assert_eq!(blame, Blame::none(), "{name}"),
        }
        let (victim, bystander) = (siege.victim, siege.bystander);
        for ix in [victim, bystander] {
            let head = siege.world.chain(ix).head;
            assert_eq!(head, siege.maker.head().hash(), "{name} was taken");
        }
        siege.goes_on(Vec::new());
        siege.world.kill(intruder);
    }
}
