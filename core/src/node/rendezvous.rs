//! Meeting at a rendezvous: peers of a chain register with a relay that both can reach, and ask it who else has (libp2p's
//! `/rendezvous/1.0.0`, under the namespace `weft/<chain>`). A relay keeps the [place](Point), and everybody comes to it.
//!
//! What is found is a rumour like any other: signed by whom it is about, and still to be tried. The messages are our own reading of
//! libp2p's, since its behaviours cannot be told who is to be asked when, and a client of its ends with a panic at some answers.

mod message;
mod point;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use libp2p::PeerId;

pub(super) use self::message::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};
use self::{message::MAX_TOLD, point::Point};
pub use self::{
    message::{Refusal, Registration, Request, Response},
    record::{RecordFault, sign, verify},
};
use super::{
    InboundId, Output, Protocol, RequestFailure,
    connections::Connections,
    effects::{Ask, Effects},
    finding::Finding,
};
use crate::{
    peers::{Group, Offence, Role},
    primitives::{Hash, Held, Mono, SecretKey},
};

/// How long after its arrival a relay is asked, and how much later by lot.
const FIRST_MILLIS: u64 = 300;
const SPREAD_MILLIS: u64 = 1_000;
/// When to register again after a refusal.
const RETRY_MILLIS: u64 = 60 * 1000;
/// While connections are missing it is asked who is there after ever longer, and else after the last.
const FIRST_PAUSE_MILLIS: u64 = 2 * 1000;
const LAST_PAUSE_MILLIS: u64 = 5 * 60 * 1000;
/// For how long a registration is asked; a tab is gone sooner. It is renewed after half of it.
const NATIVE_SECONDS: u64 = 2 * 60 * 60;
const BROWSER_SECONDS: u64 = 10 * 60;
/// The most relays that are come to.
const MAX_POINTS: usize = 8;

/// The name of the protocol.
pub(crate) const RENDEZVOUS_PROTOCOL: &str = "/rendezvous/1.0.0";

/// A relay that is come to.
struct Met {
    register: Mono,
    discover: Mono,
    pause: u64,
    /// What it said to be told only of who came since.
    cookie: Vec<u8>,
}

pub(super) struct Rendezvous {
    local: PeerId,
    role: Role,
    key: Option<SecretKey>,
    namespace: String,
    on: bool,
    point: Option<Point>,
    met: BTreeMap<PeerId, Met>,
}

