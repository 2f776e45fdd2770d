//! `weft tx`

use clap::Args;
use weft_core::{
    node::{InBlock, TransactionStatus, Verified},
    primitives::{Hash, Height},
};

use super::{Failure, Output, RpcArgs, output::printable};

#[derive(Debug, Args)]
pub(super) struct TxArgs {
    /// The transaction's id, as `weft send` prints it.
    id: Hash,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: TxArgs, output: Output) -> Result<(), Failure> {
    let status = args.rpc.client()?.transaction(args.id).await?;
    output.print(&status, || text(&status));
    Ok(())
}

/// How a peer knows what it tells, as one says it.
pub(super) fn verified(how: Verified, as_of: Height) -> String {
    match how {
        Verified::Executed => format!("by this peer itself, up to block {as_of}"),
        Verified::Proven => format!("by proof at finalised block {as_of}"),
    }
}

fn text(status: &TransactionStatus) -> String {
    let transaction = &status.transaction;
    let mut lines = vec![
        format!("id          {}", transaction.id),
        format!("from        {}", transaction.from),
        format!("to          {}", transaction.to),
        format!("amount      {}", transaction.amount),
        format!("fee         {}", transaction.fee),
        format!("nonce       {}", transaction.nonce),
    ];
    if !transaction.memo.is_empty() {
        lines.push(format!("memo        {}", printable(&transaction.memo)));
    }
    match status.block {
        None => lines.push("block       none yet: it waits".to_owned()),
        Some(InBlock { height, hash, finalised, verified: how, as_of }) => {
            lines.push(format!("block       {height} {hash}"));
            let finality = if finalised { "yes: it can never be undone" } else { "not yet" };
            lines.push(format!("final       {finality}"));
            lines.push(format!("verified    {}", verified(how, as_of)));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use weft_core::{
        node::TransactionView,
        primitives::{Address, Amount},
    };

    use super::*;

    #[test]
    fn a_transaction_tells_where_it_is_and_how_that_is_known() {
        let transaction = TransactionView {
            id: Hash([1; 32]),
            from: Address([2; 32]),
            to: Address([3; 32]),
            amount: Amount(4),
            fee: Amount(5),
            nonce: 6,
            bytes: 7,
            memo: "\u{1b}[2J".to_owned(),
        };
        let mut status = TransactionStatus { transaction, block: None };
        let waiting = text(&status);
        assert!(waiting.contains("none yet") && !waiting.contains("verified") && !waiting.contains('\u{1b}'));
        for (how, words) in [
            (Verified::Executed, "by this peer itself, up to block 90"),
            (Verified::Proven, "by proof at finalised block 90"),
        ] {
            let (height, hash, as_of) = (Height(80), Hash([8; 32]), Height(90));
            status.block = Some(InBlock { height, hash, finalised: true, verified: how, as_of });
            assert!(text(&status).ends_with(words));
        }
    }
}
