//! `weft account`

use clap::Args;
use weft_core::primitives::Address;

use super::{Failure, Output, RpcArgs, tx::verified};

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
            "address     {}\nbalance     {}\nwith queue  {}\nsent        {}\nnext nonce  {}\nverified    {}",
            account.address,
            account.balance,
            account.pending_balance,
            account.nonce,
            account.next_nonce,
            verified(account.verified, account.height)
        )
    });
    Ok(())
}
