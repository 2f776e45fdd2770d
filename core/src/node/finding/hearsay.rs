//! What peers tell one another of where others are: peer exchange, the hash table and rendezvous.

use libp2p::{Multiaddr, PeerId};

use super::{Finding, is_of, without_peer};
use crate::{
    node::{InboundId, Output, Protocol, RequestFailure, connections::Connections, effects::Effects},
    peers::{
        Bucket, EXCHANGE_ALLOWANCE, EXCHANGE_COST, Found, Group, MAX_RECORDS, Offence, PeerRecord,
        PeersRequest, PeersResponse, Rumour, Scope, is_believable, verify_records,
    },
    primitives::{Held, decode, encode},
};

/// The most peers whose questions are counted.
const MAX_COUNTED: usize = 4096;

impl Finding {
    pub(super) fn held_askers(&self) -> Held {
        Held::new("peers whose questions for peers are counted", self.askers.len(), MAX_COUNTED)
    }

    /// Another peer asks for peers.
    pub(in crate::node) fn asked(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        if !self.discovery.exchange {
            fx.push(Output::Refuse(id));
            return;
        }
        let Ok(request) = decode::<PeersRequest>(body, Protocol::Peers.max_request()) else {
            fx.offend(peer, Offence::Malformed);
            fx.push(Output::Refuse(id));
            return;
        };
        if self.askers.len() >= MAX_COUNTED {
            self.askers.retain(|asker, _| connections.direct_address(asker).is_some());
        }
        let bucket = self.askers.entry(peer).or_insert_with(|| Bucket::new(EXCHANGE_ALLOWANCE));
        let allowed = bucket.take(EXCHANGE_COST, fx.now.mono);
        let mut records = Vec::new();
        if request.chain != self.chain {
            fx.refuse("peers-of-another-chain");
        } else if self.for_blocks.contains(&peer) {
            fx.refuse("peers-asked-on-a-link-for-blocks");
        } else if !allowed {
            fx.refuse("peers-asked-too-often");
        } else {
            let named = request.own.as_ref().and_then(PeerRecord::peer);
            if request.own.is_some() && named != Some(peer) {
                fx.offend(peer, Offence::Unrequested);
            } else if let Some(own) = request.own {
                self.welcome(fx, peer, &own);
                self.told(fx, connections, peer, vec![own]);
            }
            records.extend(self.own_record(fx, connections).cloned());
            records.extend(self.some_guests(fx, &peer));
            let others = self.book.sample(&mut fx.rng, MAX_RECORDS - records.len(), fx.now.wall);
            records.extend(others.into_iter().filter(|record| record.peer() != Some(peer)));
        }
        fx.respond(id, encode(&PeersResponse(records)));
    }

    /// A peer that was asked for others answered.
    pub(in crate::node) fn answered(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        peer: PeerId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        match outcome {
            Ok(bytes) => match decode::<PeersResponse>(&bytes, Protocol::Peers.max_response()) {
                Ok(PeersResponse(records)) => self.told(fx, connections, peer, records),
                Err(_) => fx.offend(peer, Offence::Malformed),
            },
            Err(RequestFailure::TooLarge) => fx.offend(peer, Offence::Unrequested),
            Err(_) => {}
        }
    }

    /// Takes note of what others say of themselves, as `teller` passed it on.
    fn told(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        teller: PeerId,
        records: Vec<PeerRecord>,
    ) {
        // Who has left cannot be asked where it told this from.
        let Some(from) = connections.direct_address(&teller) else { return };
        if verify_records(&records, &self.chain).contains(&false) {
            fx.offend(teller, Offence::BadSignature);
            return;
        }
        for record in records {
            let Some(peer) = record.peer().filter(|peer| *peer != self.local) else { continue };
            if !record.is_timely(fx.now.wall) {
                fx.refuse("peer-record-out-of-date");
                continue;
            }
            let addresses = self.believed(from, &peer, &record.addresses());
            if addresses.is_empty() {
                if !self.guests.contains_key(&peer) {
                    fx.refuse("peer-record-without-use");
                }
                continue;
            }
            let teller = Group::of(from);
            let rumour = Rumour { peer, addresses, record: Some(record), found: Found::Exchange, teller };
            if !self.book.heard(rumour, fx.now.wall) {
                fx.refuse("address-book-full");
            }
        }
        self.dirty(fx);
        self.look_soon(fx);
    }

    /// Those of a peer's addresses that somebody who is connected from `from` can tell of: no nearer than itself, and such as can be
    /// dialled here.
    fn believed(&self, from: &Multiaddr, peer: &PeerId, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let scope = Scope::of(from).unwrap_or(Scope::World);
        let own = addresses.iter().filter(|address| is_of(address, peer));
        own.map(without_peer).filter(|address| is_believable(self.role, address, scope)).collect()
    }

    /// A peer is in the table of the distributed hash table. It has answered there, and says itself where it is.
    pub(in crate::node) fn met_in_table(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        peer: PeerId,
        address: Multiaddr,
    ) {
        self.heard_of(fx, connections, (peer, Found::Dht), peer, &[address]);
    }

    /// A peer that another one wrote down as it was told, as at a rendezvous.
    pub(in crate::node) fn met(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        teller: PeerId,
        peer: PeerId,
        addresses: &[Multiaddr],
    ) {
        self.heard_of(fx, connections, (teller, Found::Rendezvous), peer, addresses);
    }

    /// A connected peer has told where somebody is who did not sign it.
    fn heard_of(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        (teller, found): (PeerId, Found),
        peer: PeerId,
        addresses: &[Multiaddr],
    ) {
        // Who has left cannot be asked where it told this from.
        let Some(from) = connections.direct_address(&teller) else { return };
        let addresses = self.believed(from, &peer, addresses);
        if addresses.is_empty() {
            // One that only peers of another kind can dial, or nearer than its teller.
            fx.refuse("address-without-use");
            return;
        }
        let rumour = Rumour { peer, addresses, record: None, found, teller: Group::of(from) };
        if !self.book.heard(rumour, fx.now.wall) {
            fx.refuse("address-book-full");
        }
        self.dirty(fx);
        self.look_soon(fx);
    }
}
