//! Tabs behind real routers: each in a house of which no port is open to the street, with the relay in the middle.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use weft_testnet::live::{
    Chain, NodeOptions, Ports, Process, RelayOptions, TestCertificate, chromium, without_namespaces,
};

use super::{
    ROOM, SLOT_MILLIS, app,
    direct::only_direct,
    street::{Nat, RELAY, Space, Street},
    tab::{Driver, Tab},
    webrtc_speed::parts,
};

/// Two tabs may try for so long: three attempts of 15 seconds, and the pauses between them.
const ATTEMPTS: Duration = Duration::from_secs(100);
/// Nobody else is where the relay is.
const PORTS: Ports = Ports { http: 8443, tcp: 4200, websocket: 4201 };

/// A program that starts Chromium in a house.
fn starter(chain: &Chain, house: &Space, name: &str) -> PathBuf {
    let inside = house.inside(&Command::new(chromium().expect("there is no Chromium on the PATH")));
    let words = std::iter::once(inside.get_program()).chain(inside.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let path = chain.dir().join(name);
    fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Two tabs, of which the second followed the first one's link, with all that must live as long.
struct Neighbours {
    tabs: [Tab; 2],
    peers: [String; 2],
    /// When the second was opened.
    begun: Instant,
    relay: Process,
    _validator: Process,
    _driver: Driver,
    _chain: Chain,
    _street: Street,
}

impl Neighbours {
    /// Opens them behind such routers; `None` where this system makes no namespaces for us.
    async fn meet(nats: [Nat; 2]) -> Option<Self> {
        let street = match Street::new(&nats) {
            Ok(street) => street,
            Err(reason) => {
                without_namespaces(&reason);
                return None;
            }
        };
        let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
        let certificate = TestCertificate::make(chain.dir()).unwrap();
        let arguments = [certificate.argument()];
        let options = RelayOptions {
            app: Some(app()),
            ports: PORTS,
            host: Some(RELAY.parse().unwrap()),
            certificate: Some(certificate),
            bootstrap_only: true,
            ..RelayOptions::default()
        };
        let command = street.middle.inside(&chain.relay_command("relay", &options));
        let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
        let options =
            NodeOptions { validator: Some(0), bootstrap: relay.tcp_addresses(), ..NodeOptions::default() };
        let command = street.middle.inside(&chain.node_command("validator", &options));
        let validator = Process::start_ready("validator", command, chain.dir()).unwrap();

        let driver = Driver::start(chain.dir());
        let [here, there] = [("here", &street.houses[0]), ("there", &street.houses[1])]
            .map(|(name, house)| starter(&chain, house, name));
        let url = format!("https://{RELAY}:{}/", PORTS.http);
        let host = driver.open_through(&here, &url, &arguments).await;
        host.follows(2).await;
        host.reserved().await;
        host.join(ROOM).await;
        let invitation = host.attribute("invite-link", "href").await;
        let begun = Instant::now();
        let guest = driver.open_through(&there, &invitation, &arguments).await;
        guest.join(ROOM).await;
        let peers = [host.peer().await, guest.peer().await];
        Some(Self {
            tabs: [host, guest],
            peers,
            begun,
            relay,
            _validator: validator,
            _driver: driver,
            _chain: chain,
            _street: street,
        })
    }

    /// They hear each other, both ways, and leave.
    async fn chat(self) {
        let ([host, guest], [first, second]) = (self.tabs, self.peers);
        host.say("over the fence").await;
        guest.hears(&first, "over the fence").await;
        guest.say("and back").await;
        host.hears(&second, "and back").await;
        host.close().await;
        guest.close().await;
    }
}

/// They get off the relay, and go on without it.
async fn reach_each_other(nats: [Nat; 2]) {
    let Some(mut neighbours) = Neighbours::meet(nats).await else { return };
    only_direct(&neighbours.tabs[1], &neighbours.peers[0]).await;
    println!("{nats:?}: direct {} ms after the second was opened", neighbours.begun.elapsed().as_millis());
    let [circuit, described, connected, usable] = parts(&neighbours.tabs[1], &neighbours.peers[0]).await;
    println!(
        "{nats:?}: a circuit {circuit} ms after the dial; from the signalling stream described after {described} ms, \
         connected after {connected}, usable after {usable}"
    );
    only_direct(&neighbours.tabs[0], &neighbours.peers[1]).await;
    neighbours.relay.kill();
    neighbours.chat().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_behind_home_routers_reach_each_other_directly() {
    reach_each_other([Nat::Cone, Nat::Cone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_behind_an_open_router_and_one_behind_a_symmetric_router_reach_each_other_directly() {
    reach_each_other([Nat::Forwarded, Nat::Symmetric]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_behind_symmetric_routers_stay_on_the_relay() {
    let nats = [Nat::Symmetric, Nat::Symmetric];
    let Some(neighbours) = Neighbours::meet(nats).await else { return };
    let [_, guest] = &neighbours.tabs;
    let link = |state: &str| {
        format!(
            "[data-testid=\"peer\"][data-peer=\"{}\"] [data-testid=\"link\"][data-state=\"{state}\"]",
            neighbours.peers[0]
        )
    };
    guest.shows(&link("upgrading")).await;
    let trying = Instant::now();
    let given_up = format!("document.querySelector('{}') !== null", link("relayed"));
    guest.until_within(ATTEMPTS, "it gives up", &given_up).await;
    println!(
        "{nats:?}: given up {} ms after the second was opened, {} ms after it showed that it tries",
        neighbours.begun.elapsed().as_millis(),
        trying.elapsed().as_millis()
    );
    let direct = format!("document.querySelector('{}') === null", link("direct"));
    guest.until("nothing is direct", &direct).await;
    // The relay passes on what they say.
    neighbours.chat().await;
}
