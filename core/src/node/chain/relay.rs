//! Transactions: what is said to other peers about them, and heard from them.

use libp2p::PeerId;

use super::Chain;
use crate::{
    gossip::{AnswerError, PushId, TxRefusal, TxResponse},
    node::{
        InboundId, Output, Protocol, RequestFailure,
        effects::{Ask, Effects},
    },
    peers::Offence,
    primitives::Hash,
};

/// The most transactions, besides our own, that a newly connected peer is told of: about one block of a quiet chain.
const MAX_INTRODUCED: usize = 1024;

impl Chain {
    /// A message on `/tx/1`.
    pub(in crate::node) fn transactions_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        if self.starting {
            fx.respond(id, TxResponse::Refused(TxRefusal::Busy).to_bytes());
            return;
        }
        let held = |id: &Hash| self.mempool.contains(id);
        let Ok(answer) = self.relay.request(&peer, body, held, fx.now.mono) else {
            fx.offend(peer, Offence::Malformed);
            fx.push(Output::Refuse(id));
            return;
        };
        fx.respond(id, answer.response);
        self.consider(fx, answer.check);
    }

    pub(super) fn push_transactions(&mut self, fx: &mut Effects) {
        while let Some(push) = self.relay.poll(fx.now.mono) {
            fx.ask(push.peer, Protocol::Transactions, Ask::Transactions(push.id), push.body);
        }
    }

    /// An answer on `/tx/1`.
    pub(in crate::node) fn transactions_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        push: PushId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        match outcome {
            Ok(body) => match self.relay.answered(push, &body, fx.now.mono) {
                Ok(()) => {}
                Err(AnswerError::Unexpected) => fx.offend(peer, Offence::Unrequested),
                Err(AnswerError::Malformed(_)) => fx.offend(peer, Offence::Malformed),
            },
            Err(RequestFailure::Unsupported) => self.relay.unsupported(push),
            Err(_) => self.relay.failed(push, fx.now.mono),
        }
    }

    /// A newcomer is told of our own transactions, and of the best of the others.
    pub(super) fn introduce(&mut self, fx: &Effects, peer: &PeerId) {
        let best = self.mempool.iter_best().take(MAX_INTRODUCED).map(|(_, transaction)| transaction);
        let (light, pool) = (self.is_light(), &self.mempool);
        let own = self.own.values().filter(|own| light || pool.contains(&own.id()));
        for transaction in best.chain(own) {
            self.relay.forward_to(peer, transaction, fx.now.mono);
        }
    }
}
