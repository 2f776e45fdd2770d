//! `weft peers`

use clap::Args;

use weft_core::node::{LinkState, PeerView, in_bytes};

use super::{
    Failure, Output, RpcArgs,
    output::{columns, printable},
};

#[derive(Debug, Args)]
pub(super) struct PeersArgs {
    /// Say how each peer was found: named (its address was given), mdns (in the local network), exchange (another peer passed
    /// on what it says of itself), dht (it is in the distributed hash table), dns (a /dnsaddr name stands for it), node-list (it is in a signed list), rendezvous (it
    /// registered with a relay), inbound (it connected to this peer).
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

/// The score, and why it is below what it was.
fn standing(peer: &PeerView) -> String {
    let mut offences: Vec<&str> = peer.deeds.iter().map(|deed| deed.offence.as_str()).collect();
    offences.dedup();
    let mut parts = vec![peer.score.to_string()];
    if peer.trusted {
        parts.push("trusted".to_owned());
    }
    if !offences.is_empty() {
        parts.push(printable(&offences.join(", ")));
    }
    parts.join(" ")
}

pub(super) async fn run(args: &PeersArgs, output: Output) -> Result<(), Failure> {
    let peers = args.rpc.client()?.peers().await?;
    output.print(&peers, || {
        if peers.is_empty() {
            return "nobody is connected".to_owned();
        }
        let last = if args.why { "FOUND" } else { "AGENT" };
        let mut rows =
            vec![["PEER", "VIA", "SENT", "RECEIVED", "HEIGHT", "PING", "SCORE", last].map(str::to_owned)];
        for peer in &peers {
            let via: Vec<_> = peer
                .links
                .iter()
                .map(|link| {
                    let way = match (link.outbound, peer.for_blocks) {
                        (true, true) => "out, blocks only",
                        (true, false) => "out",
                        (false, _) => "in",
                    };
                    match link.state {
                        LinkState::Direct | LinkState::Relayed => format!("{} {way}", link.transport),
                        state => format!("{} {way} ({})", link.transport, state.label()),
                    }
                })
                .collect();
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            rows.push([
                peer.peer.clone(),
                via.join(", "),
                in_bytes(peer.links.iter().map(|link| link.sent).sum()),
                in_bytes(peer.links.iter().map(|link| link.received).sum()),
                or_dash(peer.height.map(|height| height.to_string())),
                or_dash(peer.ping_millis.map(|millis| format!("{millis} ms"))),
                standing(peer),
                if args.why {
                    peer.found.iter().map(|found| printable(found)).collect::<Vec<_>>().join(", ")
                } else {
                    or_dash(peer.agent.as_deref().map(printable))
                },
            ]);
        }
        columns(&rows)
    });
    Ok(())
}
