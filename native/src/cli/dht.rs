//! `weft dht`

mod file;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use libp2p::PeerId;
use serde_json::json;
use weft_core::{content::Cid, node::TraceView, primitives::Hash};

use super::{
    Failure, Output, RpcArgs, Screen,
    output::{columns, printable},
};

#[derive(Debug, Subcommand)]
pub(super) enum DhtCommand {
    /// Where is a peer?
    FindPeer(FindArgs),
    /// Say that the peer has what a key names; it goes on saying so until it ends.
    Provide(KeyArgs),
    /// Who says that they have what a key names?
    Providers(KeyArgs),
    /// Give the peer a file to keep, say that it has it, and print the name (CID) that others fetch it by.
    Put(PutArgs),
    /// Fetch a file by its name (CID), from all that have it at once; every piece is checked when it comes.
    Get(GetArgs),
    /// The files that the peer has, keeps or fetches.
    Files(RpcArgs),
    /// Let a file go: the peer no longer keeps, offers or fetches it.
    Drop(FileArgs),
    /// Look for a peer or a key and show each step: who is asked, how far it is from what is looked for, and what it tells.
    Trace(TraceArgs),
    /// Whom does the peer know, by their distance from it (the k-buckets)?
    Table(RpcArgs),
}

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    /// The peer's id.
    peer: PeerId,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// The file, of at most 64 MiB.
    file: PathBuf,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The file's name.
    cid: Cid,
    /// Where to write it. Default: in this directory, as whoever put it called it. Nothing is overwritten.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let the peer not say in the table that it has the file now.
    #[arg(long)]
    no_provide: bool,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The file's name.
    cid: Cid,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// A peer's id, the name (CID) of a file, a BLAKE3 hash of 64 hex digits, or any other text, which is hashed.
    #[arg(value_parser = target)]
    key: String,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The name (CID) of a file, a BLAKE3 hash of 64 hex digits, or any other text, which is hashed.
    #[arg(value_parser = key)]
    key: Hash,
    #[command(flatten)]
    rpc: RpcArgs,
}

/// As the RPC takes it: a peer id or a hash.
fn target(text: &str) -> Result<String, String> {
    match text.parse::<PeerId>() {
        Ok(peer) => Ok(peer.to_string()),
        Err(_) => key(text).map(|key| key.to_string()),
    }
}

fn key(text: &str) -> Result<Hash, String> {
    if let Ok(Cid(hash)) = text.parse() {
        return Ok(hash);
    }
    match text.parse() {
        Ok(hash) => Ok(hash),
        Err(_) if text.is_empty() => Err("a key is not empty".to_owned()),
        Err(_) => Ok(Hash::of(text.as_bytes())),
    }
}

pub(super) async fn run(command: DhtCommand, output: Output, screen: &Screen) -> Result<(), Failure> {
    match command {
        DhtCommand::FindPeer(args) => {
            let addresses = args.rpc.client()?.find_peer(&args.peer).await?;
            if addresses.is_empty() {
                return Err(Failure::Failed(
                    "nobody in the distributed hash table knows this peer".to_owned(),
                ));
            }
            output.print(&addresses, || lines(&addresses));
        }
        DhtCommand::Provide(args) => {
            args.rpc.client()?.provide(args.key).await?;
            output.print(&json!({ "key": args.key }), || format!("provided as {}", args.key));
        }
        DhtCommand::Providers(args) => {
            let peers = args.rpc.client()?.providers(args.key).await?;
            output.print(
                &peers,
                || {
                    if peers.is_empty() { "nobody says so".to_owned() } else { lines(&peers) }
                },
            );
        }
        DhtCommand::Put(args) => file::put(&args, output, screen).await?,
        DhtCommand::Get(args) => file::get(&args, output, screen).await?,
        DhtCommand::Files(rpc) => file::list(&rpc, output).await?,
        DhtCommand::Drop(args) => {
            args.rpc.client()?.drop_file(args.cid).await?;
            output.print(&json!({ "cid": args.cid }), || format!("let {} go", args.cid));
        }
        DhtCommand::Trace(args) => {
            let trace = args.rpc.client()?.trace(args.key).await?;
            output.print(&trace, || shown(&trace));
        }
        DhtCommand::Table(rpc) => {
            let buckets = rpc.client()?.routing_table().await?;
            output.print(&buckets, || {
                if buckets.is_empty() {
                    return "the table is empty".to_owned();
                }
                let mut rows = vec![["DISTANCE", "PEER"].map(str::to_owned)];
                for bucket in &buckets {
                    let row = |peer: &String| [format!("2^{}", bucket.distance_bits - 1), printable(peer)];
                    rows.extend(bucket.peers.iter().map(row));
                }
                columns(&rows)
            });
        }
    }
    Ok(())
}

fn shown(trace: &TraceView) -> String {
    let mut rows =
        vec![["STEP", "BITS", "PEER", "FROM", "AFTER", "TOOK", "TOLD", "NEARER"].map(str::to_owned)];
    for (index, step) in trace.steps.iter().enumerate() {
        let from = match step.told_by {
            0 => "own table".to_owned(),
            step => format!("step {step}"),
        };
        let (told, nearer) = match &step.failed {
            Some(why) => (printable(why), String::new()),
            None => (step.told.to_string(), step.nearer.to_string()),
        };
        rows.push([
            (index + 1).to_string(),
            step.distance_bits.to_string(),
            printable(&step.peer),
            from,
            format!("{} ms", step.asked_millis),
            step.took_millis.map(|millis| format!("{millis} ms")).unwrap_or_default(),
            told,
            nearer,
        ]);
    }
    let answered = trace.steps.iter().filter(|step| step.failed.is_none()).count();
    format!(
        "looking for {}\nbegan with {} peers of the own table\n{}\n{answered} of {} answered, in {} ms",
        trace.key,
        trace.known,
        columns(&rows),
        trace.steps.len(),
        trace.took_millis
    )
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| printable(item)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_hash_or_hashed() {
        let hash = Hash::of(b"song");
        assert_eq!(key("song"), Ok(hash));
        assert_eq!(key(&hash.to_string()), Ok(hash));
        assert_eq!(key(&Cid(hash).to_string()), Ok(hash));
        assert!(key("").is_err());
    }
}
