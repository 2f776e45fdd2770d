#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    content::Maker,
    node::{
        Command, CommandError, Config, ConnectionId, DhtAnswer, DhtFailure, DhtQuery, Discovery, Input, Link,
        Node, NodeLists, Prune, Without,
        services::{archive_key, snapshot_key},
    },
    peers::Found,
    primitives::{Mono, Now, Wall},
    store::MemoryStore,
    sync::Strategy,
};

fn peer(byte: u8) -> PeerId {
    let mut seed = [byte; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

struct Harness {
    node: Node,
    now: u64,
    outputs: Vec<Output>,
    next: u64,
}

impl Harness {
    fn new() -> Self {
        let config = Config {
            local: peer(1),
            role: Role::Native,
            key: None,
            discovery: Discovery { dht: true, ..Discovery::OFF },
            genesis: Some(crate::node::tests::genesis()),
            validator: None,
            bootstrap: Vec::new(),
            lists: NodeLists::default(),
            strategy: Strategy::Full,
            prune: Prune::Archive,
            mempool_bytes: 1 << 20,
            tx_mode: Default::default(),
            max_inbound: 8,
            proxies: Vec::new(),
            upload: Role::Native.upload(),
            slots: 0,
            max_jobs: 2,
            without: Without::default(),
        };
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let node = Node::new(config, Box::new(MemoryStore::default()), [3; 32], now).unwrap();
        let mut harness = Self { node, now: 0, outputs: Vec::new(), next: 0 };
        harness.drain();
        harness
    }

    fn drain(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.node.poll_output()));
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(Now { mono: Mono(self.now), wall: Wall(self.now) }, input);
        self.drain();
    }

    fn command(&mut self, command: Command) -> Result<Reply, CommandError> {
        self.next += 1;
        let id = CommandId(self.next);
        self.feed(Input::Command(id, command));
        let at =
            self.outputs.iter().position(|output| matches!(output, Output::Reply(other, _) if *other == id));
        match self.outputs.remove(at.unwrap()) {
            Output::Reply(_, reply) => *reply,
            _ => unreachable!(),
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += millis;
        self.node.handle_timeout(Now { mono: Mono(self.now), wall: Wall(self.now) });
        self.drain();
    }

    fn connect(&mut self, who: PeerId) {
        self.next += 1;
        let address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let connection = ConnectionId(self.next);
        self.feed(Input::Connected { peer: who, connection, link: Link::Direct, address, outbound: true });
    }

    /// Takes what was asked of the table for files; what is said of the chain is another matter.
    fn asked(&mut self) -> Vec<(crate::node::DhtId, DhtQuery)> {
        let genesis = crate::node::tests::genesis().hash();
        let chain = [archive_key(&genesis, 0), snapshot_key(&genesis)];
        let of_chain = |query: &DhtQuery| {
            matches!(query, DhtQuery::Refresh) || chain.map(DhtQuery::Provide).contains(query)
        };
        let mut asked = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Dht(id, query) if !of_chain(query) => {
                asked.push((*id, *query));
                false
            }
            _ => true,
        });
        asked
    }

    /// Takes the requests for content.
    fn requests(&mut self) -> Vec<(crate::node::OutboundId, PeerId, ContentRequest)> {
        let mut requests = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Request { id, peer, protocol: Protocol::Content, body } => {
                requests.push((*id, *peer, ContentRequest::from_bytes(body).unwrap()));
                false
            }
            _ => true,
        });
        requests
    }
}

fn fetch(cid: Cid) -> Command {
    Command::Content(ContentCommand::Fetch { cid, offer: true })
}

fn sample() -> (crate::content::Manifest, Vec<u8>) {
    let mut maker = Maker::default();
    maker.add(b"some bytes").unwrap();
    (maker.finish("x"), b"some bytes".to_vec())
}

