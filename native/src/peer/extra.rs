//! The behaviours that native peers have and browsers have not.

use std::io;

use libp2p::{
    PeerId,
    connection_limits::{self, ConnectionLimits},
    dcutr, mdns, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};

use super::probe::Probe;

/// How many connections a peer takes. One costs about 100 KiB when idle and up to a few MiB under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Dialled by others.
    pub inbound: u32,
    /// Dialled by this peer.
    pub outbound: u32,
    /// Not secured yet, each way. They cost others nothing, so there are few.
    pub pending: u32,
    /// To one peer: a direct one, a relayed one, and as many again while they are being replaced.
    pub per_peer: u32,
}

impl Limits {
    /// For a peer among others: ten times a full gossip mesh.
    pub const PEER: Self = Self { inbound: 120, outbound: 60, pending: 60, per_peer: 4 };

    /// The most peers that stay because they connected to us. The rest of [`Self::inbound`] is for newcomers, until somebody has left
    /// for them, and for further connections of the same.
    pub(super) fn guests(self) -> usize {
        let spare = self.inbound / 8;
        usize::try_from(self.inbound - spare).unwrap_or(usize::MAX)
    }

    /// For a relay: each of its reservations is a connection, and about as many peers come by without one.
    pub const RELAY: Self = Self { inbound: 2048, outbound: 120, pending: 256, per_peer: 4 };
}

/// Which of the behaviours that can be switched off are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    pub(super) mdns: bool,
    pub(super) upnp: bool,
    /// Have others find out whether they can dial this peer.
    pub(super) probe: bool,
}

/// Connection limits, the ways to be reached and to find others nearby, and what else a shell has.
#[derive(NetworkBehaviour)]
pub struct Extra<X: NetworkBehaviour> {
    limits: connection_limits::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    probe: Toggle<Probe>,
    relayed: relay::client::Behaviour,
    dcutr: dcutr::Behaviour,
    more: X,
}

impl<X: NetworkBehaviour> Extra<X> {
    pub(super) fn new(
        local: PeerId,
        switches: Switches,
        limits: Limits,
        relayed: relay::client::Behaviour,
        more: X,
    ) -> io::Result<Self> {
        let mdns = match switches.mdns {
            true => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), local)?),
            false => None,
        };
        let limits = ConnectionLimits::default()
            .with_max_established_incoming(Some(limits.inbound))
            .with_max_established_outgoing(Some(limits.outbound))
            .with_max_pending_incoming(Some(limits.pending))
            .with_max_pending_outgoing(Some(limits.pending))
            .with_max_established_per_peer(Some(limits.per_peer));
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            mdns: mdns.into(),
            upnp: switches.upnp.then(upnp::tokio::Behaviour::default).into(),
            probe: switches.probe.then(Probe::default).into(),
            relayed,
            dcutr: dcutr::Behaviour::new(local),
            more,
        })
    }
}
