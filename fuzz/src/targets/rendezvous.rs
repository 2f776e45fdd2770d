//! Peers that meet at a relay: what is said there, the relay that keeps the place, and a peer that comes to it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::OnceLock,
};

use libp2p::{Multiaddr, PeerId, multiaddr};
use weft_core::{
    node::{
        Config, ConnectionId, Discovery, InboundId, Input, Link, Node, OutboundId, Output, Protocol,
        ReachedBy, RequestFailure, Role,
        rendezvous::{Registration, Request, Response, sign, verify},
    },
    primitives::{Mono, Now, SecretKey, Wall},
    store::MemoryArchive,
};

use super::{
    gossip::peer,
    node::{config, start},
};
use crate::{
    sample::sample,
    steps::{step, steps},
};

/// Those who say where they are.
const GUESTS: std::ops::Range<u8> = 11..19;
/// The most registrations of an answer, and the most addresses of one (`docs/SECURITY.md`).
const MAX_TOLD: usize = 32;
const MAX_ADDRESSES: usize = 8;

fn namespace() -> String {
    format!("weft/{}", sample().genesis().short())
}

/// Where a guest says that it is, and what it has signed of that.
struct Guest {
    addresses: Vec<Multiaddr>,
    record: Vec<u8>,
}

fn guests() -> &'static BTreeMap<PeerId, Guest> {
    static OF: OnceLock<BTreeMap<PeerId, Guest>> = OnceLock::new();
    OF.get_or_init(|| {
        let guest = |byte: u8| {
            let addresses = [4100, 4101].map(|port| format!("/ip4/8.{byte}.0.1/tcp/{port}"));
            let addresses: Vec<_> = addresses.map(|text| text.parse().expect("an address")).into();
            let record = sign(&SecretKey::from_seed([byte; 32]), &peer(byte), Wall(1_000_000), &addresses);
            (peer(byte), Guest { addresses, record })
        };
        GUESTS.map(guest).collect()
    })
}

fn some_guest(byte: u8) -> (&'static PeerId, &'static Guest) {
    guests().iter().nth(usize::from(byte) % guests().len()).expect("there are some")
}

/// A request or a response.
pub fn message(data: &[u8]) -> bool {
    let request = Request::from_bytes(data).map(|request| {
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    });
    let response = Response::from_bytes(data).map(|response| {
        assert_eq!(Response::from_bytes(&response.to_bytes()).as_ref(), Ok(&response));
        if let Response::Discovered(Ok((told, _))) = &response {
            assert!(told.len() <= MAX_TOLD);
        }
    });
    request.is_ok() || response.is_ok()
}

fn register(record: Vec<u8>, seconds: u64) -> Vec<u8> {
    Request::Register { namespace: namespace(), record, seconds: Some(seconds) }.to_bytes()
}

fn discover(cookie: &[u8]) -> Vec<u8> {
    let (namespace, limit) = (Some(namespace()), Some(MAX_TOLD as u64));
    Request::Discover { namespace, limit, cookie: cookie.to_vec() }.to_bytes()
}

fn told(of: &[u8]) -> Response {
    let registration = |byte: &u8| {
        let record = some_guest(*byte).1.record.clone();
        Registration { namespace: namespace(), record, seconds: 7_000 }
    };
    Response::Discovered(Ok((of.iter().map(registration).collect(), vec![0; 8])))
}

/// One of each kind.
pub fn message_seeds() -> Vec<Vec<u8>> {
    vec![
        register(some_guest(0).1.record.clone(), 7_200),
        Request::Unregister { namespace: namespace() }.to_bytes(),
        discover(&[]),
        discover(&[7; 8]),
        Response::Registered(Ok(7_200)).to_bytes(),
        told(&[1, 2]).to_bytes(),
    ]
}

/// Where a peer is, in its own words: nobody else can say it.
pub fn record(data: &[u8]) -> bool {
    let Ok((peer, addresses)) = verify(data) else { return false };
    assert!(addresses.len() <= MAX_ADDRESSES);
    if let Some(guest) = guests().get(&peer) {
        assert_eq!(addresses, guest.addresses, "a forged record");
    }
    true
}

/// A record.
pub fn record_seeds() -> Vec<Vec<u8>> {
    vec![some_guest(0).1.record.clone()]
}

/// A peer with the shell's side of it: every effect ends at once.
struct Shell {
    node: Node,
    archive: MemoryArchive,
    now: Now,
    asked: VecDeque<OutboundId>,
    /// The bodies of answers; `None` where it refused.
    answered: BTreeMap<InboundId, Option<Vec<u8>>>,
}

