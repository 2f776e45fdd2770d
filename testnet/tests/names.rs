//! A real peer that is told a name, and finds those whom the DNS has under it, with all other ways switched off.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_testnet::live::{Chain, NameServer, NodeOptions, PATIENCE, Process, wait_for};

const SLOT_MILLIS: u64 = 200;
const NAME: &str = "/dnsaddr/seeds.example";

fn node(chain: &Chain, name: &str, options: &NodeOptions, flags: &[&str]) -> Process {
    let mut command = chain.node_command(name, options);
    command.args(["--no-dht", "--no-exchange", "--no-rendezvous", "--outbound", "0"]).args(flags);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

#[test]
fn a_node_that_is_told_a_name_finds_whom_it_stands_for_also_when_that_changes() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let names = NameServer::start().unwrap();
    let mut first = node(&chain, "first", &NodeOptions { validator: Some(0), ..NodeOptions::default() }, &[]);
    let mut second = node(
        &chain,
        "second",
        &NodeOptions { bootstrap: first.tcp_addresses(), ..NodeOptions::default() },
        &[],
    );
    let records =
        |process: &Process| process.tcp_addresses().iter().map(|it| format!("dnsaddr={it}")).collect();

    let told = NodeOptions { bootstrap: vec![NAME.to_owned()], ..NodeOptions::default() };
    let server = names.address().to_string();
    let mut asks = node(&chain, "asks", &told, &["--dns-server", &server]);
    wait_for("it says that the name leads nowhere", PATIENCE, || {
        asks.check()?;
        Ok(asks.status()?.alarms.into_iter().find(|alarm| alarm.contains("_dnsaddr.seeds.example")))
    })
    .unwrap();

    names.set("_dnsaddr.seeds.example", vec!["dnsaddr=/dnsaddr/more.example".to_owned()]);
    names.set("_dnsaddr.more.example", records(&first));
    let found = |asks: &mut Process, other: &str| {
        wait_for(&format!("it is connected to {other}"), PATIENCE, || {
            asks.check()?;
            Ok(asks.peers()?.into_iter().find(|peer| peer.peer == other && !peer.links.is_empty()))
        })
        .unwrap()
    };
    let view = found(&mut asks, first.peer());
    assert!(view.links.iter().all(|link| link.outbound));
    assert_eq!(view.found, ["dns"]);
    let mut peers = chain.weft();
    peers.args(["peers", "--why", "--rpc", asks.rpc_address().trim_start_matches("http://")]);
    let said = String::from_utf8(peers.output().unwrap().stdout).unwrap();
    assert!(said.contains("dns") && said.contains(first.peer()), "{said}");
    assert_eq!(asks.status().unwrap().alarms, Vec::<String>::new());
    asks.reach(2).unwrap();

    names.set("_dnsaddr.more.example", records(&second));
    first.kill();
    assert_eq!(found(&mut asks, second.peer()).found, ["dns"]);
    second.check().unwrap();
}
