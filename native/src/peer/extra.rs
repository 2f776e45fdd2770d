//! The behaviours that native peers have and browsers have not.

use std::io;

use libp2p::{
    PeerId, mdns, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};

use super::{
    probe::Probe,
    punch::{Punch, Refused},
};

/// Which of the behaviours that can be switched off are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    pub(super) mdns: bool,
    pub(super) upnp: bool,
    /// Have others find out whether they can dial this peer.
    pub(super) probe: bool,
}

/// The ways to be reached and to find others nearby, and what else a shell has.
#[derive(NetworkBehaviour)]
pub struct Extra<X: NetworkBehaviour> {
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    probe: Toggle<Probe>,
    relayed: relay::client::Behaviour,
    dcutr: Punch,
    more: X,
}

impl<X: NetworkBehaviour> Extra<X> {
    pub(super) fn new(
        local: PeerId,
        switches: Switches,
        refused: Refused,
        relayed: relay::client::Behaviour,
        more: X,
    ) -> io::Result<Self> {
        let mdns = match switches.mdns {
            true => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), local)?),
            false => None,
        };
        Ok(Self {
            mdns: mdns.into(),
            upnp: switches.upnp.then(upnp::tokio::Behaviour::default).into(),
            probe: switches.probe.then(Probe::default).into(),
            relayed,
            dcutr: Punch::new(local, refused),
            more,
        })
    }
}
