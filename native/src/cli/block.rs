//! `weft block`

use std::str::FromStr;

use clap::Args;

use super::{Failure, Output, RpcArgs, mempool::transaction_table};
use crate::rpc::BlockParam;

#[derive(Debug, Args)]
pub(super) struct BlockArgs {
    /// The block's height, or its hash.
    #[arg(value_name = "HEIGHT|HASH", value_parser = parse)]
    block: BlockParam,
    #[command(flatten)]
    rpc: RpcArgs,
}

fn parse(text: &str) -> Result<BlockParam, String> {
    u64::from_str(text)
        .map(BlockParam::Height)
        .or_else(|_| text.parse().map(BlockParam::Hash))
        .map_err(|_| "a block is named by its height, or by its hash of 64 hex digits".to_owned())
}

pub(super) async fn run(args: BlockArgs, output: Output) -> Result<(), Failure> {
    let block = args.rpc.client()?.block(args.block).await?;
    output.print(&block, || {
        let summary = &block.summary;
        let mut text = format!(
            "height        {}\nhash          {}\nparent        {}\nslot          {}\nproposer      {}\nstate root    {}\nbytes         {}\ntransactions  {}",
            summary.height,
            summary.hash,
            block.parent,
            summary.slot,
            summary.proposer,
            block.state_root,
            summary.bytes,
            block.transactions.len()
        );
        if !block.transactions.is_empty() {
            text.push_str("\n\n");
            text.push_str(&transaction_table(&block.transactions));
        }
        text
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_height_and_64_digits_are_a_hash() {
        assert_eq!(parse("12"), Ok(BlockParam::Height(12)));
        assert!(matches!(parse(&"12".repeat(32)), Ok(BlockParam::Hash(_))));
        assert!(parse("latest").is_err());
    }
}