impl Shell {
    fn new(role: Role) -> Self {
        let (node, now) =
            start(Config { discovery: Discovery::of(role), slots: role.slots(), ..config(role) });
        let (archive, asked, answered) = (MemoryArchive::default(), VecDeque::new(), BTreeMap::new());
        let mut shell = Self { node, archive, now, asked, answered };
        shell.drain();
        shell
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn wait(&mut self, millis: u64) {
        self.now.mono.0 += millis;
        self.now.wall.0 += millis;
        self.node.handle_timeout(self.now);
        self.drain();
    }

    fn connected(&mut self, peer: PeerId, number: u64, address: &str, outbound: bool) {
        let (connection, link) = (ConnectionId(number), Link::Direct);
        let address = address.parse().expect("an address");
        self.handle(Input::Connected { peer, connection, link, address, outbound });
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            let answer = match output {
                Output::Work(id, job) => Input::WorkDone(id, job.run()),
                Output::Archive(id, request) => Input::Archive(id, Ok(self.archive.answer(request))),
                Output::Flush(seq) => Input::Persisted(seq),
                Output::Request { id, protocol: Protocol::Rendezvous, body, .. } => {
                    self.says(&body);
                    self.asked.push_back(id);
                    continue;
                }
                Output::Request { id, .. } => {
                    Input::Response { id, outcome: Err(RequestFailure::Unsupported) }
                }
                Output::Respond { id, body } => {
                    assert!(self.answered.insert(id, Some(body)).is_none(), "two answers");
                    continue;
                }
                Output::Refuse(id) => {
                    assert!(self.answered.insert(id, None).is_none(), "two answers");
                    continue;
                }
                Output::Dial(address) => {
                    is_signed(&address);
                    let reason = "nobody is there".into();
                    Input::DialFailed { address, reason }
                }
                _ => continue,
            };
            self.node.handle(self.now, answer);
        }
        for held in self.node.held() {
            assert!(held.count <= held.limit, "{} {} of {}", held.count, held.what, held.limit);
        }
    }

    /// What it asks at a rendezvous it says of itself.
    fn says(&self, body: &[u8]) {
        let request = Request::from_bytes(body).expect("a question that can be read");
        assert_eq!(request.to_bytes(), body);
        if let Request::Register { record, .. } = request {
            assert!(verify(&record).is_ok_and(|(of, _)| of == peer(9)));
        }
    }
}

/// Where a guest is looked for it has said that it is.
fn is_signed(address: &Multiaddr) {
    let parts: Vec<_> = address.iter().collect();
    let Some((multiaddr::Protocol::P2p(whom), at)) = parts.split_last() else { return };
    if let Some(guest) = guests().get(whom) {
        let at: Multiaddr = at.iter().cloned().collect();
        assert!(guest.addresses.contains(&at), "a guest is looked for at {at}");
    }
}

// The kinds of steps at the place; the bits above choose the guest that comes.
const ASK: u8 = 0;
const REGISTER: u8 = 1;
const DISCOVER: u8 = 2;
const WAIT: u8 = 3;
const KINDS: u8 = 4;
/// The most steps of one input.
const MAX_STEPS: usize = 300;

/// What is known of a relay's place by who comes to it.
struct Place {
    shell: Shell,
    next: u64,
    /// Who has registered, until when, and as what.
    there: BTreeMap<PeerId, (Mono, Vec<u8>)>,
    /// Who has talked nonsense, and may be heard no longer.
    rude: BTreeSet<PeerId>,
    cookies: BTreeMap<PeerId, Vec<u8>>,
}

impl Place {
    fn ask(&mut self, who: PeerId, body: Vec<u8>) -> bool {
        let asked = Request::from_bytes(&body);
        self.next += 1;
        let (id, protocol) = (InboundId(self.next), Protocol::Rendezvous);
        self.shell.handle(Input::Request { id, peer: who, protocol, body });
        let answer = self.shell.answered.remove(&id).expect("every question ends");
        let Ok(asked) = asked else {
            self.rude.insert(who);
            assert_eq!(answer, None, "an answer to nonsense");
            return false;
        };
        let Some(answer) = answer else {
            if matches!(&asked, Request::Unregister { namespace: of } if *of == namespace())
                && !self.rude.contains(&who)
            {
                self.there.remove(&who);
            }
            return false;
        };
        assert!(answer.len() <= Protocol::Rendezvous.max_response());
        let response = Response::from_bytes(&answer).expect("it answers what nobody can read");
        assert_eq!(response.to_bytes(), answer);
        let now = self.shell.now.mono;
        match (asked, response) {
            (Request::Register { namespace: of, record, seconds }, Response::Registered(outcome)) => {
                let Ok(granted) = outcome else { return false };
                assert!(of == namespace() && seconds.is_none_or(|seconds| seconds == granted));
                assert!(verify(&record).is_ok_and(|(of, _)| of == who), "somebody else registered");
                self.there.insert(who, (now + granted * 1000, record));
                true
            }
            (Request::Discover { limit, .. }, Response::Discovered(outcome)) => {
                let Ok((told, cookie)) = outcome else { return false };
                assert!(told.len() <= MAX_TOLD && limit.is_none_or(|limit| told.len() as u64 <= limit));
                for Registration { namespace: of, record, seconds } in &told {
                    let (whom, _) = verify(record).expect("a relay checks what it passes on");
                    assert!(*of == namespace() && whom != who);
                    let (until, known) = &self.there[&whom];
                    assert!(record == known && *until > now && seconds * 1000 <= *until - now);
                }
                self.cookies.insert(who, cookie);
                !told.is_empty()
            }
            (asked, response) => panic!("{response:?} to {asked:?}"),
        }
    }
}

