//! Real swarms over libp2p's memory transport, with a stand-in for the node that does what the test says and tells what
//! it was told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::{
    Future,
    executor::{LocalPool, LocalSpawner},
    future::{Either, select},
    task::LocalSpawnExt,
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport},
        upgrade::Version,
    },
    gossipsub,
    identity::Keypair,
    multiaddr::Protocol as Part,
    noise, request_response,
    swarm::{self, dummy},
    yamux,
};

mod calls;
mod closing;
mod large;
mod slow;
mod table;
mod topics;
mod waiting;

use super::*;
use crate::{
    chain::{Authority, Genesis},
    gossip::{Room, Topic},
    node::{
        ArchiveId, GossipId, GossipMessage, InboundId, Job, OutboundId, Protocol, Refused, RequestFailure,
        Role, Verdict, WorkId,
    },
    peers::{Found, Whom},
    primitives::{Address, PublicKey, Wall},
    store::{ArchiveRequest, Seq},
    swarm::{InputSender, Limits, inputs},
};

#[derive(Default)]
struct Script {
    outputs: VecDeque<Output>,
    reaction: Option<fn(&Input) -> Option<Output>>,
    timeout: Option<Mono>,
}

struct Fake {
    script: Arc<Mutex<Script>>,
    told: mpsc::UnboundedSender<Input>,
}

impl Machine for Fake {
    fn handle(&mut self, _: Now, input: Input) {
        let mut script = self.script.lock().unwrap();
        let reaction = script.reaction.and_then(|reaction| reaction(&input));
        script.outputs.extend(reaction);
        let _ = self.told.unbounded_send(input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.script.lock().unwrap().outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Mono> {
        self.script.lock().unwrap().timeout
    }

    fn handle_timeout(&mut self, now: Now) {
        let due = self.script.lock().unwrap().timeout.take().unwrap();
        assert!(now.mono >= due, "woken at {} for {due}", now.mono);
        let _ = self.told.unbounded_send(Input::Persisted(WOKEN));
    }
}

const WOKEN: Seq = Seq(u64::MAX);
const POKE: Seq = Seq(u64::MAX - 1);

struct TestShell {
    started: Instant,
    subscribed: mpsc::UnboundedSender<PeerId>,
}

impl Shell for TestShell {
    type Extra = dummy::Behaviour;

    fn now(&self) -> Now {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap();
        Now { mono: Mono(millis), wall: Wall(millis) }
    }

    fn work(&mut self, _: WorkId, _: Job) {}

    fn archive(&mut self, _: ArchiveId, _: ArchiveRequest) {}

    fn flush(&mut self, _: Seq) {}

    fn resolve(&mut self, _: String) {}

    fn fetch_list(&mut self, _: String) {}

    fn observe(
        &mut self,
        _: &mut Swarm<Behaviour<Self::Extra>>,
        event: &SwarmEvent<BehaviourEvent<Self::Extra>>,
    ) -> Vec<Input> {
        if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Subscribed {
            peer_id,
            ..
        })) = event
        {
            let _ = self.subscribed.unbounded_send(*peer_id);
        }
        Vec::new()
    }

