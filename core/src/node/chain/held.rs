//! How much of what strangers bring is held.

use super::{Chain, MAX_WAITING_BYTES, blocks::MAX_HELD, pool::MAX_OWN, serve::MAX_SERVING_ALL};
use crate::primitives::Held;

impl Chain {
    pub(in crate::node) fn held(&self) -> impl Iterator<Item = Held> {
        let own = [
            Held::new("bytes in the mempool", self.mempool.bytes(), self.mempool_bytes),
            Held::new("own transactions", self.own.len(), MAX_OWN),
            Held::new("bytes of bodies that wait", self.waiting_bytes(), MAX_WAITING_BYTES),
            Held::new("blocks of slots to come", self.held.len(), MAX_HELD),
            Held::new("reads for peers", self.serving.values().sum(), MAX_SERVING_ALL),
        ];
        own.into_iter().chain(self.compact.held()).chain(self.relay.held())
    }
}
