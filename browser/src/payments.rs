//! Sending money, and watching until it is in a block.

use futures::StreamExt;
use weft_core::{
    chain::{CHECKPOINT_INTERVAL, MAX_MEMO_BYTES, UnsignedTransaction},
    mempool::{AdmissionError, fee_for},
    node::{AccountView, Command, CommandError, Event, Reply, TransactionStatus, Verified},
    primitives::{Address, Amount, Hash, Height, SecretKey, Slot},
    state::TransferError,
    swarm::{Events, Notice},
};

use crate::{clock, session::Session};

/// What the faucet gives.
pub(crate) const GIFT: Amount = Amount(1000);
/// How long a payment may wait for a block before it is void.
const VALID_MILLIS: u64 = 10 * 60 * 1000;
/// How often a gift is tried: all tabs spend from the faucet's one account, and two may choose the same nonce.
const GIFT_ATTEMPTS: usize = 8;

/// A payment on its way.
pub(crate) struct Sent {
    /// The transaction's id.
    pub(crate) id: Hash,
    sender: Address,
    nonce: u64,
    valid_until: Slot,
    events: Events,
}

/// What became of a payment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in this block.
    Included(Height),
    /// Another transaction took its nonce.
    Overtaken,
    /// No block took it in time.
    Expired,
    /// The peer stopped first.
    Unknown,
}

/// What a transfer with this memo costs beside its amount, at `rate` for 1,000 bytes or the chain's minimum.
pub(crate) fn fee(session: &Session, memo: &str, rate: u64) -> Amount {
    let content = content(session, &session.account, session.address, Amount(0), memo, rate);
    content.fee
}

fn content(
    session: &Session,
    from: &SecretKey,
    to: Address,
    amount: Amount,
    memo: &str,
    rate: u64,
) -> UnsignedTransaction {
    let genesis = &session.genesis;
    let slot = genesis.slot_at(clock::now().wall).unwrap_or_default();
    let valid_until = Slot(slot.0.saturating_add(VALID_MILLIS / genesis.slot_millis.max(1)));
    let mut content = UnsignedTransaction::transfer(from.public(), to, amount, Amount(0), 0, valid_until);
    content.memo = memo.as_bytes().to_vec();
    let least = genesis.min_fee_per_byte.saturating_mul(1000);
    content.fee = fee_for(rate.max(least), content.signed_len());
    content
}

/// Sends `amount` from this tab's account, for a fee of `rate` for 1,000 bytes or the chain's minimum.
///
/// # Errors
/// In words, when it is refused.
pub(crate) async fn send(
    session: &Session,
    to: Address,
    amount: Amount,
    memo: &str,
    rate: u64,
) -> Result<Sent, String> {
    if memo.len() > MAX_MEMO_BYTES {
        return Err(format!("The memo has {} bytes, and {MAX_MEMO_BYTES} are allowed.", memo.len()));
    }
    submit(session, &session.account, to, amount, memo, rate)
        .await
        .map_err(|error| format!("Not sent: {error}."))
}

async fn submit(
    session: &Session,
    from: &SecretKey,
    to: Address,
    amount: Amount,
    memo: &str,
    rate: u64,
) -> Result<Sent, CommandError> {
    let sender = Address::of(&from.public());
    let events = session.handle.subscribe().await;
    let mut content = content(session, from, to, amount, memo, rate);
    content.nonce = account(session, sender).await?.next_nonce;
    let (nonce, valid_until) = (content.nonce, content.valid_until);
    let transaction = content.sign(from, &session.chain);
    let id = transaction.id();
    session.handle.call(Command::Submit(transaction)).await?;
    Ok(Sent { id, sender, nonce, valid_until, events })
}

async fn account(session: &Session, address: Address) -> Result<AccountView, CommandError> {
    match session.handle.call(Command::Account(address)).await? {
        Reply::Account(view) => Ok(view),
        _ => Err(CommandError::Starting),
    }
}

/// How many slots what is known of an account may be behind: proof is of what is final.
const fn lag(account: &AccountView) -> u64 {
    match account.verified {
        Verified::Executed => 0,
        Verified::Proven => 4 * CHECKPOINT_INTERVAL,
    }
}

/// Waits until it is clear what became of a payment.
pub(crate) async fn fate(session: &Session, mut sent: Sent) -> Fate {
    while let Some(notice) = sent.events.next().await {
        let slot = match notice {
            Notice::Event(Event::Block(block)) => Some(block.slot),
            Notice::Lost(_) => None,
            Notice::Event(_) => continue,
        };
        match account(session, sent.sender).await {
            Ok(account) if account.nonce > sent.nonce => {
                let block = find(session, sent.id).await.ok().and_then(|status| status.block);
                return block.map_or(Fate::Overtaken, |block| Fate::Included(block.height));
            }
            Ok(account) if slot.is_some_and(|slot| slot.0 > sent.valid_until.0 + lag(&account)) => {
                return Fate::Expired;
            }
            _ => {}
        }
    }
    Fate::Unknown
}

/// Where a transaction is.
///
/// # Errors
/// When it is not known here, and no peer has proven it.
pub(crate) async fn find(session: &Session, id: Hash) -> Result<TransactionStatus, CommandError> {
    match session.handle.call(Command::Transaction(id)).await? {
        Reply::Transaction(status) => Ok(*status),
        _ => Err(CommandError::NoSuchTransaction),
    }
}

/// Has the demo's faucet pay this tab, again when another tab was quicker with the same nonce.
///
/// # Errors
/// In words, when there is no faucet, or it does not pay.
pub(crate) async fn gift(session: &Session) -> Result<Height, String> {
    let faucet = session.faucet.as_ref().ok_or("This chain has no faucet.")?;
    let mut last = "other tabs were quicker every time".to_owned();
    for _ in 0..GIFT_ATTEMPTS {
        let rate = match session.handle.call(Command::Mempool(0)).await {
            Ok(Reply::Mempool(view)) => view.fees.next,
            _ => 0,
        };
        match submit(session, faucet, session.address, GIFT, "", rate).await {
            Ok(sent) => match fate(session, sent).await {
                Fate::Included(height) => return Ok(height),
                Fate::Overtaken => {}
                Fate::Expired | Fate::Unknown => last = "no block took the payment".into(),
            },
            Err(CommandError::Refused(
                AdmissionError::Invalid(TransferError::Nonce { .. })
                | AdmissionError::Underpriced(_)
                | AdmissionError::Known,
            )) => {}
            Err(error) => return Err(format!("The faucet did not pay: {error}.")),
        }
    }
    Err(format!("The faucet did not pay: {last}. Try again."))
}
