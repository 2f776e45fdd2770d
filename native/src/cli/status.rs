//! `weft status`

use weft_core::node::{ChainView, ReachState, ReachView, StatusView};

use super::{Failure, Output, RpcArgs, output::printable};

pub(super) async fn run(args: &RpcArgs, output: Output) -> Result<(), Failure> {
    let status = args.client()?.status().await?;
    output.print(&status, || text(&status));
    Ok(())
}

fn text(status: &StatusView) -> String {
    let mut lines = vec![format!("peer       {}", status.peer), format!("version    {}", status.version)];
    lines.extend(status.addresses.iter().map(|address| format!("address    {address}")));
    lines.extend(reach_lines(&status.reach));
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

fn reach_lines(reach: &ReachView) -> Vec<String> {
    let state = match reach.state {
        ReachState::Unknown => "not known yet: nobody has tried",
        ReachState::Direct => "others can dial this peer",
        ReachState::Relayed => "nobody can dial this peer: relays pass connections on",
        ReachState::No => "nobody can dial this peer, and no relay passes connections on",
    };
    let mut lines = vec![format!("reachable  {state}")];
    let proven =
        reach.proven.iter().map(|it| format!("           by {} at {}", it.by, printable(&it.address)));
    lines.extend(proven);
    lines.extend(reach.relays.iter().map(|relay| format!("           through relay {relay}")));
    lines
}

fn chain_lines(chain: &ChainView) -> Vec<String> {
    let below = chain.height.0.saturating_sub(chain.finalised.0);
    let mut lines = vec![
        format!("chain      {} ({})", printable(&chain.name), chain.genesis),
        format!("slot       {} of {} ms", chain.slot, chain.slot_millis),
        format!("head       {} {}", chain.height, chain.head),
        format!("finalised  {} {}", chain.finalised, chain.finalised_hash),
        format!("           {below} below the head; justified {}", chain.justified),
        format!("authority  set {} of {} members", chain.set_id, chain.authorities),
        format!("sync       {}", chain.sync),
        format!("mempool    {} pending, {} queued", chain.pending, chain.queued),
    ];
    if chain.joined_at.0 > 0 {
        lines.push(format!("joined     at block {}, by proof", chain.joined_at));
    }
    if chain.oldest.0 > 0 {
        lines.push(format!("keeps      blocks from {} on", chain.oldest));
    }
    lines.extend(chain.validator.iter().map(|key| format!("validator  {key}")));
    lines
}
