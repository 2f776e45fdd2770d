//! The platform under the node: WebSocket, WebRTC and relayed connections, Web Workers, the browser's clocks and its storage.

mod lifecycle;
mod reservation;
mod webrtc;

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent},
    websocket_websys, yamux,
};
use send_wrapper::SendWrapper;
use weft_core::{
    chain::Genesis,
    node::{
        ArchiveId, Config, Discovery, Input, Job, Node, NodeLists, Role, StartError, Way, Without, WorkId,
    },
    peers::MAX_NODE_LIST_BYTES,
    primitives::{Hash, Now, SecretKey},
    store::{ArchiveRequest, Seq, Store},
    swarm::{
        Behaviour, BehaviourEvent, DirectTransport, Driver, Handle, InputSender, Limits, Shell,
        WebrtcBehaviour, WebrtcTransport, inputs,
    },
    sync::Strategy,
};

use crate::{
    clock::{self, Turns},
    doh,
    download::download,
    in_words, measure, random, settings,
    storage::{self, Opened, Storage},
    workers::{self, Report, Workers},
};

/// The most bytes of transactions a tab's mempool holds.
const MEMPOOL_BYTES: usize = 4 << 20;

/// What a tab tells about itself.
pub(crate) enum Condition {
    /// No worker can be started, in words.
    NoWorkers(String),
    /// Workers run again.
    Workers,
    /// The browser does not let pages speak WebRTC-direct, for this reason in its words.
    NoWebrtcDirect(String),
    /// The chain is not kept, or not the one that was kept before, or the keys are not encrypted, in words.
    Storage(String),
}

/// Starts the peer with this key on this chain, joining it this way and finding others in all ways but those that are `off`; it runs
/// until the tab is closed. With `keep` it goes on from what an earlier
/// tab stored, and stores what it does itself; then `true` comes back, unless the browser refuses.
///
/// # Errors
/// In words, when the genesis is invalid or the browser lacks something.
pub(crate) async fn start(
    key: &Keypair,
    genesis: Genesis,
    strategy: Strategy,
    (bootstrap, lists, off): (Vec<Multiaddr>, NodeLists, &BTreeSet<Way>),
    stun: Vec<String>,
    keep: bool,
    tell: impl Fn(Condition) + 'static,
) -> Result<(Handle, bool), String> {
    let local = key.public().to_peer_id();
    let chain = genesis.hash();
    let (relayed, relay) = relay::client::new(local);
    let tell = Rc::new(tell);
    let told = tell.clone();
    let refused = move |reason: &str| told(Condition::NoWebrtcDirect(reason.to_owned()));
    let backend = Arc::new(webrtc::Browser { stun, refused: SendWrapper::new(Box::new(refused)) });
    let (signalled, webrtc) = weft_core::swarm::webrtc(local, backend.clone());
    let direct = DirectTransport::new(key.clone(), backend);
    let behaviour = Behaviour::new(key, Role::Browser, Some(&genesis), Extra { relay, webrtc });
    let config = swarm::Config::with_wasm_executor();
    let swarm =
        weft_core::swarm::swarm(transport(key, signalled, direct, relayed)?, behaviour, local, config);
    let workers = workers::room();
    let mut config = Config {
        local,
        role: Role::Browser,
        genesis: Some(genesis),
        key: signing_key(key),
        discovery: Discovery::of(Role::Browser),
        slots: Role::Browser.slots(),
        validator: None,
        bootstrap,
        lists,
        strategy,
        prune: Role::Browser.prune(),
        mempool_bytes: MEMPOOL_BYTES,
        tx_mode: settings::tx_mode(),
        max_inbound: Limits::of(Role::Browser).guests(),
        proxies: Vec::new(),
        upload: Role::Browser.upload(),
        max_jobs: workers * 2,
        without: Without::default(),
    };
    off.iter().for_each(|way| config.switch_off(*way));
    let (sender, inbox) = inputs();
    let (node, storage, alarm) = if keep {
        wasm_bindgen_futures::spawn_local(storage::ask_to_persist());
        kept(config, &chain, &sender).await?
    } else {
        let Opened { store, storage, alarm } = Opened::memory(&sender);
        (node(config, store)?.map_err(|error| error.to_string())?, storage, alarm)
    };
    let kept = storage.is_kept();
    if let Some(alarm) = alarm {
        tell(Condition::Storage(alarm));
    }
    let shell = Tab {
        inputs: sender.clone(),
        workers: Workers::start(workers, report(sender, move |condition| tell(condition))),
        storage,
        turns: Turns::new().map_err(in_words)?,
    };
    lifecycle::follow(&shell.inputs);
    let (driver, handle) = Driver::new(swarm, node, shell, inbox, Some(chain));
    wasm_bindgen_futures::spawn_local(async move {
        driver.run().await;
    });
    Ok((handle, kept))
}