    async fn pause(&mut self) {
        let mut paused = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A running engine, as the test holds it.
struct Peer {
    id: PeerId,
    address: Multiaddr,
    script: Arc<Mutex<Script>>,
    inputs: InputSender,
    told: mpsc::UnboundedReceiver<Input>,
    subscribed: mpsc::UnboundedReceiver<PeerId>,
    handle: Handle,
    ended: oneshot::Receiver<()>,
}

fn chain(name: &str) -> Genesis {
    let authority = Authority { key: PublicKey([1; 32]), fee_address: Address([1; 32]) };
    Genesis {
        name: name.to_owned(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: vec![authority],
        grants: Vec::new(),
    }
}

type Transported = Boxed<(PeerId, StreamMuxerBox)>;

impl Peer {
    fn start(spawner: &LocalSpawner, genesis: Option<Genesis>) -> Self {
        Self::start_as(spawner, Role::Native, genesis, |transport| transport)
    }

    /// Starts one of a kind over an altered transport.
    fn start_as(
        spawner: &LocalSpawner,
        role: Role,
        genesis: Option<Genesis>,
        alter: impl FnOnce(Transported) -> Transported,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let transport = alter(transport);
        let behaviour = Behaviour::new(&key, role, genesis.as_ref(), dummy::Behaviour);
        let mut swarm = crate::swarm::swarm(transport, behaviour, id, swarm::Config::without_executor());
        let address = Multiaddr::from(Part::Memory(NEXT.fetch_add(1, Ordering::Relaxed)));
        swarm.listen_on(address.clone()).unwrap();

        let (tell, told) = mpsc::unbounded();
        let (subscribe, subscribed) = mpsc::unbounded();
        let script = Arc::new(Mutex::new(Script::default()));
        let (inputs, inbox) = inputs();
        let (engine, handle) = Engine::new(
            swarm,
            Fake { script: script.clone(), told: tell },
            TestShell { started: Instant::now(), subscribed: subscribe },
            inbox,
            genesis.as_ref().map(Genesis::hash),
        );
        let (end, ended) = oneshot::channel();
        spawner
            .spawn_local(async move {
                engine.run().await;
                let _ = end.send(());
            })
            .unwrap();
        Self { id, address, script, inputs, told, subscribed, handle, ended }
    }

    /// Makes the node put this out.
    fn put_out(&self, output: Output) {
        self.script.lock().unwrap().outputs.push_back(output);
        self.inputs.send(Input::Persisted(POKE));
    }

    fn react(&self, reaction: fn(&Input) -> Option<Output>) {
        self.script.lock().unwrap().reaction = Some(reaction);
    }

    /// The next input that `pick` wants; others are passed over.
    async fn told<T>(&mut self, mut pick: impl FnMut(Input) -> Option<T>) -> T {
        loop {
            let input = self.told.next().await.expect("the engine runs");
            if let Some(picked) = pick(input) {
                return picked;
            }
        }
    }

    async fn dial(&mut self, other: &mut Self) {
        self.put_out(Output::Dial(other.address.clone().with(Part::P2p(other.id))));
        let (expected, me) = (other.id, self.id);
        self.told(|input| {
            matches!(input, Input::Connected { peer, outbound: true, .. } if peer == expected).then_some(())
        })
        .await;
        other
            .told(|input| {
                matches!(input, Input::Connected { peer, outbound: false, .. } if peer == me).then_some(())
            })
            .await;
    }

    async fn dial_failure(&mut self, address: Multiaddr) -> String {
        self.put_out(Output::Dial(address.clone()));
        self.told(|input| match input {
            Input::DialFailed { address: failed, reason } if failed == address => Some(reason.to_string()),
            _ => None,
        })
        .await
    }

    async fn request(&mut self, to: PeerId, protocol: Protocol, id: u64) -> Result<Vec<u8>, RequestFailure> {
        self.put_out(Output::Request { id: OutboundId(id), peer: to, protocol, body: b"ask".to_vec() });
        self.response(id).await
    }

    async fn response(&mut self, wanted: u64) -> Result<Vec<u8>, RequestFailure> {
        self.told(|input| match input {
            Input::Response { id, outcome } if id == OutboundId(wanted) => Some(outcome),
            _ => None,
        })
        .await
    }

    async fn gossip(&mut self) -> GossipMessage {
        self.told(|input| if let Input::Gossip(message) = input { Some(message) } else { None }).await
    }
}

/// A swarm that speaks this protocol alone, and may have so many requests of it open.
fn stranger<C>(codec: C, protocol: String, streams: usize) -> (PeerId, Swarm<request_response::Behaviour<C>>)
where
    C: request_response::Codec<Protocol = StreamProtocol> + Clone + Send + 'static,
{
    /// Longer than anybody should be held up.
    const FOREVER: Duration = Duration::from_secs(60);
    let key = Keypair::generate_ed25519();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let protocol = StreamProtocol::try_from_owned(protocol).unwrap();
    let config = request_response::Config::default()
        .with_request_timeout(FOREVER)
        .with_max_concurrent_streams(streams);
    let speaks = [(protocol, request_response::ProtocolSupport::Full)];
    let behaviour = request_response::Behaviour::with_codec(codec, speaks, config);
    // Its streams are all it keeps the connection for.
    let idle = swarm::Config::without_executor().with_idle_connection_timeout(FOREVER);
    let id = key.public().to_peer_id();
    (id, Swarm::new(transport, behaviour, id, idle))
}

/// Runs a test, and fails it when it takes too long.
fn run<F: Future<Output = ()>>(test: impl FnOnce(LocalSpawner) -> F) {
    let mut pool = LocalPool::new();
    let test = std::pin::pin!(test(pool.spawner()));
    match pool.run_until(select(test, Delay::new(Duration::from_secs(30)))) {
        Either::Left(((), _)) => {}
        Either::Right(_) => panic!("the test waited in vain"),
    }
}

#[test]
fn a_tab_takes_as_many_connections_as_it_may_and_no_more() {
    run(|spawner| async move {
        let mut tab = Peer::start_as(&spawner, Role::Browser, None, |transport| transport);
        let mut guests: Vec<_> = (0..Limits::TAB.inbound).map(|_| Peer::start(&spawner, None)).collect();
        for guest in &mut guests {
            guest.dial(&mut tab).await;
        }
        let mut late = Peer::start(&spawner, None);
        late.put_out(Output::Dial(tab.address.clone().with(Part::P2p(tab.id))));
        let full = tab.id;
        late.told(|input| match input {
            Input::Disconnected { peer, .. } => (peer == full).then_some(()),
            Input::DialFailed { .. } => Some(()),
            _ => None,
        })
        .await;
    });
}

fn lobby() -> Topic {
    Topic::Chat("lobby".parse::<Room>().unwrap())
}

fn publish(text: &str) -> Output {
    Output::Publish { topic: lobby(), data: text.as_bytes().to_vec() }
}

#[test]
fn gossip_goes_on_only_after_its_verdict() {
    run(|spawner| async move {
        let [mut a, mut b, mut c] = [0; 3].map(|_| Peer::start(&spawner, None));
        for peer in [&a, &b, &c] {
            peer.put_out(Output::Subscribe(lobby()));
        }
        a.dial(&mut b).await;
        b.dial(&mut c).await;
        assert_eq!(a.subscribed.next().await, Some(b.id));
        assert!([b.subscribed.next().await, b.subscribed.next().await].contains(&Some(c.id)));
        assert_eq!(c.subscribed.next().await, Some(b.id));

        a.put_out(publish("spam"));
        let spam = b.gossip().await;
        b.put_out(Output::Judge { id: spam.id, verdict: Verdict::Reject });
        a.put_out(publish("hello"));
        let hello = b.gossip().await;
        assert_eq!((hello.author, hello.from, hello.topic.clone()), (a.id, a.id, lobby()));
        assert_ne!(hello.sequence, spam.sequence);
        b.put_out(Output::Judge { id: hello.id, verdict: Verdict::Accept });

        let relayed = c.gossip().await;
        assert_eq!(relayed.data, b"hello");
        assert_eq!((relayed.author, relayed.from), (a.id, b.id));
        assert_eq!(relayed.sequence, hello.sequence);
        // A verdict on nothing is harmless.
        c.put_out(Output::Judge { id: GossipId(u64::MAX), verdict: Verdict::Accept });
    });
}

#[test]
fn a_message_to_nobody_is_told_and_so_is_a_topic_without_its_chain() {
    run(|spawner| async move {
        let mut a = Peer::start(&spawner, None);
        a.put_out(Output::Subscribe(lobby()));
        a.put_out(Output::Subscribe(Topic::Block));
        a.put_out(publish("anyone?"));
        let topic =
            a.told(|input| if let Input::PublishedToNobody(topic) = input { Some(topic) } else { None });
        assert_eq!(topic.await, lobby());
    });
}

#[test]
fn a_peer_in_bad_standing_is_told_nothing_and_stays_connected() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, None));
        a.put_out(Output::Subscribe(lobby()));
        b.put_out(Output::Subscribe(lobby()));
        a.dial(&mut b).await;
        assert_eq!(b.subscribed.next().await, Some(a.id));
        b.put_out(Output::Score(a.id, -21));
        b.put_out(publish("not for everybody"));
        b.told(|input| matches!(input, Input::PublishedToNobody(_)).then_some(())).await;
        b.put_out(Output::Score(a.id, -19));
        b.put_out(publish("forgiven"));
        assert_eq!(a.gossip().await.data, b"forgiven");
    });
}

