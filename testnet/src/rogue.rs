//! A peer that misbehaves, on the real swarm: it has the connections and protocols of a peer, and a [`Deed`] in the place of its
//! judgement. To be set on real programs, which have to give each offence the answer that it deserves.

mod deed;
mod liar;
mod sybil;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport, TransportError,
    core::upgrade::Version,
    identity::Keypair,
    noise,
    swarm::{self, dummy},
    tcp, yamux,
};
use tokio::{task::JoinHandle, time::timeout};
use weft_core::{
    node::{ArchiveId, Job, Role, WorkId},
    primitives::{Mono, Now, Wall},
    store::{ArchiveRequest, Seq},
    swarm::{Behaviour, Driver, Handle, InputSender, Shell, inputs},
};

use self::liar::{Liar, Orders};
pub use self::{deed::Deed, sybil::Sybil};
use crate::fixture::LongChain;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a rogue sees of its victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is connected.
    Connected,
    /// It is connected no longer.
    Disconnected,
    /// It lets nobody in, in words.
    Refused(String),
}

/// Why there is no rogue.
#[derive(Debug, thiserror::Error)]
pub enum RogueError {
    /// It can secure no connections.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// It cannot listen where it should.
    #[error(transparent)]
    Listen(#[from] TransportError<io::Error>),
}

/// A running rogue. It ends when it is dropped.
pub struct Rogue {
    id: PeerId,
    orders: Orders,
    inputs: InputSender,
    sights: mpsc::UnboundedReceiver<Sight>,
    task: JoinHandle<()>,
    _handle: Handle,
}

impl Rogue {
    /// Starts one with a key of its own, on a chain that was made in advance. It does nothing until it is told to.
    ///
    /// # Errors
    /// When its key cannot secure connections.
    pub fn start(made: Arc<LongChain>, deed: Deed) -> Result<Self, RogueError> {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let genesis = &made.chain.genesis;
        let behaviour = Behaviour::new(&key, Role::Native, Some(genesis), dummy::Behaviour);
        let swarm = swarm(&key, behaviour)?;
        let (inputs, inbox) = inputs();
        let (tell, sights) = mpsc::unbounded();
        let orders = Orders::default();
        let hash = made.chain.hash();
        let liar = Liar::new(made, deed, orders.clone(), tell);
        let (driver, handle) = Driver::new(swarm, liar, Unmanned(Instant::now()), inbox, Some(hash));
        let task = tokio::spawn(async move {
            driver.run().await;
        });
        Ok(Self { id, orders, inputs, sights, task, _handle: handle })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Connects to its victim.
    pub fn visit(&self, address: Multiaddr) {
        self.orders.visit(address);
        self.inputs.send(liar::poke());
    }

    /// Does what it is there for, once more.
    pub fn strike(&self) {
        self.orders.strike();
        self.inputs.send(liar::poke());
    }

    /// What it sees next.
    ///
    /// # Errors
    /// When nothing happens in half a minute.
    pub async fn sees(&mut self) -> io::Result<Sight> {
        let next = timeout(PATIENCE, self.sights.next()).await;
        next.ok().flatten().ok_or_else(|| io::Error::other("nothing happened to the rogue"))
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A swarm over TCP.
fn swarm(
    key: &Keypair,
    behaviour: Behaviour<dummy::Behaviour>,
) -> Result<Swarm<Behaviour<dummy::Behaviour>>, RogueError> {
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default())
        .boxed();
    let config = swarm::Config::with_tokio_executor();
    Ok(weft_core::swarm::swarm(transport, behaviour, key.public().to_peer_id(), config))
}

/// A platform with a clock and nothing else.
struct Unmanned(Instant);

impl Shell for Unmanned {
    type Extra = dummy::Behaviour;

    fn now(&self) -> Now {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
        Now { mono: Mono(millis(self.0.elapsed())), wall: Wall(wall) }
    }

    // A liar never asks for any of these.
    fn work(&mut self, _: WorkId, _: Job) {}

    fn archive(&mut self, _: ArchiveId, _: ArchiveRequest) {}

    fn flush(&mut self, _: Seq) {}

    fn resolve(&mut self, _: String) {}

    fn fetch_list(&mut self, _: String) {}

    async fn pause(&mut self) {
        let mut paused = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
