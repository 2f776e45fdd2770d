//! `weft status`

use weft_core::node::{ChainView, StatusView, SyncPhase};

use super::{Failure, Output, RpcArgs, output::printable};

pub(super) async fn run(args: &RpcArgs, output: Output) -> Result<(), Failure> {
    let status = args.client()?.status().await?;
    output.print(&status, || text(&status));
    Ok(())
}

fn text(status: &StatusView) -> String {
    let mut lines = vec![format!("peer       {}", status.peer), format!("version    {}", status.version)];
    lines.extend(status.addresses.iter().map(|address| format!("address    {address}")));
    lines.push(format!("connected  {}", status.peers));
    match &status.chain {
        None => lines.push("chain      none: only peers and chat".to_owned()),
        Some(chain) => lines.extend(chain_lines(chain)),
    }
    lines.extend(
        status.refusals.iter().map(|(reason, count)| format!("refused    {count} x {}", printable(reason))),
    );
    lines.extend(status.alarms.iter().map(|alarm| format!("ALARM      {}", printable(alarm))));
    lines.join("\n")
}

fn chain_lines(chain: &ChainView) -> Vec<String> {
    let sync = &chain.sync;
    let progress = match sync.phase {
        SyncPhase::Starting => "reading the state from disk".to_owned(),
        SyncPhase::Searching => "looking for peers of this chain".to_owned(),
        SyncPhase::Proof => {
            format!("asking for proof of the finalised chain, {} of {}", sync.done, sync.total)
        }
        SyncPhase::State => {
            let left = sync.seconds_left.map(|left| format!(", {left} s left")).unwrap_or_default();
            format!("{} of about {} accounts, {} a second{left}", sync.done, sync.total, sync.rate)
        }
        SyncPhase::Light => "light: following finalised checkpoints".to_owned(),
        SyncPhase::Headers => format!("downloading headers, {} of {} blocks", sync.done, sync.total),
        SyncPhase::Bodies => {
            let left = sync.seconds_left.map(|left| format!(", {left} s left")).unwrap_or_default();
            format!("{} of {} blocks, {} a second{left}", sync.done, sync.total, sync.rate)
        }
        SyncPhase::Following => "following the chain".to_owned(),
    };
    let mut lines = vec![
        format!("chain      {} ({})", printable(&chain.name), chain.genesis),
        format!("slot       {} of {} ms", chain.slot, chain.slot_millis),
        format!("head       {} {}", chain.height, chain.head),
        format!("finalised  {} (justified {})", chain.finalised, chain.justified),
        format!("sync       {progress}"),
        format!("mempool    {} pending, {} queued", chain.pending, chain.queued),
    ];
    lines.extend(chain.validator.iter().map(|key| format!("validator  {key}")));
    lines
}
