//! `weft key`

use std::path::PathBuf;

use clap::Subcommand;
use libp2p::identity::Keypair;
use serde_json::json;
use weft_core::primitives::{Address, SecretKey};

use super::{Failure, Output};
use crate::{
    config::data_directory,
    keyfile::{self, KeyKind},
};

/// The file of the peer key in the data directory.
pub(super) const PEER_KEY_FILE: &str = "peer-key.json";

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new account key, or a validator key, in a new file.
    New {
        /// Make a validator key.
        #[arg(long)]
        validator: bool,
        /// The file to make.
        file: PathBuf,
    },
    /// Show the public side of a key file.
    Show {
        /// The key file.
        file: PathBuf,
    },
    /// Show the id of the peer that keeps its data in a directory; its key is made if there is none yet.
    Peer {
        /// The data directory. Default: that of `weft node`.
        #[arg(long, value_name = "DIR", env = "WEFT_DATA")]
        data: Option<PathBuf>,
    },
}

pub(super) fn run(command: KeyCommand, output: Output) -> Result<(), Failure> {
    match command {
        KeyCommand::New { validator, file } => {
            let kind = if validator { KeyKind::Validator } else { KeyKind::Account };
            show(kind, &keyfile::create(&file, kind)?, output)
        }
        KeyCommand::Show { file } => {
            let (kind, key) = keyfile::load_any(&file)?;
            show(kind, &key, output)
        }
        KeyCommand::Peer { data } => {
            let key = keyfile::load_or_create_peer_key(&data_directory(data)?.join(PEER_KEY_FILE))?;
            print_peer(&key, output);
            Ok(())
        }
    }
}

fn show(kind: KeyKind, key: &SecretKey, output: Output) -> Result<(), Failure> {
    let public = key.public();
    match kind {
        KeyKind::Account => {
            let address = Address::of(&public);
            let json = json!({ "kind": kind, "public": public, "address": address });
            output.print(&json, || format!("kind     account\npublic   {public}\naddress  {address}"));
        }
        KeyKind::Validator => {
            let json = json!({ "kind": kind, "public": public });
            output.print(&json, || format!("kind    validator\npublic  {public}"));
        }
        KeyKind::Peer => {
            let key = Keypair::ed25519_from_bytes(key.seed())
                .map_err(|error| Failure::LocalFile(format!("not a peer key: {error}")))?;
            print_peer(&key, output);
        }
    }
    Ok(())
}

fn print_peer(key: &Keypair, output: Output) {
    let peer = key.public().to_peer_id().to_string();
    output.print(&json!({ "kind": KeyKind::Peer, "peer": peer }), || format!("kind  peer\npeer  {peer}"));
}
