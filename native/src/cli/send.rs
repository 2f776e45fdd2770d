//! `weft send`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;
use weft_core::{
    chain::{MAX_MEMO_BYTES, UnsignedTransaction},
    node::ChainView,
    primitives::{Address, Amount, Hash, Slot},
};

use super::{Failure, Output, RpcArgs};
use crate::{
    keyfile::{self, KeyKind},
    rpc::{BlockParam, RpcClient, RpcFailure, code},
};

/// How often the chain is looked at while waiting.
const LOOK: Duration = Duration::from_millis(250);
/// Blocks that are looked at again before giving up, in case the chain was reorganised.
const LOOK_BACK: u64 = 64;
/// Slots after the last valid one until a block of it should have arrived.
const GRACE: u64 = 5;

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
    /// What the proposer receives. Default: the least that the chain takes for the transaction's size.
    #[arg(long, value_name = "N")]
    fee: Option<u64>,
    /// Up to 256 bytes for the receiver.
    #[arg(long, value_name = "TEXT", default_value = "")]
    memo: String,
    /// The transaction is void when this many slots have passed without it being in a block.
    #[arg(long, value_name = "SLOTS", default_value_t = 300)]
    valid_for: u64,
    /// Wait until it is in a block.
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
    let least = chain.min_fee_per_byte.saturating_mul(content.signed_len() as u64);
    content.fee = Amount(args.fee.unwrap_or(least));
    let fee = content.fee;
    let transaction = content.sign(&key, &chain.genesis);
    let id = client.submit(&transaction).await?;
    let mut json = json!({ "id": id, "nonce": nonce, "fee": fee, "valid_until": valid_until });
    if !args.wait {
        output.print(&json, || format!("{id}"));
        return Ok(());
    }
    output.note(&format!("{id} is on its way"));
    let block = wait(&client, id, chain.height.0, valid_until).await?;
    json["height"] = json!(block.0);
    json["block"] = json!(block.1);
    output.print(&json, || format!("{id} is in block {} {}", block.0, block.1));
    Ok(())
}

async fn chain(client: &RpcClient) -> Result<ChainView, Failure> {
    client
        .status()
        .await?
        .chain
        .ok_or_else(|| Failure::Failed("the peer follows no chain: start it with a genesis".to_owned()))
}

/// Looks through the blocks above `seen` as they come, until one has the transaction or none can any more.
async fn wait(
    client: &RpcClient,
    id: Hash,
    mut seen: u64,
    valid_until: Slot,
) -> Result<(u64, Hash), Failure> {
    loop {
        let chain = chain(client).await?;
        let over = chain.slot.0 > valid_until.0.saturating_add(GRACE);
        if over || chain.height.0 < seen {
            seen = chain.height.0.saturating_sub(LOOK_BACK);
        }
        while seen < chain.height.0 {
            let block = match client.block(BlockParam::Height(seen + 1)).await {
                Ok(block) => block,
                Err(RpcFailure::Refused { code: told, .. })
                    if told == code(&weft_core::node::CommandError::NoSuchBlock) =>
                {
                    break;
                }
                Err(failure) => return Err(failure.into()),
            };
            if block.transactions.iter().any(|transaction| transaction.id == id) {
                return Ok((block.summary.height.0, block.summary.hash));
            }
            seen += 1;
        }
        if over {
            return Err(Failure::Failed(format!(
                "{id} was in no block by slot {valid_until}, and is void now"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}
