//! The platform under the node: WebSocket and relayed connections, Web Workers, the browser's clocks, and memory as the
//! only storage.
//!
//! What a tab knows of the chain it forgets when it is closed, and verifies again from genesis when it is opened.

mod archive;
mod reservation;

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, relay,
    swarm::{self, SwarmEvent},
    websocket_websys, yamux,
};
use weft_core::{
    chain::Genesis,
    node::{ArchiveId, Config, Input, Job, Node, Role, WorkId},
    primitives::Now,
    store::{ArchiveRequest, MemoryStore, Seq},
    swarm::{Behaviour, BehaviourEvent, Driver, Handle, InputSender, Shell, inputs},
    sync::Strategy,
};

use self::{archive::Archive, reservation::Reservations};
use crate::{
    clock::{self, Turns},
    in_words, measure, random,
    workers::{self, Report, Workers},
};

/// The most bytes of transactions a tab's mempool holds.
const MEMPOOL_BYTES: usize = 4 << 20;

/// What a tab tells about its workers.
pub(crate) enum Condition {
    /// No worker can be started, in words.
    NoWorkers(String),
    /// Workers run again.
    Workers,
}

/// Starts the peer with this key on this chain; it runs until the tab is closed.
///
/// # Errors
/// In words, when the genesis is invalid or the browser lacks something.
pub(crate) fn start(
    key: &Keypair,
    genesis: Genesis,
    bootstrap: Vec<Multiaddr>,
    tell: impl Fn(Condition) + 'static,
) -> Result<Handle, String> {
    let local = key.public().to_peer_id();
    let chain = genesis.hash();
    let (relayed, relay) = relay::client::new(local);
    let behaviour = Behaviour::new(key, Role::Browser, Some(&chain), relay);
    let config = swarm::Config::with_wasm_executor();
    let swarm = weft_core::swarm::swarm(transport(key, relayed)?, behaviour, local, config);
    let workers = workers::room();
    let reservations = Reservations::new(&bootstrap);
    let config = Config {
        local,
        role: Role::Browser,
        genesis: Some(genesis),
        validator: None,
        bootstrap,
        strategy: Strategy::Full,
        mempool_bytes: MEMPOOL_BYTES,
        max_jobs: workers * 2,
    };
    let node = Node::new(config, Box::new(MemoryStore::default()), random()?, clock::now())
        .map_err(|error| error.to_string())?;
    let (sender, inbox) = inputs();
    let shell = Tab {
        workers: Workers::start(workers, report(sender.clone(), tell)),
        archive: Archive::default(),
        reservations,
        turns: Turns::new().map_err(in_words)?,
        sender,
    };
    let (driver, handle) = Driver::new(swarm, node, shell, inbox, Some(chain));
    wasm_bindgen_futures::spawn_local(async move {
        driver.run().await;
    });
    Ok(handle)
}

fn transport(
    key: &Keypair,
    relayed: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let noise = noise::Config::new(key).map_err(|error| error.to_string())?;
    // The other side must negotiate with the same version of multistream-select.
    Ok(websocket_websys::Transport::default()
        .or_transport(relayed)
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(std::time::Duration::from_secs(15))
        .boxed())
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
    workers: Workers,
    archive: Archive,
    reservations: Reservations,
    turns: Turns,
    sender: InputSender,
}

type Extra = relay::client::Behaviour;

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
        let answer = self.archive.answer(request);
        self.sender.send(Input::Archive(id, Ok(answer)));
    }

    fn flush(&mut self, seq: Seq) {
        self.sender.send(Input::Persisted(seq));
    }

    fn observe(
        &mut self,
        swarm: &mut Swarm<Behaviour<Extra>>,
        event: &SwarmEvent<BehaviourEvent<Extra>>,
    ) -> Vec<Input> {
        if let SwarmEvent::ConnectionEstablished { .. } = event {
            measure::mark(measure::Mark::Connected);
        }
        self.reservations.observe(swarm, event, clock::now().mono);
        Vec::new()
    }

    async fn pause(&mut self) {
        self.turns.next().await;
    }
}