#[test]
fn what_is_put_is_served_and_told_until_somebody_has_heard_it() {
    let mut node = Harness::new();
    let (manifest, bytes) = sample();
    let (cid, content) = (manifest.cid(), manifest.hash());
    let offer = Command::Content(ContentCommand::Offer(manifest.clone()));
    assert_eq!(node.command(offer.clone()), Ok(Reply::Missing(vec![0])));
    let put = |bytes: &[u8]| Command::Content(ContentCommand::Put { cid, index: 0, bytes: bytes.to_vec() });
    assert_eq!(node.command(put(b"other")), Err(ContentError::NotTheChunk.into()));
    assert!(node.asked().is_empty(), "nothing is said of what is not whole");
    assert_eq!(node.command(put(&bytes)), Ok(Reply::Done));
    assert_eq!(node.command(offer), Ok(Reply::Missing(vec![])));

    let [(id, DhtQuery::Provide(key))] = node.asked()[..] else { panic!("it is not offered") };
    assert_eq!(key, content);
    node.feed(Input::Dht(id, Err(DhtFailure::Alone)));
    node.wait(1_000);
    let [(id, DhtQuery::Provide(_))] = node.asked()[..] else { panic!("it is not offered again") };
    node.feed(Input::Dht(id, Ok(DhtAnswer::Done)));
    let Ok(Reply::File(view)) = node.command(Command::Content(ContentCommand::Show(cid))) else { panic!() };
    assert!(view.told && view.kept && view.state == FileState::Here, "{view:?}");

    let mut serve = |body: Vec<u8>| {
        node.next += 1;
        let id = InboundId(node.next);
        node.feed(Input::Request { id, peer: peer(2), protocol: Protocol::Content, body });
        node.outputs.iter().find_map(|output| match output {
            Output::Respond { id: other, body } if *other == id => {
                Some(ContentResponse::from_bytes(body).unwrap())
            }
            _ => None,
        })
    };
    assert_eq!(
        serve(ContentRequest::Manifest(content).to_bytes()),
        Some(ContentResponse::Manifest(manifest.to_bytes()))
    );
    let chunk = |index| ContentRequest::Chunk { content, index }.to_bytes();
    assert_eq!(serve(chunk(0)), Some(ContentResponse::Chunk(bytes)));
    assert_eq!(serve(chunk(1)), Some(ContentResponse::Absent));
    assert_eq!(serve(ContentRequest::Manifest(Hash::ZERO).to_bytes()), Some(ContentResponse::Absent));
    assert_eq!(serve(vec![9]), None, "refused");

    assert_eq!(node.command(Command::Content(ContentCommand::Drop(cid))), Ok(Reply::Done));
    assert!(matches!(node.asked()[..], [(_, DhtQuery::Withdraw(key))] if key == content));
    assert_eq!(node.command(Command::Content(ContentCommand::Drop(cid))), Err(ContentError::NotHere.into()));
}

#[test]
fn who_is_said_to_have_a_file_is_looked_for_dialled_and_asked() {
    let mut node = Harness::new();
    let (manifest, bytes) = sample();
    let (cid, content) = (manifest.cid(), manifest.hash());
    // Somebody near, so that near addresses mean something.
    node.connect(peer(5));
    node.command(fetch(cid)).unwrap();
    let [(id, DhtQuery::Providers(key))] = node.asked()[..] else { panic!("nobody is looked for") };
    assert_eq!(key, content);
    let [(neighbour, whom, ContentRequest::Manifest(_))] = node.requests()[..] else { panic!() };
    assert_eq!(whom, peer(5));
    node.feed(Input::Response { id: neighbour, outcome: Ok(ContentResponse::Absent.to_bytes()) });

    node.feed(Input::Dht(id, Ok(DhtAnswer::Providers(vec![peer(1), peer(2)]))));
    let [(id, DhtQuery::FindPeer(sought))] = node.asked()[..] else { panic!("it is not asked where it is") };
    assert_eq!(sought, peer(2), "and not where we are");
    let addresses = ["/ip4/127.0.0.1/tcp/9", "/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/udp/1/webrtc-direct"];
    let addresses = addresses.map(|text| text.parse().unwrap()).to_vec();
    node.feed(Input::Dht(id, Ok(DhtAnswer::At(addresses))));
    let dialled: Vec<_> = node
        .outputs
        .iter()
        .filter_map(
            |output| if let Output::Dial(address) = output { Some(address.to_string()) } else { None },
        )
        .collect();
    assert_eq!(dialled, [format!("/ip4/127.0.0.1/tcp/9/p2p/{}", peer(2))]);

    node.connect(peer(2));
    let [(id, whom, ContentRequest::Manifest(_))] = node.requests()[..] else { panic!("it is not asked") };
    assert_eq!(whom, peer(2));
    node.feed(Input::Response { id, outcome: Ok(ContentResponse::Manifest(manifest.to_bytes()).to_bytes()) });
    let [(id, _, ContentRequest::Chunk { index: 0, .. })] = node.requests()[..] else { panic!() };
    node.feed(Input::Response { id, outcome: Ok(ContentResponse::Chunk(bytes.clone()).to_bytes()) });
    let read = Command::Content(ContentCommand::Read { cid, index: 0 });
    assert_eq!(node.command(read), Ok(Reply::Chunk(bytes)));
    let Ok(Reply::File(view)) = node.command(Command::Content(ContentCommand::Show(cid))) else { panic!() };
    assert!(view.state == FileState::Here && !view.kept, "{view:?}");
    assert!(matches!(node.asked()[..], [(_, DhtQuery::Provide(key))] if key == content), "others are told");
    node.wait(60_000);
    assert!(node.asked().is_empty(), "what is here is not looked for");
}

