//! The driver's view of this machine.

use std::{
    marker::PhantomData,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use libp2p::{
    Swarm, mdns,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use weft_core::{
    node::{ArchiveId, Input, Job, WorkId},
    peers::Found,
    primitives::{Mono, Now, Wall},
    store::{ArchiveRequest, Seq},
    swarm::{Behaviour, BehaviourEvent, Shell},
};

use super::{
    extra::{Extra, ExtraEvent},
    storage::Backing,
    workers::Workers,
};
use crate::dns::Resolver;

pub(super) struct NativeShell<X> {
    started: Instant,
    workers: Workers,
    backing: Backing,
    resolver: Resolver,
    /// Whether the addresses it listens on are those others reach it at.
    announce: bool,
    more: PhantomData<fn() -> X>,
}

impl<X> NativeShell<X> {
    pub(super) fn new(workers: Workers, backing: Backing, resolver: Resolver, announce: bool) -> Self {
        Self { started: Instant::now(), workers, backing, resolver, announce, more: PhantomData }
    }
}

impl<X: NetworkBehaviour> Shell for NativeShell<X> {
    type Extra = Extra<X>;

    fn now(&self) -> Now {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Now {
            mono: Mono(millis(self.started.elapsed())),
            // A clock before 1970 is a clock not set.
            wall: Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
        }
    }

    fn work(&mut self, id: WorkId, job: Job) {
        self.workers.run(id, job);
    }

    fn archive(&mut self, id: ArchiveId, request: ArchiveRequest) {
        self.backing.archive(id, request);
    }

    fn flush(&mut self, seq: Seq) {
        self.backing.flush(seq);
    }

    fn resolve(&mut self, name: String) {
        self.resolver.texts(name);
    }

    fn observe(
        &mut self,
        swarm: &mut Swarm<Behaviour<Self::Extra>>,
        event: &SwarmEvent<BehaviourEvent<Self::Extra>>,
    ) -> Vec<Input> {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                if self.announce {
                    swarm.add_external_address(address.clone());
                }
                Vec::new()
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if self.announce {
                    swarm.remove_external_address(address);
                }
                Vec::new()
            }
            SwarmEvent::Behaviour(BehaviourEvent::Extra(ExtraEvent::Mdns(mdns::Event::Discovered(
                found,
            )))) => found
                .iter()
                .map(|(peer, address)| Input::Discovered {
                    peer: *peer,
                    address: address.clone(),
                    found: Found::Mdns,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    async fn pause(&mut self) {
        tokio::task::yield_now().await;
    }
}
