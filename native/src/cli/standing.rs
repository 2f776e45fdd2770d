//! `weft ban`, `weft unban`, `weft trust` and `weft bans`: what a person thinks of peers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, value_parser};
use libp2p::PeerId;
use weft_core::{
    node::StandingCommand,
    peers::{AddressRange, Whom},
};

use super::{
    Failure, Output, RpcArgs,
    output::{columns, printable},
};

#[derive(Debug, Args)]
pub(super) struct BanArgs {
    /// A peer's id, an IP address, or a range of addresses such as 203.0.113.0/24. Who is reached through a relay is not at an address.
    #[arg(value_name = "PEER|ADDRESS", value_parser = whom)]
    whom: Whom,
    /// For how many hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = value_parser!(u32).range(1..=8784))]
    hours: u32,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct UnbanArgs {
    /// As `weft bans` shows it.
    #[arg(value_name = "PEER|ADDRESS", value_parser = whom)]
    whom: Whom,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct TrustArgs {
    /// The peer's id.
    peer: PeerId,
    /// Trust it no longer.
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

fn whom(text: &str) -> Result<Whom, String> {
    if let Ok(peer) = text.parse() {
        return Ok(Whom::Peer(peer));
    }
    text.parse::<AddressRange>().map(Whom::Range).map_err(|error| format!("no peer id, and {error}"))
}

pub(super) async fn ban(args: BanArgs, output: Output) -> Result<(), Failure> {
    let millis = u64::from(args.hours) * 60 * 60 * 1000;
    done(&args.rpc, output, StandingCommand::Ban { whom: args.whom, millis }).await
}

pub(super) async fn unban(args: UnbanArgs, output: Output) -> Result<(), Failure> {
    done(&args.rpc, output, StandingCommand::Unban(args.whom)).await
}

pub(super) async fn trust(args: TrustArgs, output: Output) -> Result<(), Failure> {
    done(&args.rpc, output, StandingCommand::Trust { peer: args.peer, trust: !args.end }).await
}

async fn done(rpc: &RpcArgs, output: Output, command: StandingCommand) -> Result<(), Failure> {
    rpc.client()?.decide(command).await?;
    output.print(&serde_json::json!({ "done": true }), || "done".to_owned());
    Ok(())
}

pub(super) async fn list(args: &RpcArgs, output: Output) -> Result<(), Failure> {
    let view = args.client()?.bans().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    output.print(&view, || {
        if view.bans.is_empty() && view.trusted.is_empty() {
            return "nobody is banned, and nobody is trusted".to_owned();
        }
        let mut rows = vec![["WHO", "", "WHY", "FOR ANOTHER"].map(str::to_owned)];
        rows.extend(view.bans.iter().map(|ban| {
            let left = u128::from(ban.until).saturating_sub(now) / 60_000;
            [
                printable(&ban.whom),
                "banned".to_owned(),
                printable(&ban.cause),
                format!("{} h {} min", left / 60, left % 60),
            ]
        }));
        rows.extend(
            view.trusted
                .iter()
                .map(|peer| [printable(peer), "trusted".to_owned(), "by hand".to_owned(), "-".to_owned()]),
        );
        columns(&rows)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_an_address_and_a_range_can_be_named() {
        let peer = PeerId::random();
        assert_eq!(whom(&peer.to_string()), Ok(Whom::Peer(peer)));
        assert!(matches!(whom("203.0.113.0/24"), Ok(Whom::Range(_))));
        assert!(whom("0.0.0.0/0").unwrap_err().contains("too wide"));
        assert!(whom("nobody").unwrap_err().contains("no peer id"));
    }
}
