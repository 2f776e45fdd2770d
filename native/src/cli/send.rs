//! `weft send`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;
use weft_core::{
    chain::{CHECKPOINT_INTERVAL, MAX_MEMO_BYTES, UnsignedTransaction},
    mempool::fee_for,
    node::{ChainView, CommandError, InBlock, SyncPhase, TransactionStatus},
    primitives::{Address, Amount, Hash, Slot},
};

use super::{Failure, Output, RpcArgs};
use crate::{
    keyfile::{self, KeyKind},
    rpc::{RpcClient, RpcFailure, code},
};

/// How often the chain is looked at while waiting.
const LOOK: Duration = Duration::from_millis(250);
/// Slots after the last valid one until a block of it should have arrived.
const GRACE: u64 = 5;
/// The same for a light peer, which sees only what is final.
const LIGHT_GRACE: u64 = 4 * CHECKPOINT_INTERVAL;
/// What a peer answers that may know the transaction later.
const MAY_COME: [CommandError; 3] =
    [CommandError::NoSuchTransaction, CommandError::Unproven, CommandError::Starting];

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The file of the account key that pays.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who receives the money.
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
    /// How much.
    #[arg(long, value_name = "N")]
    amount: u64,
    /// What the proposer receives. Default: what `weft fees` says for the next block.
    #[arg(long, value_name = "N")]
    fee: Option<u64>,
    /// Up to 256 bytes for the receiver.
    #[arg(long, value_name = "TEXT", default_value = "")]
    memo: String,
    /// The transaction is void when this many slots have passed without it being in a block.
    #[arg(long, value_name = "SLOTS", default_value_t = 300)]
    valid_for: u64,
    /// Wait until it is in a block; with a light peer, until it is final.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: SendArgs, output: Output) -> Result<(), Failure> {
    if args.memo.len() > MAX_MEMO_BYTES {
        let length = args.memo.len();
        return Err(Failure::Usage(format!("the memo has {length} bytes, and at most {MAX_MEMO_BYTES} fit")));
    }
    let key = keyfile::load(&args.key, KeyKind::Account)?;
    let client = args.rpc.client()?;
    let chain = chain(&client).await?;
    let nonce = client.account(Address::of(&key.public())).await?.next_nonce;
    let valid_until = Slot(chain.slot.0.saturating_add(args.valid_for));
    let mut content = UnsignedTransaction::transfer(
        key.public(),
        args.to,
        Amount(args.amount),
        Amount(0),
        nonce,
        valid_until,
    );
    content.memo = args.memo.into_bytes();
    content.fee = match args.fee {
        Some(fee) => Amount(fee),
        None => fee_for(client.mempool(0).await?.fees.next, content.signed_len()),
    };
    let fee = content.fee;
    let transaction = content.sign(&key, &chain.genesis);
    let id = client.submit(&transaction).await?;
    let mut json = json!({ "id": id, "nonce": nonce, "fee": fee, "valid_until": valid_until });
    if !args.wait {
        output.print(&json, || format!("{id}"));
        return Ok(());
    }
    output.note(&format!("{id} is on its way"));
    let block = wait(&client, id, valid_until).await?;
    json["height"] = json!(block.height);
    json["block"] = json!(block.hash);
    json["finalised"] = json!(block.finalised);
    let word = if block.finalised { "is for good" } else { "is" };
    output.print(&json, || format!("{id} {word} in block {} {}", block.height, block.hash));
    Ok(())
}

async fn chain(client: &RpcClient) -> Result<ChainView, Failure> {
    client
        .status()
        .await?
        .chain
        .ok_or_else(|| Failure::Failed("the peer follows no chain: start it with a genesis".to_owned()))
}

/// Asks for the transaction until it is in a block or cannot be in any more.
async fn wait(client: &RpcClient, id: Hash, valid_until: Slot) -> Result<InBlock, Failure> {
    loop {
        // Asked before the transaction, so that a block that comes in between is not missed.
        let chain = chain(client).await?;
        match client.transaction(id).await {
            Ok(TransactionStatus { block: Some(block), .. }) => return Ok(block),
            Ok(TransactionStatus { block: None, .. }) => {}
            Err(RpcFailure::Refused { code: told, .. })
                if MAY_COME.iter().any(|error| code(error) == told) => {}
            Err(failure) => return Err(failure.into()),
        }
        let light = chain.sync.phase == SyncPhase::Light;
        if chain.slot.0 > valid_until.0.saturating_add(if light { LIGHT_GRACE } else { GRACE }) {
            return Err(Failure::Failed(if light {
                format!(
                    "no peer has proven that {id} is in a final block, and it is void in others since slot {valid_until}"
                )
            } else {
                format!("{id} was in no block by slot {valid_until}, and is void now")
            }));
        }
        tokio::time::sleep(LOOK).await;
    }
}
