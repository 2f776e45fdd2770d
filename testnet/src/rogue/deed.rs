//! What a rogue does: one deed for each offence there is.

use weft_core::{
    chain::{Block, Body, Checkpoint},
    gossip::{Announcement, CompactBlock, ShortId, TxMode, TxRequest, TxResponse},
    node::Protocol,
    peers::Offence,
    primitives::{Amount, Hash, Height, Slot, decode, encode},
    sync::{BodiesResponse, SyncRequest, SyncResponse, SyncStatus},
};

use crate::fixture::{LongChain, address, key};

/// So many questions for the history of a room make a flood: 64 at once and 256 past that are forgiven.
const FLOOD: usize = 400;

/// Something to say.
pub(super) enum Saying {
    /// A question, on a protocol.
    Ask(Protocol, Vec<u8>),
    /// On the topic of blocks.
    Gossip(Vec<u8>),
}

/// A way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed(Offence);

impl Deed {
    /// One for each offence.
    pub fn all() -> impl Iterator<Item = Self> {
        Offence::ALL.into_iter().map(Self)
    }

    /// The one that earns this.
    #[must_use]
    pub const fn of(offence: Offence) -> Self {
        Self(offence)
    }

    /// What a victim should call it.
    #[must_use]
    pub const fn offence(self) -> Offence {
        self.0
    }

    /// What is said the `nth` time it is done.
    pub(super) fn sayings(self, made: &LongChain, nth: u64) -> Vec<Saying> {
        let ask = |protocol, body| vec![Saying::Ask(protocol, body)];
        let tell = |status| ask(Protocol::Sync, encode(&SyncRequest::Status(status)));
        let push = |payment| ask(Protocol::Transactions, TxRequest::Push(vec![payment]).to_bytes());
        let chain = &made.chain;
        let account = chain.accounts.len() - 1;
        let held = made.accounts(made.height());
        let nonce = held.get(&chain.address(account).trie_key()).map_or(0, |held| held.nonce);
        let mut payment = chain.unsigned(account, address(&key("shop", 0)), nonce + nth);
        match self.0 {
            Offence::WrongGenesis => tell(SyncStatus { genesis: Hash([1; 32]), ..self.status(made) }),
            Offence::BadSignature => {
                let mut forged = payment.sign(&chain.accounts[account], &chain.hash());
                forged.content.amount.0 += 1;
                push(forged)
            }
            // What makes the victim ask is where the rogue says it is; its answers are the offence.
            Offence::BadProof | Offence::WrongBody | Offence::Unrequested => tell(self.status(made)),
            Offence::InvalidBlock => {
                let slot = Slot(made.tip.head().slot().0 + 1 + nth);
                let (mut unsigned, body, _) = made.tip.draft(slot, Vec::new());
                unsigned.height.0 += 1;
                let header = unsigned.sign(made.tip.proposer(slot), &chain.hash());
                vec![Saying::Gossip(encode(&CompactBlock::whole(&Block { header, body })))]
            }
            Offence::Malformed => ask(Protocol::Sync, vec![0xff; 7]),
            Offence::InvalidTransaction => {
                payment.fee = Amount(3);
                push(payment.sign(&chain.accounts[account], &chain.hash()))
            }
            Offence::FalseAnnouncement => {
                let hello = TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 0 };
                let tiny = Announcement { short: ShortId(nth.to_le_bytes()), size: 9 };
                [hello, TxRequest::Announce(vec![tiny])]
                    .map(|said| Saying::Ask(Protocol::Transactions, said.to_bytes()))
                    .into()
            }
            // What was said in the room `x`?
            Offence::Flood => {
                (0..FLOOD).map(|_| Saying::Ask(Protocol::Chat, vec![1, 0, 0, 0, b'x'])).collect()
            }
        }
    }

    /// The answer to a question; none to what it does not care for.
    pub(super) fn answer(self, made: &LongChain, protocol: Protocol, body: &[u8]) -> Option<Vec<u8>> {
        match protocol {
            Protocol::Sync => {
                let asked = decode::<SyncRequest>(body, protocol.max_request()).ok()?;
                Some(encode(&self.sync_answer(made, &asked)))
            }
            Protocol::Archive if self.0 == Offence::WrongBody => {
                let payment = made.chain.transfer(0, address(&key("shop", 0)), 0);
                let other = Body { transactions: vec![payment], system: Vec::new() };
                Some(encode(&BodiesResponse(vec![Some(encode(&other))])))
            }
            Protocol::Transactions => Some(TxResponse::Done.to_bytes()),
            _ => None,
        }
    }

    fn sync_answer(self, made: &LongChain, asked: &SyncRequest) -> SyncResponse {
        match (self.0, asked) {
            (_, SyncRequest::Status(_)) => SyncResponse::Status(self.status(made)),
            (Offence::BadProof, SyncRequest::Certificates { .. }) => {
                let proofs = made.fragments().map(|mut fragment| {
                    fragment.certificate.signatures.clear();
                    (fragment.certificate, fragment.child_record)
                });
                SyncResponse::Certificates(proofs.take(1).collect())
            }
            (Offence::WrongBody, SyncRequest::Headers { .. }) => {
                SyncResponse::Headers(vec![next(made).header])
            }
            (Offence::Unrequested, SyncRequest::Headers { .. }) => {
                let genesis = made.header(Height(0)).clone();
                SyncResponse::Headers(vec![genesis.clone(), genesis])
            }
            _ => SyncResponse::Busy,
        }
    }

    /// Where it says it is.
    fn status(self, made: &LongChain) -> SyncStatus {
        let (height, head) = (made.height(), made.tip.head().hash());
        let finalised = made.record(height).finalised;
        let status = SyncStatus { genesis: made.chain.hash(), head, height, finalised, oldest: Height(0) };
        match self.0 {
            Offence::BadProof => {
                let other = Checkpoint { hash: Hash([2; 32]), ..finalised };
                SyncStatus { finalised: other, ..status }
            }
            Offence::WrongBody => {
                let next = next(made).header;
                SyncStatus { head: next.hash(), height: next.height(), ..status }
            }
            Offence::Unrequested => SyncStatus { head: Hash([7; 32]), height: Height(1_000_000), ..status },
            _ => status,
        }
    }
}

/// A block that the victim does not have, and may.
fn next(made: &LongChain) -> Block {
    made.tip.clone().extend(Vec::new())
}
