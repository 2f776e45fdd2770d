//! `weft authority`

use clap::{Args, Subcommand};
use weft_core::{
    chain::{Authority, Change},
    node::{AuthoritiesView, AuthorityView},
    primitives::{Address, PublicKey},
};

use super::{Failure, Output, RpcArgs, output::columns};

#[derive(Debug, Subcommand)]
pub(super) enum AuthorityCommand {
    /// Who proposes and votes, and what is being decided.
    List(RpcArgs),
    /// Let the peer's authority ask that another be let in.
    Add(AddArgs),
    /// Let the peer's authority ask that one be put out.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The validator key of the authority to be, as `weft key show` prints it.
    key: PublicKey,
    /// Where the fees of its blocks go.
    fee_address: Address,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The validator key of the authority.
    key: PublicKey,
    #[command(flatten)]
    rpc: RpcArgs,
}

pub(super) async fn run(command: AuthorityCommand, output: Output) -> Result<(), Failure> {
    match command {
        AuthorityCommand::List(rpc) => {
            let view = rpc.client()?.authorities().await?;
            output.print(&view, || listing(&view));
            Ok(())
        }
        AuthorityCommand::Add(args) => {
            let change = Change::Add(Authority { key: args.key, fee_address: args.fee_address });
            propose(&args.rpc, change, output).await
        }
        AuthorityCommand::Remove(args) => propose(&args.rpc, Change::Remove(args.key), output).await,
    }
}

async fn propose(rpc: &RpcArgs, change: Change, output: Output) -> Result<(), Failure> {
    rpc.client()?.propose(&change).await?;
    output.print(&change, || {
        "The ballot goes into this authority's next block. The change is decided when more than two thirds of the \
         authorities ask for it, and takes effect once that is final: see `weft authority list`."
            .to_owned()
    });
    Ok(())
}

fn listing(view: &AuthoritiesView) -> String {
    let mut parts = vec![format!(
        "set {}, justified {}, finalised {}\n{}",
        view.set_id,
        view.justified,
        view.finalised,
        table(&view.authorities)
    )];
    if !view.outgoing.is_empty() {
        parts.push(format!("outgoing, and still counting:\n{}", table(&view.outgoing)));
    }
    if !view.pending.is_empty() {
        parts.push(format!("decided, and waiting for finality:\n{}", table(&view.pending)));
    }
    if !view.ballots.is_empty() {
        let lines: Vec<String> =
            view.ballots.iter().map(|open| format!("{} asks to {}", open.by, words(&open.change))).collect();
        parts.push(format!("open ballots:\n{}", lines.join("\n")));
    }
    if let Some(wish) = &view.wish {
        parts.push(format!("this peer's authority asks to {}", words(wish)));
    }
    parts.join("\n\n")
}

fn words(change: &Change) -> String {
    match change {
        Change::Add(authority) => format!("add {}", authority.key),
        Change::Remove(key) => format!("remove {key}"),
    }
}

fn table(authorities: &[AuthorityView]) -> String {
    let mut rows = vec![["TURN", "KEY", "FEES TO"].map(str::to_owned)];
    let shown = authorities.iter().enumerate();
    rows.extend(
        shown.map(|(turn, one)| [turn.to_string(), one.key.to_string(), one.fee_address.to_string()]),
    );
    columns(&rows)
}