#[test]
fn a_fetched_file_is_not_told_of_when_that_is_not_wanted_and_no_longer_when_it_made_room() {
    let mut node = Harness::new();
    node.connect(peer(2));
    let file = |text: &str| {
        let mut maker = Maker::default();
        maker.add(text.as_bytes()).unwrap();
        maker.finish(text)
    };
    let mut get = |text: &str, offer| {
        let manifest = file(text);
        let cid = manifest.cid();
        node.now += 1;
        node.command(Command::Content(ContentCommand::Fetch { cid, offer })).unwrap();
        let answers = [
            ContentResponse::Manifest(manifest.to_bytes()),
            ContentResponse::Chunk(text.as_bytes().to_vec()),
        ];
        for answer in answers {
            let [(id, ..)] = node.requests()[..] else { panic!("{text} is not asked for") };
            node.feed(Input::Response { id, outcome: Ok(answer.to_bytes()) });
        }
        // What is said in the table of files while this one comes; the table answers at once.
        let asked = node.asked();
        for (id, query) in &asked {
            let answer = match query {
                DhtQuery::Providers(_) => DhtAnswer::Providers(Vec::new()),
                _ => DhtAnswer::Done,
            };
            node.feed(Input::Dht(*id, Ok(answer)));
        }
        asked.into_iter().map(|(_, query)| query).collect::<Vec<_>>()
    };
    let [first, quiet] = ["first", "quiet"].map(|text| file(text).hash());
    assert!(get("first", true).contains(&DhtQuery::Provide(first)));
    assert!(!get("quiet", false).contains(&DhtQuery::Provide(quiet)));
    for number in 2..crate::content::MAX_FILES {
        assert!(!get(&number.to_string(), true).contains(&DhtQuery::Withdraw(first)));
    }
    assert!(get("one more", true).contains(&DhtQuery::Withdraw(first)));
    assert!(!get("and another", true).contains(&DhtQuery::Withdraw(quiet)));
    assert!(get("quiet", true).contains(&DhtQuery::Provide(quiet)), "it can be told later");
}

#[test]
fn addresses_of_nearer_networks_than_ours_are_not_dialled() {
    let mut node = Harness::new();
    let (manifest, _) = sample();
    node.command(fetch(manifest.cid())).unwrap();
    let [(id, _)] = node.asked()[..] else { panic!() };
    node.feed(Input::Dht(id, Ok(DhtAnswer::Providers(vec![peer(2)]))));
    let [(id, _)] = node.asked()[..] else { panic!() };
    let addresses = ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.0.1/tcp/80", "/ip4/8.8.8.8/tcp/9"];
    node.feed(Input::Dht(id, Ok(DhtAnswer::At(addresses.map(|text| text.parse().unwrap()).to_vec()))));
    let dials: Vec<_> = node.outputs.iter().filter(|output| matches!(output, Output::Dial(_))).collect();
    assert!(matches!(dials[..], [Output::Dial(address)] if address.to_string().starts_with("/ip4/8.8.8.8/")));
    let refused = |node: &Harness| node.node.fx.refusals.get("address-without-use").copied();
    assert_eq!(refused(&node), None, "one was of use");
    node.wait(1_000);
    for (id, query) in node.asked() {
        let answer = match query {
            DhtQuery::Providers(_) => DhtAnswer::Providers(vec![peer(3)]),
            _ => continue,
        };
        node.feed(Input::Dht(id, Ok(answer)));
    }
    let [(id, DhtQuery::FindPeer(_))] = node.asked()[..] else { panic!() };
    node.feed(Input::Dht(id, Ok(DhtAnswer::At(vec!["/ip4/127.0.0.1/tcp/22".parse().unwrap()]))));
    assert_eq!(refused(&node), Some(1));
}

