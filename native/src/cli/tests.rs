//! The command line as it is typed.

use clap::{CommandFactory, error::ErrorKind};
use weft_core::primitives::Address;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_parses() {
    let address = Address([1; 32]).to_string();
    for line in [
        "weft node".to_owned(),
        "weft node --genesis g.json --data d --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 --bootstrap /ip4/127.0.0.1/tcp/1 --validator v.json --sync snap --prune full --tx-mode push-pull --rpc 127.0.0.1:0 --no-mdns --config c.toml --json --log debug".to_owned(),
        "weft key new k.json".to_owned(),
        "weft key new --validator k.json --json".to_owned(),
        "weft key show k.json".to_owned(),
        "weft key peer --data d".to_owned(),
        format!("weft genesis --name n --slot-millis 200 --authority v.json:{address} --grant {address}=5 --time now -o g.json"),
        "weft genesis show g.json".to_owned(),
        format!("weft send --key k --to {address} --amount 5 --fee 300 --memo hi --valid-for 9 --wait --rpc 127.0.0.1:9"),
        "weft status --rpc 127.0.0.1:9 --json".to_owned(),
        "weft sync --rpc 127.0.0.1:9 --wait --json".to_owned(),
        format!("weft tx {} --json", "ab".repeat(32)),
        "weft sync --explain".to_owned(),
        "weft peers".to_owned(),
        format!("weft account {address}"),
        "weft block 5".to_owned(),
        "weft mempool --count 5".to_owned(),
        "weft fees --json".to_owned(),
        "weft chat lobby --listen /ip4/0.0.0.0/tcp/0 --bootstrap /ip4/127.0.0.1/tcp/1 --no-mdns".to_owned(),
    ] {
        assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_usage_errors() {
    for line in [
        "weft",
        "weft fly",
        "weft node --listen nowhere",
        "weft node --rpc localhost",
        "weft node --sync fastest",
        "weft node --prune everything",
        "weft node --tx-mode pushpull",
        "weft node --sync checkpoint:12",
        "weft node --no-rpc --rpc 127.0.0.1:1",
        "weft genesis",
        "weft genesis --name n -o g.json",
        "weft send --key k --to weft1nonsense --amount 5",
        "weft account weft1nonsense",
        "weft block latest",
        "weft sync --explain --wait",
        "weft chat",
        "weft chat NO/ROOM",
        "weft key new",
    ] {
        let error = parse(line).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
    assert_eq!(parse("weft --version").map(|_| ()).unwrap_err().kind(), ErrorKind::DisplayVersion);
}

#[test]
fn help_tells_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    for code in 0..=4 {
        assert!(help.contains(&format!("\n  {code}  ")), "{help}");
    }
}
