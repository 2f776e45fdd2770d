//! `weft genesis`

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use serde_json::json;
use weft_core::{
    chain::{Authority, Genesis, Grant},
    primitives::{Address, Amount, PublicKey},
};

use super::{Failure, Output, output::printable};
use crate::{
    genesis,
    keyfile::{self, KeyKind},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct GenesisArgs {
    #[command(subcommand)]
    show: Option<GenesisCommand>,
    #[command(flatten)]
    make: Option<MakeArgs>,
}

#[derive(Debug, Subcommand)]
enum GenesisCommand {
    /// Show and check a genesis file.
    Show {
        /// The genesis file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct MakeArgs {
    /// What people call the chain.
    #[arg(long)]
    name: String,
    /// The length of a slot in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    slot_millis: u64,
    /// The least fee for an encoded byte of a transaction.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_fee_per_byte: u64,
    /// Who may propose blocks: a validator key file or a public key in hex, and the address its fees go to. Given once
    /// for each authority, in the order of their turns.
    #[arg(long = "authority", value_name = "KEYFILE|HEX[:FEE_ADDRESS]", required = true)]
    authorities: Vec<AuthorityParam>,
    /// Money from the beginning; may be given several times.
    #[arg(long = "grant", value_name = "ADDRESS=AMOUNT")]
    grants: Vec<GrantParam>,
    /// When slot 0 begins: `now`, or milliseconds since the Unix epoch.
    #[arg(long, value_name = "now|MILLIS", default_value = "now", value_parser = time)]
    time: u64,
    /// The file to make.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// An authority as written on the command line; whether it names a file or a key shows when it is read.
#[derive(Clone, Debug)]
struct AuthorityParam {
    key: String,
    fee_address: Option<Address>,
}

impl FromStr for AuthorityParam {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may have colons; an address never is one.
        let (key, fee_address) = match text.rsplit_once(':') {
            Some((key, address)) if address.starts_with("weft1") => {
                (key, Some(address.parse::<Address>().map_err(|error| error.to_string())?))
            }
            _ => (text, None),
        };
        if key.is_empty() {
            return Err("name a key file or a public key before the fee address".to_owned());
        }
        Ok(Self { key: key.to_owned(), fee_address })
    }
}

#[derive(Clone, Debug)]
struct GrantParam(Grant);

impl FromStr for GrantParam {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, amount) = text.split_once('=').ok_or("write ADDRESS=AMOUNT")?;
        let address = address.parse::<Address>().map_err(|error| error.to_string())?;
        let amount = amount.parse().map_err(|_| format!("`{amount}` is not a whole number"))?;
        Ok(Self(Grant { address, amount: Amount(amount) }))
    }
}

fn time(text: &str) -> Result<u64, String> {
    if text != "now" {
        return text.parse().map_err(|_| "say `now`, or milliseconds since the Unix epoch".to_owned());
    }
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "this machine's clock is before 1970")?;
    u64::try_from(now.as_millis()).map_err(|_| "this machine's clock is far in the future".to_owned())
}

pub(super) fn run(args: GenesisArgs, output: Output) -> Result<(), Failure> {
    match (args.show, args.make) {
        (Some(GenesisCommand::Show { file }), _) => {
            show(&genesis::read(&file)?, output);
            Ok(())
        }
        (None, Some(make)) => self::make(make, output),
        (None, None) => {
            Err(Failure::Usage("say what the genesis is to be; see `weft genesis --help`".to_owned()))
        }
    }
}

fn make(args: MakeArgs, output: Output) -> Result<(), Failure> {
    let authorities = args.authorities.into_iter().map(|param| authority(param, output));
    let made = Genesis {
        name: args.name,
        time: args.time,
        slot_millis: args.slot_millis,
        min_fee_per_byte: args.min_fee_per_byte,
        authorities: authorities.collect::<Result<_, _>>()?,
        grants: args.grants.into_iter().map(|grant| grant.0).collect(),
    };
    made.check().map_err(|error| Failure::Usage(error.to_string()))?;
    genesis::write(&args.output, &made)?;
    show(&made, output);
    Ok(())
}

fn authority(param: AuthorityParam, output: Output) -> Result<Authority, Failure> {
    let key: PublicKey = match param.key.parse() {
        Ok(key) => key,
        Err(_) => keyfile::load(Path::new(&param.key), KeyKind::Validator)?.public(),
    };
    let fee_address = param.fee_address.unwrap_or_else(|| {
        output.note(&format!(
            "note: authority {key} has no fee address, so its fees go to an account that no key file can spend from"
        ));
        Address::of(&key)
    });
    Ok(Authority { key, fee_address })
}

fn show(genesis: &Genesis, output: Output) {
    let hash = genesis.hash();
    output.print(&json!({ "hash": hash, "genesis": genesis }), || {
        let mut lines = vec![
            format!("name       {}", printable(&genesis.name)),
            format!("hash       {hash}"),
            format!("time       {}", genesis.time),
            format!("slot       {} ms", genesis.slot_millis),
            format!("least fee  {} a byte", genesis.min_fee_per_byte),
        ];
        lines.extend(
            genesis.authorities.iter().map(|a| format!("authority  {} fees to {}", a.key, a.fee_address)),
        );
        lines.extend(genesis.grants.iter().map(|g| format!("grant      {} {}", g.address, g.amount)));
        lines.join("\n")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_file_or_a_key_with_or_without_an_address() {
        let address = Address([7; 32]);
        let both: AuthorityParam = format!("C:/keys/v.json:{address}").parse().unwrap();
        assert_eq!((both.key.as_str(), both.fee_address), ("C:/keys/v.json", Some(address)));
        let alone: AuthorityParam = "a:b.json".parse().unwrap();
        assert_eq!((alone.key.as_str(), alone.fee_address), ("a:b.json", None));
        assert!("key:weft1typo".parse::<AuthorityParam>().is_err());
        assert!(format!(":{address}").parse::<AuthorityParam>().is_err());
    }

    #[test]
    fn grants_and_times_are_checked() {
        let address = Address([7; 32]);
        assert_eq!(format!("{address}=5").parse::<GrantParam>().unwrap().0.amount, Amount(5));
        for bad in [format!("{address}"), format!("{address}=-1"), format!("{address}=1.5"), "x=1".to_owned()]
        {
            assert!(bad.parse::<GrantParam>().is_err(), "{bad}");
        }
        assert_eq!(time("17"), Ok(17));
        assert!(time("now").unwrap() > 1_700_000_000_000);
        assert!(time("tomorrow").is_err());
    }
}
