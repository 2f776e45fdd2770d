//! The driver's view of this machine.

use std::{
    marker::PhantomData,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use libp2p::{
    Swarm, dcutr, mdns,
    swarm::{NetworkBehaviour, SwarmEvent},
    upnp,
};
use weft_core::{
    node::{ArchiveId, Input, Job, ReachedBy, WorkId},
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
use crate::{dns::Resolver, lists::ListFetcher};

pub(super) struct NativeShell<X> {
    started: Instant,
    workers: Workers,
    backing: Backing,
    resolver: Resolver,
    lists: ListFetcher,
    /// Whether the addresses it listens on are those others reach it at.
    announce: bool,
    more: PhantomData<fn() -> X>,
}

impl<X> NativeShell<X> {
    pub(super) fn new(
        workers: Workers,
        backing: Backing,
        (resolver, lists): (Resolver, ListFetcher),
        announce: bool,
    ) -> Self {
        Self { started: Instant::now(), workers, backing, resolver, lists, announce, more: PhantomData }
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

    fn fetch_list(&mut self, url: String) {
        self.lists.fetch(url);
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
            SwarmEvent::Behaviour(BehaviourEvent::Extra(event)) => told(event),
            _ => Vec::new(),
        }
    }

    async fn pause(&mut self) {
        tokio::task::yield_now().await;
    }
}

/// What the behaviours that only native peers have tell the node.
fn told<X: NetworkBehaviour>(event: &ExtraEvent<X>) -> Vec<Input> {
    let one = match event {
        ExtraEvent::Mdns(mdns::Event::Discovered(found)) => {
            let found = found.iter().map(|(peer, address)| Input::Discovered {
                peer: *peer,
                address: address.clone(),
                found: Found::Mdns,
            });
            return found.collect();
        }
        ExtraEvent::Probe(tested) => {
            let address = tested.tested_addr.clone();
            match &tested.result {
                Ok(()) => Input::Reachable { address, by: ReachedBy::Test },
                Err(error) => {
                    tracing::debug!(%address, %error, "nobody can dial this peer there");
                    Input::Unreachable(address)
                }
            }
        }
        ExtraEvent::Upnp(upnp::Event::NewExternalAddr { external_addr, .. }) => {
            Input::Reachable { address: external_addr.clone(), by: ReachedBy::Mapping }
        }
        ExtraEvent::Upnp(upnp::Event::ExpiredExternalAddr { external_addr, .. }) => {
            Input::Unreachable(external_addr.clone())
        }
        ExtraEvent::Upnp(upnp::Event::GatewayNotFound) => {
            tracing::debug!("no router here speaks UPnP");
            return Vec::new();
        }
        ExtraEvent::Upnp(upnp::Event::NonRoutableGateway) => {
            tracing::info!("the router speaks UPnP, and is itself behind another one");
            return Vec::new();
        }
        ExtraEvent::Dcutr(dcutr::Event { remote_peer_id, result: Err(error) }) => {
            Input::UpgradeFailed { peer: *remote_peer_id, reason: error.to_string() }
        }
        _ => return Vec::new(),
    };
    vec![one]
}
