//! Ways to find peers that are switched off.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeSet;

use super::*;

/// A tab that finds others in every way.
fn finding_in_every_way() -> Config {
    let address = |text: &str| text.parse::<Multiaddr>().unwrap();
    let bootstrap = vec![address("/ip4/10.0.0.1/tcp/1/ws"), address("/dnsaddr/seeds.example")];
    let sources = vec!["https://mirror.example/bootstrap.json".parse().unwrap()];
    let lists = NodeLists { sources, signers: Vec::new() };
    let discovery = Discovery::of(Role::Browser);
    Config { role: Role::Browser, bootstrap, lists, discovery, ..config(false) }
}

/// What a peer does of its own accord to find others in its first seconds, with a relay connected: the name of each way, once.
fn deeds(config: Config) -> Vec<&'static str> {
    let mut alone = Alone::with(config, MemoryStore::default());
    let relay = PeerId::random();
    alone.handle(Input::Connected {
        peer: relay,
        connection: ConnectionId(1),
        link: Link::Direct,
        address: "/ip4/10.0.0.9/tcp/1/ws".parse().unwrap(),
        outbound: true,
    });
    let table = format!("/weft/{}/kad/1", genesis().hash().short());
    let protocols = vec!["/rendezvous/1.0.0".to_owned(), table];
    alone.handle(Input::Identified {
        peer: relay,
        agent: "a relay".into(),
        protocols,
        addresses: Vec::new(),
    });
    alone.run_to(5_000);
    let deed = |output: &Output| match output {
        Output::Dial(_) => Some(Way::Bootstrap),
        Output::Resolve(_) => Some(Way::Names),
        Output::FetchList(_) => Some(Way::Lists),
        Output::Request { protocol: Protocol::Peers, .. } => Some(Way::Exchange),
        Output::Dht(..) => Some(Way::Dht),
        Output::Request { protocol: Protocol::Rendezvous, .. } => Some(Way::Rendezvous),
        _ => None,
    };
    let deeds: BTreeSet<_> = alone.outputs.iter().filter_map(deed).collect();
    deeds.into_iter().map(Way::name).collect()
}

#[test]
fn each_way_to_find_peers_goes_alone_when_all_others_are_switched_off() {
    let all: Vec<_> = Way::ALL.into_iter().map(Way::name).collect();
    assert_eq!(deeds(finding_in_every_way()), all);
    for only in Way::ALL {
        let mut config = finding_in_every_way();
        Way::ALL.into_iter().filter(|way| *way != only).for_each(|way| config.switch_off(way));
        assert_eq!(deeds(config), [only.name()]);
    }
    let mut config = finding_in_every_way();
    Way::ALL.into_iter().for_each(|way| config.switch_off(way));
    assert_eq!(config.discovery, Discovery::OFF, "whom it knew before is not dialled either");
    assert_eq!(deeds(config), [""; 0]);
}

#[test]
fn each_way_to_find_peers_is_written_down_by_its_name() {
    for way in Way::ALL {
        assert_eq!(way.to_string().parse(), Ok(way));
    }
    assert_eq!("mdns".parse::<Way>(), Err(ParseWayError));
}
