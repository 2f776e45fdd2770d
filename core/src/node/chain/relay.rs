//! Transactions: what is said to other peers about them, and heard from them.

use libp2p::PeerId;

use super::Chain;
use crate::{
    gossip::{Intake, OutgoingId, RelayCounts},
    node::{
        InboundId, Output, Protocol, RequestFailure,
        effects::{Ask, Effects},
    },
    peers::Offence,
};

impl Chain {
    /// A message on `/tx/1`.
    pub(in crate::node) fn transactions_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        let Ok(answer) = self.relay.request(&peer, body, &self.mempool, fx.now.mono) else {
            fx.offend(peer, Offence::Malformed);
            fx.push(Output::Refuse(id));
            return;
        };
        if let Some(offence) = answer.offence {
            fx.offend(peer, offence);
        }
        fx.respond(id, answer.response);
        self.consider(fx, peer, answer.check);
    }

    /// Says to others what is due.
    pub(super) fn relay_transactions(&mut self, fx: &mut Effects) {
        let (intake, now) = (self.intake(), fx.now.mono);
        self.relay.set_intake(intake, now);
        self.relay.set_min_fee_rate(self.mempool.min_fee_rate(self.next_slot(fx)));
        while let Some(outgoing) = self.relay.poll(&self.mempool, now) {
            fx.ask(outgoing.peer, Protocol::Transactions, Ask::Transactions(outgoing.id), outgoing.body);
        }
    }

    /// What this peer can judge.
    fn intake(&self) -> Intake {
        if self.is_light() {
            Intake::Nothing
        } else if self.starting {
            Intake::Later
        } else {
            Intake::All
        }
    }

    /// An answer on `/tx/1`.
    pub(in crate::node) fn transactions_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        id: OutgoingId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let now = fx.now.mono;
        match outcome {
            Ok(body) => {
                let answered = self.relay.answered(id, &body, &self.mempool, now);
                if let Some(error) = answered.error {
                    fx.offend(peer, error.offence());
                }
                self.consider(fx, peer, answered.check);
            }
            Err(RequestFailure::Unsupported) => self.relay.unsupported(id, now),
            Err(_) => self.relay.failed(id, now),
        }
    }

    /// A newcomer is told of our own transactions. Of the others the relay tells it.
    pub(super) fn introduce(&mut self, fx: &Effects, peer: &PeerId) {
        let (light, pool) = (self.is_light(), &self.mempool);
        for own in self.own.values().filter(|own| light || pool.is_pending(&own.id())) {
            self.relay.forward_to(peer, own, fx.now.mono);
        }
    }

    /// What the relay did so far.
    pub(in crate::node) const fn relay_counts(&self) -> RelayCounts {
        self.relay.counts()
    }
}
