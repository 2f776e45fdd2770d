//! `weft peers`

use super::{
    Failure, Output, RpcArgs,
    output::{columns, printable},
};

pub(super) async fn run(args: &RpcArgs, output: Output) -> Result<(), Failure> {
    let peers = args.client()?.peers().await?;
    output.print(&peers, || {
        if peers.is_empty() {
            return "nobody is connected".to_owned();
        }
        let mut rows = vec![["PEER", "VIA", "HEIGHT", "PING", "SCORE", "AGENT"].map(str::to_owned)];
        for peer in &peers {
            let via: Vec<_> = peer
                .links
                .iter()
                .map(|link| format!("{} {}", link.transport, if link.outbound { "out" } else { "in" }))
                .collect();
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            rows.push([
                peer.peer.clone(),
                via.join(", "),
                or_dash(peer.height.map(|height| height.to_string())),
                or_dash(peer.ping_millis.map(|millis| format!("{millis} ms"))),
                peer.score.to_string(),
                or_dash(peer.agent.as_deref().map(printable)),
            ]);
        }
        columns(&rows)
    });
    Ok(())
}