#[test]
fn a_provider_that_the_table_cannot_place_is_dialled_where_others_said_it_is() {
    let mut node = Harness::new();
    let address = "/ip4/8.8.8.8/tcp/9".parse().unwrap();
    node.feed(Input::Discovered { peer: peer(2), address, found: Found::Exchange });
    node.command(fetch(sample().0.cid())).unwrap();
    let [(id, _)] = node.asked()[..] else { panic!() };
    node.feed(Input::Dht(id, Ok(DhtAnswer::Providers(vec![peer(2), peer(3)]))));
    for (id, query) in node.asked() {
        assert!(matches!(query, DhtQuery::FindPeer(_)));
        assert!(!node.outputs.iter().any(|output| matches!(output, Output::Dial(_))), "of its own will");
        node.feed(Input::Dht(id, Ok(DhtAnswer::At(Vec::new()))));
        let dials: Vec<_> = node.outputs.extract_if(.., |output| matches!(output, Output::Dial(_))).collect();
        let expected = match query {
            DhtQuery::FindPeer(whom) if whom == peer(2) => format!("/ip4/8.8.8.8/tcp/9/p2p/{whom}"),
            _ => continue,
        };
        assert!(
            matches!(&dials[..], [Output::Dial(address)] if address.to_string() == expected),
            "{dials:?}"
        );
    }
}

#[test]
fn of_those_said_to_have_a_file_so_many_are_remembered_and_dialled_at_so_many_places() {
    let mut node = Harness::new();
    node.command(fetch(sample().0.cid())).unwrap();
    let [(id, DhtQuery::Providers(_))] = node.asked()[..] else { panic!("nobody is looked for") };
    node.feed(Input::Dht(id, Ok(DhtAnswer::Providers((100..125).map(peer).collect()))));
    let sought = node.asked();
    assert_eq!(sought.len(), 16);
    let held = |node: &Harness, what| {
        let held = node.node.held().find(|held| held.what == what).expect("it is counted");
        (held.count, held.limit)
    };
    assert_eq!(held(&node, "peers named for what they have"), (20, 20));
    assert_eq!(held(&node, "peers dialled for what they have"), (16, 16));

    let (id, DhtQuery::FindPeer(whom)) = sought[0] else { panic!("it is asked where it is") };
    let addresses = (1..=4).map(|port| format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()).collect();
    node.feed(Input::Dht(id, Ok(DhtAnswer::At(addresses))));
    let mut dialled = Vec::new();
    // Each dial fails at once, until nothing is dialled any more.
    for _ in 0..100 {
        let dials = node.outputs.extract_if(.., |output| matches!(output, Output::Dial(_)));
        for dial in dials.collect::<Vec<_>>() {
            let Output::Dial(address) = dial else { unreachable!() };
            node.feed(Input::DialFailed { address: address.clone(), reason: "nobody".into() });
            dialled.push(address.to_string());
        }
        node.wait(1_000);
    }
    dialled.sort();
    let at = |port| format!("/ip4/8.8.8.8/tcp/{port}/p2p/{whom}");
    assert_eq!(dialled, [1, 1, 2, 2, 3, 3].map(at), "three places, twice each");
}

#[test]
fn a_fetch_that_brings_nothing_ends_and_says_why() {
    let mut node = Harness::new();
    let cid = sample().0.cid();
    for _ in 0..2 {
        node.command(fetch(cid)).unwrap();
        node.wait(GIVE_UP_MILLIS);
        let Ok(Reply::File(view)) = node.command(Command::Content(ContentCommand::Show(cid))) else {
            panic!()
        };
        assert!(view.state == FileState::Absent && view.problem.unwrap().contains("2 minutes"));
    }
    for fill in 0..MAX_FETCHES as u8 {
        node.command(fetch(Cid(Hash([fill; 32])))).unwrap();
    }
    assert_eq!(node.command(fetch(cid)), Err(ContentError::TooManyFetches(MAX_FETCHES).into()));
}
