//! Looking after the chain: what follows from whatever happened, and when something has to be done though nothing happens.
//!
//! On a busy chain nearly all that happens concerns transactions only. After that no more than the transaction relay is looked
//! after, unless something else is due by then, which each part says whenever it is looked after.

use std::sync::Arc;

use super::Chain;
use crate::{
    chain::{Block, ConsensusRecord, Transaction, Vote},
    node::{CommandError, CommandId, NEVER, Reply, effects::Effects},
    primitives::{Height, Mono, Now, Slot, Wall},
    state::Executed,
};

/// What happens once a batch is durable.
pub(super) enum Promise {
    /// Our own block may leave.
    Publish(Box<Block>, Box<Executed>, Arc<ConsensusRecord>),
    /// Our own vote may leave.
    Vote(Box<Vote>),
    /// What we ask for by ballot is written down.
    Wished(CommandId),
    /// Blocks below this height may be forgotten.
    Prune(Height),
    /// Our own transaction is accepted, and may leave.
    Accepted(CommandId, Box<Transaction>),
}

/// When something beside the transaction relay has to be done. At first that is at once.
#[derive(Default)]
pub(super) struct Agenda {
    /// What follows the slots, by the clock on the wall, which may be set, and is a millisecond off the other one now and then.
    slots: Wall,
    /// Everything else; later than anything if never.
    others: Mono,
}

impl Agenda {
    fn is_due(&self, now: Now) -> bool {
        self.others <= now.mono || self.slots <= now.wall
    }
}

impl Chain {
    /// What follows from whatever has happened, which may have concerned `transactions_only`, or was nothing but time that passed.
    pub(in crate::node) fn settle(&mut self, fx: &mut Effects, transactions_only: bool) {
        let kept = match fx.storage_failed.clone() {
            Some(reason) => self.break_promises(fx, &reason),
            None => self.keep_promises(fx),
        };
        if transactions_only && !kept && !self.agenda.is_due(fx.now) {
            self.relay_transactions(fx);
        } else {
            self.tick(fx);
        }
        // A store that is durable at once has kept what was promised just now.
        if self.keep_promises(fx) {
            self.look_ahead(fx);
        }
    }

    /// Something has changed from outside: everything is looked after the next time.
    pub(in crate::node) fn hurry(&mut self) {
        self.agenda = Agenda::default();
    }

    /// Keeps what was promised, as far as the disk has got. Returns whether anything was.
    fn keep_promises(&mut self, fx: &mut Effects) -> bool {
        if self.promises.is_empty() {
            return false;
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.promises).into_iter().partition(|(seq, _)| fx.is_durable(*seq));
        self.promises = later;
        let kept = !due.is_empty();
        for (_, promise) in due {
            match promise {
                Promise::Publish(block, executed, record) => self.publish(fx, *block, *executed, record),
                Promise::Vote(vote) => self.publish_vote(fx, *vote),
                Promise::Prune(below) => self.forget_pruned(fx, below),
                Promise::Wished(command) => fx.reply(command, Ok(Reply::Done)),
                Promise::Accepted(command, transaction) => self.own_accepted(fx, command, *transaction),
            }
        }
        kept
    }

    /// Nothing more can be promised: whoever waits is told so. Returns whether anything was promised.
    fn break_promises(&mut self, fx: &mut Effects, reason: &str) -> bool {
        let broken = std::mem::take(&mut self.promises);
        let any = !broken.is_empty();
        for (_, promise) in broken {
            if let Promise::Accepted(command, _) | Promise::Wished(command) = promise {
                fx.reply(command, Err(CommandError::Storage(reason.to_owned())));
            }
        }
        any
    }

    /// Does all that is due.
    fn tick(&mut self, fx: &mut Effects) {
        self.release_held(fx);
        self.compact_tick(fx);
        if self.runs() {
            self.propose(fx);
            self.seek_tick(fx);
            self.download(fx);
        }
        self.light_tick(fx);
        self.backfill_tick(fx);
        self.relay_transactions(fx);
        self.look_ahead(fx);
    }

    fn look_ahead(&mut self, fx: &Effects) {
        let late = self.seek_late(fx).filter(|_| self.runs());
        let slots = late.into_iter().fold(self.next_wake(fx), Wall::min);
        self.agenda = Agenda { slots, others: self.others_due(fx) };
    }

    /// When [`Self::settle`] has something to do.
    pub(in crate::node) fn next_due(&self, fx: &Effects) -> Mono {
        debug_assert!(
            self.agenda.is_due(fx.now) || self.agenda.others == self.others_due(fx),
            "a part of the chain wants to be looked after earlier or later than it said"
        );
        let slots = fx.now.mono + self.agenda.slots.0.saturating_sub(fx.now.wall.0);
        let others = slots.min(self.agenda.others);
        self.relay.poll_timeout().map_or(others, |relay| relay.min(others))
    }

    /// Whether this peer takes part in the chain.
    fn runs(&self) -> bool {
        !self.starting && !self.is_halted()
    }

    /// A held block may be judged a quarter slot early, and a proposer may have waited half a slot.
    fn next_wake(&self, fx: &Effects) -> Wall {
        let now = fx.now.wall;
        let next_slot = self.genesis.slot_start(Slot(self.slot(fx).0 + 1)).0;
        let quarter = self.genesis.slot_millis / 4;
        let wakes = [next_slot.saturating_sub(2 * quarter), next_slot.saturating_sub(quarter), next_slot];
        Wall(wakes.into_iter().find(|at| *at > now.0).unwrap_or(now.0 + 1))
    }

    fn others_due(&self, fx: &Effects) -> Mono {
        let download = self.download.next_due().filter(|_| self.runs());
        let seek = self.seek_due().filter(|_| self.runs());
        let others = [download, seek, self.light_due(fx), self.backfill_due(fx), self.compact_due()];
        others.into_iter().flatten().min().unwrap_or(NEVER)
    }
}