#[test]
fn every_request_ends_in_a_response() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        let mut elsewhere = Peer::start(&spawner, Some(chain("theirs")));
        let mut chainless = Peer::start(&spawner, None);
        assert_eq!(
            a.request(b.id, Protocol::Sync, 1).await,
            Err(RequestFailure::ConnectionLost),
            "not connected"
        );
        a.dial(&mut b).await;
        a.dial(&mut elsewhere).await;
        a.dial(&mut chainless).await;

        b.react(|input| match input {
            Input::Request { id, body, protocol: Protocol::Sync, .. } => {
                Some(Output::Respond { id: *id, body: [body.as_slice(), b"ed"].concat() })
            }
            Input::Request { id, .. } => Some(Output::Refuse(*id)),
            _ => None,
        });
        assert_eq!(a.request(b.id, Protocol::Sync, 2).await, Ok(b"asked".to_vec()));
        assert_eq!(
            a.request(b.id, Protocol::Archive, 3).await,
            Err(RequestFailure::ConnectionLost),
            "refused"
        );
        assert_eq!(a.request(elsewhere.id, Protocol::Sync, 4).await, Err(RequestFailure::Unsupported));
        assert_eq!(
            a.request(chainless.id, Protocol::Transactions, 5).await,
            Err(RequestFailure::Unsupported)
        );
        assert_eq!(chainless.request(a.id, Protocol::Sync, 6).await, Err(RequestFailure::Unsupported));
        // An answer to nothing, and one that is too late, are harmless.
        b.put_out(Output::Respond { id: InboundId(u64::MAX), body: Vec::new() });

        b.react(|_| None);
        a.put_out(Output::Request {
            id: OutboundId(7),
            peer: b.id,
            protocol: Protocol::Chat,
            body: Vec::new(),
        });
        b.told(|input| matches!(input, Input::Request { .. }).then_some(())).await;
        b.put_out(Output::Disconnect(a.id));
        assert_eq!(a.response(7).await, Err(RequestFailure::ConnectionLost));
    });
}

