//! A Sybil on a real swarm: what the [attack suite](crate::attacks) plays in virtual time, with the connections, the protocols and the
//! gossipsub of a peer.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    time::Instant,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{SwarmEvent, dummy},
};
use tokio::task::JoinHandle;
use weft_core::{
    chain::Genesis,
    gossip::Topic,
    node::{Command, CommandError, CommandId, ConnectionId, Input, Output, Reply, Role, Verdict},
    primitives::{Mono, Now},
    swarm::{Behaviour, Driver, Handle, Machine, Meshing, inputs},
};

use super::{RogueError, Unmanned, swarm};
use crate::{
    attacks::{
        Orders,
        sybil::{COME_BACK, greedy, script},
    },
    sim::PeerIx,
};

/// A running Sybil. It ends when it is dropped.
pub struct Sybil {
    address: Multiaddr,
    handle: Handle,
    task: JoinHandle<()>,
}

impl Sybil {
    /// Starts one that does as it is ordered, on the chain with this genesis, and connects to nobody. It listens on loopback in a network
    /// of its own, a /16 by its number. When it dials, its address is that of all on loopback, where peers do not tell hosts apart.
    ///
    /// # Errors
    /// When its key cannot secure connections, or it cannot listen there.
    pub async fn start(genesis: &Genesis, number: u8, orders: Orders) -> Result<Self, RogueError> {
        let key = Keypair::generate_ed25519();
        let meshing = Meshing { mesh: greedy(), scores: false };
        let behaviour = Behaviour::with_mesh(&key, Role::Native, Some(genesis), &meshing, dummy::Behaviour);
        let mut swarm = swarm(&key, behaviour)?;
        let at = Multiaddr::from(Ipv4Addr::new(127, number, 0, 1)).with(Protocol::Tcp(0));
        swarm.listen_on(at)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with(Protocol::P2p(key.public().to_peer_id()));
            }
        };
        let (_, inbox) = inputs();
        let hash = genesis.hash();
        let ix = PeerIx(number.into());
        let besieger = Besieger::new(script(ix, hash, orders.clone()), (ix, orders));
        let (driver, handle) = Driver::new(swarm, besieger, Unmanned(Instant::now()), inbox, Some(hash));
        let task = tokio::spawn(async move {
            driver.run().await;
        });
        Ok(Self { address, handle, task })
    }

    /// Where it can be dialled, with its id.
    #[must_use]
    pub const fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// From now on it tries to be connected there, again whenever it was shown out.
    ///
    /// # Errors
    /// When it has stopped.
    pub async fn besiege(&self, target: Multiaddr) -> Result<(), CommandError> {
        self.handle.call(Command::Dial(target)).await.map(drop)
    }

    /// In how many peers' meshes for blocks it is.
    ///
    /// # Errors
    /// When it has stopped.
    pub async fn meshes(&self) -> Result<u64, CommandError> {
        match self.handle.call(Command::Metrics).await? {
            Reply::Metrics(snapshot) => Ok(snapshot.mesh.get("block").copied().unwrap_or_default()),
            _ => Err(CommandError::NoChain),
        }
    }
}

impl Drop for Sybil {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state machine in the place of the node: it is where its targets are, and else does what a script says.
struct Besieger<S> {
    script: S,
    targets: BTreeMap<PeerId, Multiaddr>,
    connections: BTreeSet<(PeerId, ConnectionId)>,
    /// When it comes back to those who showed it out.
    come_back: Mono,
    /// Its number, and what it is ordered to do.
    orders: (PeerIx, Orders),
    /// When it next passes on what it was to pass on late.
    release: Option<Mono>,
    outputs: VecDeque<Output>,
}

impl<S: FnMut(Now, Input, &mut Vec<Output>)> Besieger<S> {
    fn new(script: S, orders: (PeerIx, Orders)) -> Self {
        Self {
            script,
            targets: BTreeMap::new(),
            connections: BTreeSet::new(),
            come_back: Mono(0),
            orders,
            release: None,
            outputs: [Topic::Block, Topic::Vote].map(Output::Subscribe).into(),
        }
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.iter().any(|(other, _)| other == peer)
    }

    fn plan(&mut self, now: Now) {
        let (ix, orders) = &self.orders;
        self.release = orders.next_of(*ix).map(|due| now.mono + due.0.saturating_sub(now.wall.0));
    }

    fn command(&mut self, id: CommandId, command: Command) {
        let reply = match command {
            Command::Dial(address) => {
                if let Some(Protocol::P2p(peer)) = address.iter().last() {
                    self.targets.insert(peer, address);
                    self.come_back = Mono(0);
                }
                Ok(Reply::Done)
            }
            // The driver fills in what there is.
            Command::Metrics => Ok(Reply::Metrics(Box::default())),
            _ => Err(CommandError::NoChain),
        };
        self.outputs.push_back(Output::Reply(id, Box::new(reply)));
    }
}

impl<S: FnMut(Now, Input, &mut Vec<Output>)> Machine for Besieger<S> {
    fn handle(&mut self, now: Now, input: Input) {
        match &input {
            Input::Connected { peer, connection, .. } => {
                self.connections.insert((*peer, *connection));
            }
            Input::Disconnected { peer, connection } => {
                self.connections.remove(&(*peer, *connection));
            }
            Input::Command(id, command) => return self.command(*id, command.clone()),
            _ => {}
        }
        let mut outputs = Vec::new();
        (self.script)(now, input, &mut outputs);
        self.outputs.extend(outputs);
        self.plan(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Mono> {
        let come_back = (!self.targets.is_empty()).then_some(self.come_back);
        come_back.into_iter().chain(self.release).min()
    }

    fn handle_timeout(&mut self, now: Now) {
        let (ix, orders) = &self.orders;
        let late = orders.due_of(*ix, now.wall).into_iter();
        self.outputs.extend(late.map(|id| Output::Judge { id, verdict: Verdict::Accept }));
        self.plan(now);
        if now.mono < self.come_back {
            return;
        }
        self.come_back = now.mono + COME_BACK;
        let gone = self.targets.iter().filter(|(peer, _)| !self.is_connected(peer));
        let dials: Vec<_> = gone.map(|(_, address)| Output::Dial(address.clone())).collect();
        self.outputs.extend(dials);
    }
}
