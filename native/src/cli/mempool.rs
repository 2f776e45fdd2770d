//! `weft mempool`

use clap::Args;
use weft_core::node::TransactionView;

use super::{
    Failure, Output, RpcArgs,
    output::{columns, printable},
};

#[derive(Debug, Args)]
pub(super) struct MempoolArgs {
    /// Show this many transactions, best first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    count: usize,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: MempoolArgs, output: Output) -> Result<(), Failure> {
    let mempool = args.rpc.client()?.mempool(args.count).await?;
    output.print(&mempool, || {
        let mut text =
            format!("{} pending, {} queued, {} bytes", mempool.pending, mempool.queued, mempool.bytes);
        if !mempool.best.is_empty() {
            text.push_str("\n\n");
            text.push_str(&transaction_table(&mempool.best));
        }
        text
    });
    Ok(())
}

/// Transactions, one a line.
pub(super) fn transaction_table(transactions: &[TransactionView]) -> String {
    let mut rows = vec![["ID", "FROM", "TO", "AMOUNT", "FEE", "NONCE", "MEMO"].map(str::to_owned)];
    rows.extend(transactions.iter().map(|transaction| {
        [
            transaction.id.short(),
            transaction.from.to_string(),
            transaction.to.to_string(),
            transaction.amount.to_string(),
            transaction.fee.to_string(),
            transaction.nonce.to_string(),
            printable(&transaction.memo),
        ]
    }));
    columns(&rows)
}
