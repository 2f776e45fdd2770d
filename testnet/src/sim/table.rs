//! The distributed hash table as nodes would wish it: one table for the whole world, that knows all it was told and answers at once.
//! Kademlia itself is libp2p's and not simulated; what nodes do with its answers is.

use std::collections::{BTreeMap, BTreeSet};

use weft_core::{
    node::{DhtAnswer, DhtFailure, DhtQuery},
    primitives::Hash,
};

use super::{event::Micros, peer::PeerIx, scripts::Scripts, world::World};

/// What a lookup takes.
pub(super) const LOOKUP: Micros = 300_000;
/// The most providers that a lookup finds.
const MAX_PROVIDERS: usize = 20;

/// Who provides what.
#[derive(Default)]
pub(super) struct Table(BTreeMap<Hash, BTreeSet<PeerIx>>);

impl<S: Scripts> World<S> {
    /// From now on there is a distributed hash table. Without it, every lookup fails.
    ///
    /// # Panics
    /// When the world is in halves, which would have one each.
    pub fn with_table(&mut self) {
        assert!(self.halves.is_none(), "halves share no table");
        self.table.get_or_insert_default();
    }

    /// Who has said that they have what this key names.
    #[must_use]
    pub fn providers(&self, key: &Hash) -> BTreeSet<PeerIx> {
        self.table.as_ref().and_then(|table| table.0.get(key).cloned()).unwrap_or_default()
    }

    pub(super) fn look_up(&mut self, ix: PeerIx, query: DhtQuery) -> Result<DhtAnswer, DhtFailure> {
        let Some(table) = &mut self.table else { return Err(DhtFailure::Off) };
        if self.peers[ix.0].links.is_empty() {
            return Err(DhtFailure::Alone);
        }
        match query {
            DhtQuery::Refresh => Ok(DhtAnswer::Done),
            DhtQuery::Provide(key) => {
                table.0.entry(key).or_default().insert(ix);
                Ok(DhtAnswer::Done)
            }
            DhtQuery::Withdraw(key) => {
                table.0.entry(key).or_default().remove(&ix);
                Ok(DhtAnswer::Done)
            }
            DhtQuery::Providers(key) => {
                let who = table.0.get(&key).into_iter().flatten().take(MAX_PROVIDERS);
                Ok(DhtAnswer::Providers(who.map(|ix| self.peers[ix.0].id).collect()))
            }
            DhtQuery::FindPeer(peer) => {
                let at = self.by_id.get(&peer).filter(|ix| self.peers[ix.0].is_up());
                Ok(DhtAnswer::At(at.map(|ix| self.address(*ix)).into_iter().collect()))
            }
            DhtQuery::Trace(_) => Err(DhtFailure::Off),
        }
    }
}
