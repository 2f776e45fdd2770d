//! `weft account`

use clap::Args;
use weft_core::{node::Verified, primitives::Address};

use super::{Failure, Output, RpcArgs};

#[derive(Debug, Args)]
pub(super) struct AccountArgs {
    /// Whose account.
    address: Address,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: AccountArgs, output: Output) -> Result<(), Failure> {
    let account = args.rpc.client()?.account(args.address).await?;
    output.print(&account, || {
        format!(
            "address     {}\nbalance     {} at height {}, {}\nwith queue  {}\nsent        {}\nnext nonce  {}",
            account.address,
            account.balance,
            account.height,
            match account.verified {
                Verified::Executed => "executed here",
                Verified::Proven => "proven to be final",
            },
            account.pending_balance,
            account.nonce,
            account.next_nonce
        )
    });
    Ok(())
}