#[test]
fn more_than_a_request_may_have_never_leaves() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        let body = vec![0; Protocol::Chat.max_request() + 1];
        a.put_out(Output::Request { id: OutboundId(1), peer: b.id, protocol: Protocol::Chat, body });
        assert_eq!(a.response(1).await, Err(RequestFailure::TooLarge));
    });
}

#[test]
fn every_dial_ends_in_words() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, None));
        let stranger = PeerId::random();
        let reason = a.dial_failure("/ip4/127.0.0.1/tcp/1".parse().unwrap()).await;
        assert_eq!(reason, "this peer has no transport for that address");
        let reason = a.dial_failure(b.address.clone().with(Part::P2p(stranger))).await;
        assert_eq!(reason, format!("another peer answered: {}", b.id));
        let reason = a.dial_failure(a.address.clone().with(Part::P2p(a.id))).await;
        assert_eq!(reason, "this is our own address");
        a.dial(&mut b).await;
        let reason = a.dial_failure(b.address.clone().with(Part::P2p(b.id))).await;
        assert_eq!(reason, "already connected, or being dialled");
    });
}

#[test]
fn a_banned_peer_is_cut_off_until_it_is_unbanned() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, None));
        a.dial(&mut b).await;
        b.put_out(Output::Ban(Whom::Peer(a.id)));
        a.told(|input| matches!(input, Input::Disconnected { .. }).then_some(())).await;
        let reason = b.dial_failure(a.address.clone().with(Part::P2p(a.id))).await;
        assert!(reason.contains("block list"), "{reason}");
        b.put_out(Output::Unban(Whom::Peer(a.id)));
        b.dial(&mut a).await;
    });
}

#[test]
fn peers_say_what_they_are_and_how_far_away() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        let (agent, protocols) = b
            .told(|input| match input {
                Input::Identified { peer, agent, protocols, .. } if peer == a.id => Some((agent, protocols)),
                _ => None,
            })
            .await;
        assert_eq!(agent, format!("weft/{} (native)", env!("CARGO_PKG_VERSION")));
        let sync = Protocol::Sync.name(Some(&chain("ours").hash())).unwrap();
        for name in [sync.as_str(), "/weft/chat/1", "/meshsub/1.2.0", "/ipfs/ping/1.0.0"] {
            assert!(protocols.iter().any(|protocol| protocol == name), "{name} in {protocols:?}");
        }
        a.told(|input| matches!(input, Input::Pinged { peer, .. } if peer == b.id).then_some(())).await;
    });
}

#[test]
fn the_node_is_woken_when_it_wants_to_be() {
    run(|spawner| async move {
        let mut a = Peer::start(&spawner, None);
        for due in [Mono(0), Mono(60), Mono(120)] {
            a.script.lock().unwrap().timeout = Some(due);
            a.inputs.send(Input::Persisted(POKE));
            a.told(|input| matches!(input, Input::Persisted(WOKEN)).then_some(())).await;
        }
    });
}

#[test]
fn a_node_that_never_gives_up_does_not_keep_the_thread() {
    run(|spawner| async move {
        let a = Peer::start(&spawner, None);
        a.react(|input| match input {
            Input::DialFailed { address, .. } => Some(Output::Dial(address.clone())),
            Input::Command(id, _) => Some(Output::Reply(*id, Box::new(Ok(Reply::Done)))),
            _ => None,
        });
        a.put_out(Output::Dial("/ip4/127.0.0.1/tcp/1".parse().unwrap()));
        for _ in 0..10 {
            assert_eq!(a.handle.call(Command::Status).await, Ok(Reply::Done));
        }
    });
}

#[test]
fn a_stopped_peer_closes_its_connections_and_says_so_to_whoever_waits() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, None));
        a.dial(&mut b).await;
        let mut events = a.handle.subscribe().await;
        let handle = a.handle.clone();
        let waiting = handle.call(Command::Status);
        let stop = async {
            a.told(|input| matches!(input, Input::Command(..)).then_some(())).await;
            a.handle.stop().await;
        };
        assert_eq!(futures::join!(waiting, stop).0, Err(CommandError::Stopped));
        a.ended.await.unwrap();
        assert_eq!(events.next().await, None);
        assert_eq!(a.handle.call(Command::Status).await, Err(CommandError::Stopped));
        b.told(|input| matches!(input, Input::Disconnected { .. }).then_some(())).await;

        // Nobody holds it any more.
        drop(b.handle);
        b.ended.await.unwrap();
    });
}