fn node(config: Config, store: Box<dyn Store + Send>) -> Result<Result<Node, StartError>, String> {
    Ok(Node::new(config, store, random()?, clock::now()))
}

/// A node on what is stored, or on an empty database when it cannot make sense of that.
async fn kept(
    config: Config,
    chain: &Hash,
    sender: &InputSender,
) -> Result<(Node, Storage, Option<String>), String> {
    let mut opened = Opened::kept(chain, sender).await;
    measure::mark(measure::Mark::Loaded);
    let reason = match node(config.clone(), opened.store)? {
        Ok(node) => return Ok((node, opened.storage, opened.alarm)),
        Err(error @ (StartError::Genesis(_) | StartError::LightValidator)) => return Err(error.to_string()),
        Err(StartError::Corrupt(what)) => format!("it is corrupt: {what}"),
        Err(StartError::Schema { .. }) => "another version of this app wrote it".into(),
        Err(StartError::OtherChain { .. }) => "it is another chain's".into(),
    };
    drop(opened.storage);
    opened = Opened::over(chain, sender, &reason).await;
    let node = node(config, opened.store)?.map_err(|error| error.to_string())?;
    Ok((node, opened.storage, opened.alarm))
}

fn transport(
    key: &Keypair,
    signalled: WebrtcTransport,
    direct: DirectTransport,
    relayed: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let noise = noise::Config::new(key).map_err(|error| error.to_string())?;
    // The other side must negotiate with the same version of multistream-select.
    // The relayed one before the other, which takes a circuit's address for that of the relay.
    let secured = relayed
        .or_transport(websocket_websys::Transport::default())
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(std::time::Duration::from_secs(15));
    // And this one first of all, since the relayed one takes its addresses for circuits.
    let webrtc = signalled.or_transport(direct).map(|either, _| {
        let (peer, muxer) = either.into_inner();
        (peer, StreamMuxerBox::new(muxer))
    });
    let secured = secured.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(webrtc.or_transport(secured).map(|either, _| either.into_inner()).boxed())
}

/// The tab's key as core signs with it.
fn signing_key(key: &Keypair) -> Option<SecretKey> {
    let secret = key.clone().try_into_ed25519().ok()?.secret();
    Some(SecretKey::from_seed(secret.as_ref().try_into().ok()?))
}

fn report(sender: InputSender, tell: impl Fn(Condition)) -> impl Fn(Report) {
    move |report| match report {
        Report::Done(id, result) => sender.send(Input::WorkDone(id, result)),
        Report::Lost(id) => sender.send(Input::WorkFailed(id)),
        Report::Broken(error) => tell(Condition::NoWorkers(error)),
        Report::Mended => tell(Condition::Workers),
    }
}

struct Tab {
    inputs: InputSender,
    workers: Workers,
    storage: Storage,
    turns: Turns,
}

/// The behaviours that only a tab has.
#[derive(NetworkBehaviour)]
struct Extra {
    relay: relay::client::Behaviour,
    webrtc: WebrtcBehaviour,
}

impl Shell for Tab {
    type Extra = Extra;

    fn now(&self) -> Now {
        clock::now()
    }

    fn work(&mut self, id: WorkId, job: Job) {
        measure::job_given();
        self.workers.run(id, job);
    }

    fn archive(&mut self, id: ArchiveId, request: ArchiveRequest) {
        self.storage.archive(id, request);
    }

    fn flush(&mut self, seq: Seq) {
        self.storage.flush(seq);
    }

    fn resolve(&mut self, name: String) {
        doh::resolve(name, self.inputs.clone());
    }

    fn fetch_list(&mut self, url: String) {
        let inputs = self.inputs.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let fetched = download(&url, Some("application/json"), MAX_NODE_LIST_BYTES).await;
            let outcome = fetched.and_then(|bytes| bytes.ok_or_else(|| "there is no such file".to_owned()));
            inputs.send(Input::ListFetched { url, outcome });
        });
    }

    fn observe(
        &mut self,
        swarm: &mut Swarm<Behaviour<Extra>>,
        event: &SwarmEvent<BehaviourEvent<Extra>>,
    ) -> Vec<Input> {
        if let SwarmEvent::ConnectionEstablished { .. } = event {
            measure::mark(measure::Mark::Connected);
        }
        if let SwarmEvent::Behaviour(BehaviourEvent::Extra(ExtraEvent::Webrtc(refused))) = event {
            return vec![Input::Refused(*refused)];
        }
        reservation::observe(swarm, event)
    }

    async fn pause(&mut self) {
        self.turns.next().await;
    }
}