impl Rendezvous {
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.point.iter().flat_map(Point::held)
    }

    pub(super) fn new(
        (local, role): (PeerId, Role),
        key: Option<SecretKey>,
        chain: Option<Hash>,
        on: bool,
        fx: &mut Effects,
    ) -> Self {
        let namespace = chain.map(|chain| format!("weft/{}", chain.short()));
        let on = on && namespace.is_some();
        let namespace = namespace.unwrap_or_default();
        let point =
            (on && role == Role::Relay).then(|| Point::new(namespace.clone(), (fx.random() >> 32) as u32));
        Self { local, role, key, namespace, on, point, met: BTreeMap::new() }
    }

    /// A peer said what it speaks; `dialled` if it can be asked, and we came to it: strangers that came to us could take all places.
    pub(super) fn identified(&mut self, fx: &mut Effects, peer: PeerId, protocols: &[String], dialled: bool) {
        let is_point = dialled && protocols.iter().any(|name| name == RENDEZVOUS_PROTOCOL);
        if self.on && is_point && self.met.len() < MAX_POINTS && !self.met.contains_key(&peer) {
            let soon = soon(fx);
            let met = Met { register: soon, discover: soon, pause: FIRST_PAUSE_MILLIS, cookie: Vec::new() };
            self.met.insert(peer, met);
        }
    }

    pub(super) fn peer_left(&mut self, peer: &PeerId) {
        self.met.remove(peer);
    }

    /// Others reach us in a new way, or in one way less.
    pub(super) fn moved(&mut self, fx: &mut Effects) {
        if self.met.is_empty() {
            return;
        }
        let soon = soon(fx);
        for met in self.met.values_mut() {
            met.register = met.register.min(soon);
        }
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.met.values().map(|met| met.register.min(met.discover)).min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, fx: &mut Effects, finding: &Finding, connections: &Connections) {
        let now = fx.now.mono;
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        let record = self.record(fx, finding, connections);
        let missing = finding.missing(connections) > 0;
        for (peer, met) in &mut self.met {
            if met.register <= now {
                met.register = now + RETRY_MILLIS;
                if let Some(record) = record.clone() {
                    let (namespace, seconds) = (self.namespace.clone(), Some(seconds(self.role)));
                    let request = Request::Register { namespace, record, seconds };
                    fx.ask(*peer, Protocol::Rendezvous, Ask::Register, request.to_bytes());
                }
            }
            if met.discover <= now {
                met.pause = if missing { (2 * met.pause).min(LAST_PAUSE_MILLIS) } else { LAST_PAUSE_MILLIS };
                met.discover = now + met.pause;
                let request = Request::Discover {
                    namespace: Some(self.namespace.clone()),
                    limit: Some(MAX_TOLD as u64),
                    cookie: met.cookie.clone(),
                };
                fx.ask(*peer, Protocol::Rendezvous, Ask::Discover, request.to_bytes());
            }
        }
    }

    /// What we say of ourselves; nothing while nobody can reach us.
    fn record(&self, fx: &Effects, finding: &Finding, connections: &Connections) -> Option<Vec<u8>> {
        let addresses = finding.own_addresses(connections);
        let key = self.key.as_ref().filter(|_| !addresses.is_empty())?;
        Some(sign(key, &self.local, fx.now.wall, &addresses))
    }

    /// A peer comes to the place that we keep.
    pub(super) fn asked(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        let Ok(request) = Request::from_bytes(body) else {
            fx.offend(peer, Offence::Malformed);
            fx.push(Output::Refuse(id));
            return;
        };
        let Some((point, at)) = self.point.as_mut().zip(connections.direct_address(&peer)) else {
            fx.push(Output::Refuse(id));
            return;
        };
        match point.asked(fx, peer, Group::of(at), request) {
            Some(response) => fx.respond(id, response.to_bytes()),
            None => fx.push(Output::Refuse(id)),
        }
    }

    /// A relay answered, or will not.
    pub(super) fn answered(
        &mut self,
        fx: &mut Effects,
        finding: &mut Finding,
        connections: &Connections,
        (peer, ask): (PeerId, &Ask),
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let response = match outcome.map(|bytes| Response::from_bytes(&bytes)) {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return fx.offend(peer, Offence::Malformed),
            Err(RequestFailure::TooLarge) => return fx.offend(peer, Offence::Unrequested),
            Err(failure) => {
                tracing::debug!(%peer, %failure, "no answer at the rendezvous");
                return;
            }
        };
        match (ask, response) {
            (Ask::Register, Response::Registered(Ok(granted))) => {
                if let Some(met) = self.met.get_mut(&peer) {
                    // Whatever it says, it is renewed within the time that was asked for.
                    let half = granted.min(seconds(self.role)) * 500;
                    met.register = fx.now.mono + half.max(RETRY_MILLIS / 2);
                }
            }
            (Ask::Discover, Response::Discovered(Ok((registrations, cookie)))) => {
                for told in registrations {
                    if told.namespace != self.namespace {
                        return fx.offend(peer, Offence::Unrequested);
                    }
                    match verify(&told.record) {
                        Ok((of, addresses)) if of != self.local => {
                            finding.met(fx, connections, peer, of, &addresses);
                        }
                        Ok(_) => {}
                        Err(RecordFault::Unread) => fx.refuse("rendezvous-record-unread"),
                        // The relay was to check it.
                        Err(RecordFault::Forged) => return fx.offend(peer, Offence::BadSignature),
                    }
                }
                if let Some(met) = self.met.get_mut(&peer) {
                    met.cookie = cookie;
                }
            }
            (Ask::Register, Response::Registered(Err(refusal)))
            | (Ask::Discover, Response::Discovered(Err(refusal))) => {
                fx.refuse("rendezvous-refused-us");
                tracing::debug!(%peer, code = refusal.0, "refused at the rendezvous");
            }
            _ => fx.offend(peer, Offence::Unrequested),
        }
    }
}

/// For how long a peer of this kind registers.
const fn seconds(role: Role) -> u64 {
    match role {
        Role::Browser => BROWSER_SECONDS,
        Role::Native | Role::Relay => NATIVE_SECONDS,
    }
}

fn soon(fx: &mut Effects) -> Mono {
    let lot = fx.random() % SPREAD_MILLIS;
    fx.now.mono + FIRST_MILLIS + lot
}
