//! `weft mempool` and `weft fees`

use clap::Args;
use weft_core::{
    chain::Transaction,
    mempool::{FeeBucket, FeeEstimate, fee_for},
    node::{TransactionView, grouped},
};

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
        if !mempool.histogram.is_empty() {
            text.push_str("\n\n");
            text.push_str(&histogram(&mempool.histogram));
        }
        if !mempool.best.is_empty() {
            text.push_str("\n\n");
            text.push_str(&transaction_table(&mempool.best));
        }
        text
    });
    Ok(())
}

/// What to pay.
pub(super) async fn fees(args: &RpcArgs, output: Output) -> Result<(), Failure> {
    let fees = args.client()?.mempool(0).await?.fees;
    output.print(&fees, || suggestions(&fees));
    Ok(())
}

fn suggestions(fees: &FeeEstimate) -> String {
    let mut rows = vec![["FOR", "1,000 BYTES", "A PLAIN TRANSFER"].map(str::to_owned)];
    for (goal, rate) in [
        ("the next block", fees.next),
        ("one of the next 3", fees.soon),
        ("one of the next 10", fees.slow),
        ("to be taken at all", fees.minimum),
    ] {
        let plain = fee_for(rate, Transaction::EMPTY_LEN);
        rows.push([goal.to_owned(), grouped(rate), grouped(plain.0)]);
    }
    format!("{}\n{} of the last {} blocks were full", columns(&rows), fees.full, fees.blocks)
}

/// The widest bar.
const BAR: usize = 40;

/// A bar for each bucket, as long as its bytes are many.
fn histogram(buckets: &[FeeBucket]) -> String {
    let most = buckets.iter().map(|bucket| bucket.bytes).max().unwrap_or(0).max(1);
    let mut rows = vec![["FEE FOR 1,000 BYTES", "COUNT", "BYTES", ""].map(str::to_owned)];
    rows.extend(buckets.iter().rev().map(|bucket| {
        let bar = "#".repeat((bucket.bytes * BAR).div_ceil(most));
        [grouped(bucket.from), bucket.count.to_string(), grouped(bucket.bytes as u64), bar]
    }));
    columns(&rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_the_bytes_are_many() {
        let bucket = |from, bytes| FeeBucket { from, count: bytes / 100, bytes };
        let text = histogram(&[bucket(1_000, 4_000), bucket(1_500, 0), bucket(2_000, 100)]);
        let bars: Vec<_> = text.lines().map(|line| line.matches('#').count()).collect();
        assert_eq!(bars, [0, 1, 0, BAR]);
        assert!(text.lines().nth(3).is_some_and(|line| line.starts_with("1,000")), "{text}");
    }

    #[test]
    fn suggestions_name_a_fee_for_each_patience() {
        let fees = FeeEstimate { minimum: 1_000, next: 3_000, soon: 2_000, slow: 1_000, blocks: 20, full: 3 };
        let text = suggestions(&fees);
        assert!(text.contains("the next block") && text.contains("495"), "{text}");
        assert!(text.ends_with("3 of the last 20 blocks were full"), "{text}");
    }
}