/// A relay to which guests come, and ask what they like; valid when one is told of another.
pub fn place(data: &[u8]) -> bool {
    let mut shell = Shell::new(Role::Relay);
    for (number, guest) in (1..).zip(guests().keys()) {
        shell.connected(*guest, number, &format!("/ip4/8.9.{number}.1/tcp/9000"), false);
    }
    let (there, rude, cookies) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    let mut place = Place { shell, next: 0, there, rude, cookies };
    let mut is_told = false;
    for (kind, bytes) in steps(data).take(MAX_STEPS) {
        let (who, guest) = some_guest(kind / KINDS);
        let number = bytes.first_chunk().map_or(7_200, |bytes| u16::from_le_bytes(*bytes));
        match kind % KINDS {
            ASK => {
                place.ask(*who, bytes[..bytes.len().min(Protocol::Rendezvous.max_request())].to_vec());
            }
            REGISTER => {
                place.ask(*who, register(guest.record.clone(), number.into()));
            }
            DISCOVER => {
                let cookie = place.cookies.get(who).cloned().unwrap_or_default();
                is_told |= place.ask(*who, discover(&cookie));
            }
            _ => place.shell.wait(u64::from(number) * 100),
        }
    }
    is_told
}

/// Guests come, ask for one another, come again, and leave.
pub fn place_seeds() -> Vec<Vec<u8>> {
    let by = |who: u8, kind: u8| who * KINDS + kind;
    let mut seed = Vec::new();
    for who in 0..5 {
        seed.extend(step(by(who, REGISTER), &u16::to_le_bytes(60 << (who % 5))));
        seed.extend(step(by(who, DISCOVER), &[]));
    }
    seed.extend(step(WAIT, &u16::to_le_bytes(700)));
    for message in message_seeds() {
        seed.extend(step(by(1, ASK), &message));
    }
    seed.extend(step(by(1, REGISTER), &[]));
    (0..8).for_each(|who| seed.extend(step(by(who, DISCOVER), &[])));
    vec![seed]
}

// The kinds of steps of a guest.
const ANSWER: u8 = 0;
const TELL: u8 = 1;
const GRANT: u8 = 2;
const FAIL: u8 = 3;
const PAUSE: u8 = 4;
const GUEST_KINDS: u8 = 5;

/// A peer that comes to a relay, whatever that answers; valid when it asks.
pub fn guest(data: &[u8]) -> bool {
    let mut shell = Shell::new(Role::Native);
    let relay = peer(1);
    shell.connected(relay, 1, &format!("/ip4/8.8.8.8/tcp/4100/p2p/{relay}"), true);
    let protocols = Protocol::Rendezvous.name(Some(&sample().genesis())).into_iter().collect();
    let (agent, addresses) = (String::new(), Vec::new());
    shell.handle(Input::Identified { peer: relay, agent, protocols, addresses });
    let address = "/ip4/8.8.4.4/tcp/4100".parse().expect("an address");
    shell.handle(Input::Reachable { address, by: ReachedBy::Named });
    shell.wait(2_000);
    let has_asked = !shell.asked.is_empty();
    for (kind, bytes) in steps(data).take(MAX_STEPS) {
        let outcome = match kind % GUEST_KINDS {
            ANSWER => Ok(bytes[..bytes.len().min(Protocol::Rendezvous.max_response())].to_vec()),
            TELL => Ok(told(&bytes[..bytes.len().min(MAX_TOLD)]).to_bytes()),
            GRANT => Ok(Response::Registered(Ok(7_200)).to_bytes()),
            FAIL => Err(RequestFailure::Timeout),
            _ => {
                let seconds = bytes.first().copied().unwrap_or_default();
                shell.wait(u64::from(seconds) * 1000);
                continue;
            }
        };
        if let Some(id) = shell.asked.pop_front() {
            shell.handle(Input::Response { id, outcome });
        }
    }
    shell.wait(60_000);
    has_asked
}

/// It is answered, told of others, refused, and left without an answer.
pub fn guest_seeds() -> Vec<Vec<u8>> {
    let refused = |response: Response| step(ANSWER, &response.to_bytes());
    let messages = message_seeds()
        .into_iter()
        .flat_map(|message| [step(PAUSE, &[200]), step(ANSWER, &message)].concat());
    let told = [step(GRANT, &[]), step(TELL, &[0, 1, 2, 3, 4]), step(PAUSE, &[200]), step(TELL, &[5, 6])];
    let mixed = [step(TELL, &[0]), step(GRANT, &[]), step(FAIL, &[]), step(PAUSE, &[250])].concat();
    vec![told.concat(), [mixed, messages.collect(), refused(Response::Registered(Ok(u64::MAX)))].concat()]
}
