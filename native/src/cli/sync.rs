//! `weft sync`

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::sleep;
use weft_core::{node::SyncView, sync::Strategy};

use super::{Failure, Output, RpcArgs, output::wrapped, progress::Screen};
use crate::rpc::RpcClient;

/// How often a peer that is waited for is asked.
const LOOK: Duration = Duration::from_millis(500);
/// The widths of the columns of the explanation: 100 characters with what is between them.
const WIDTHS: [usize; 4] = [15, 32, 26, 21];

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// Say what each strategy of `weft node --sync` downloads, verifies and trusts. No peer is asked.
    #[arg(long, conflicts_with = "wait")]
    explain: bool,
    /// Wait until the peer follows the chain.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(args: SyncArgs, output: Output, screen: &Screen) -> Result<(), Failure> {
    if args.explain {
        let all = Strategy::ALL.map(explanation);
        output.print(&all, table);
        return Ok(());
    }
    let client = args.rpc.client()?;
    let mut view = progress(&client).await?;
    while args.wait && !view.is_following() {
        if !output.is_json() {
            screen.show(&view);
        }
        sleep(LOOK).await;
        view = progress(&client).await?;
    }
    screen.clear();
    output.print(&view, || view.to_string());
    Ok(())
}

async fn progress(client: &RpcClient) -> Result<SyncView, Failure> {
    let chain = client.status().await?.chain;
    Ok(chain.ok_or_else(|| Failure::Failed("the peer follows no chain".to_owned()))?.sync)
}

/// How `--sync` names the strategy.
fn name(strategy: Strategy) -> String {
    match strategy {
        Strategy::Checkpoint(_) => "checkpoint:HASH".to_owned(),
        other => other.to_string(),
    }
}

fn explanation(strategy: Strategy) -> Value {
    let told = strategy.explain();
    json!({
        "strategy": name(strategy), "downloads": told.downloads, "verifies": told.verifies, "trusts": told.trusts
    })
}

fn table() -> String {
    let heading = ["STRATEGY", "DOWNLOADS", "VERIFIES", "TRUSTS"].map(str::to_owned);
    let rows = Strategy::ALL.map(|strategy| {
        let told = strategy.explain();
        [name(strategy), told.downloads.to_owned(), told.verifies.to_owned(), told.trusts.to_owned()]
    });
    let rows: Vec<String> = std::iter::once(&heading).chain(&rows).map(|row| wrapped(row, WIDTHS)).collect();
    rows.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_its_width_and_leaves_nothing_out() {
        let table = table();
        assert!(table.lines().all(|line| line.len() <= 100), "{table}");
        let words = |text: &str| text.split_whitespace().count();
        let told = Strategy::ALL.map(|strategy| {
            let told = strategy.explain();
            1 + words(told.downloads) + words(told.verifies) + words(told.trusts)
        });
        assert_eq!(words(&table), 4 + told.iter().sum::<usize>());
    }

    #[test]
    fn every_name_in_the_table_is_one_that_the_node_takes() {
        for strategy in Strategy::ALL {
            let hash = "ab".repeat(32);
            assert!(name(strategy).replace("HASH", &hash).parse::<Strategy>().is_ok(), "{strategy}");
        }
    }
}
