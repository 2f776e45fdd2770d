//! What an authority asks for by ballot, and what people are shown of the set.

use super::{Chain, Promise, storage};
use crate::{
    chain::{AuthoritySet, Ballot, Change, ConsensusRecord, SystemItem},
    node::{AuthoritiesView, AuthorityView, BallotView, CommandError, CommandId, effects::Effects},
    primitives::encode,
    store::Batch,
};

impl Chain {
    /// The ballot that our next block should carry: what we wish for, unless that is our open ballot already.
    pub(super) fn own_ballot(&self, fx: &Effects, record: &ConsensusRecord) -> Option<SystemItem> {
        let (change, proposer) = (self.gadget.wish.as_ref()?, self.proposer.as_ref()?);
        let by = proposer.public();
        let open = record.open_ballot(&by);
        if open.is_some_and(|open| open.change == *change) {
            return None;
        }
        let serial = open.map_or(0, |open| open.serial.saturating_add(1)).max(self.slot(fx).0);
        let content = Ballot { set_id: record.set.id, serial, by, change: change.clone() };
        record.admits_ballot(&content).ok()?;
        Some(SystemItem::Ballot(proposer.ballot(content, &self.id)))
    }

    /// A person wants this peer's authority to ask for a change. It goes into our own blocks until it is so.
    pub(in crate::node) fn wish(&mut self, fx: &mut Effects, id: CommandId, change: Change) {
        let record = self.tree.record(&self.tree.head()).expect("the head is in the tree");
        let authority = self.validator().filter(|key| record.set.contains(key));
        let refusal = if self.starting {
            Some(CommandError::Starting)
        } else if let Some(reason) = &fx.storage_failed {
            Some(CommandError::Storage(reason.clone()))
        } else if authority.is_none() {
            Some(CommandError::NoAuthority)
        } else if !record.set.admits(&change) {
            Some(CommandError::NoSuchChange)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            fx.reply(id, Err(refusal));
            return;
        }
        let mut batch = Batch::default();
        batch.put(storage::WISH, [], encode(&change));
        self.gadget.wish = Some(change);
        let seq = fx.apply_now(batch);
        self.promises.push((seq, Promise::Wished(id)));
    }

    /// Drops a wish that has come true, or can no longer.
    pub(super) fn review_wish(&mut self, fx: &mut Effects) {
        let Some(record) = self.tree.record(&self.tree.finalised()) else { return };
        if self.gadget.wish.as_ref().is_some_and(|change| !record.set.admits(change)) {
            self.gadget.wish = None;
            let mut batch = Batch::default();
            batch.delete(storage::WISH, []);
            fx.apply(batch);
        }
    }

    pub(in crate::node) fn authorities_view(&self) -> AuthoritiesView {
        let (record, finalised) = match &self.light {
            Some(light) => (&light.proven().record, light.header().height()),
            None => {
                let record = self.tree.record(&self.tree.head()).expect("the head is in the tree");
                (&**record, self.finalised_height())
            }
        };
        let view = |set: &AuthoritySet| -> Vec<AuthorityView> {
            let shown = set.authorities.iter();
            shown.map(|one| AuthorityView { key: one.key, fee_address: one.fee_address }).collect()
        };
        AuthoritiesView {
            set_id: record.set.id,
            authorities: view(&record.set),
            outgoing: record.outgoing.as_ref().map(|outgoing| view(&outgoing.set)).unwrap_or_default(),
            pending: record.pending.as_ref().map(|pending| view(&pending.set)).unwrap_or_default(),
            ballots: record
                .ballots
                .iter()
                .map(|open| BallotView { by: open.by, change: open.change.clone() })
                .collect(),
            wish: self.gadget.wish.clone(),
            justified: record.justified.height,
            finalised,
        }
    }
}
