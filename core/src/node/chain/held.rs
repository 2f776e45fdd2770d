//! How much of what strangers bring is held.

use super::{
    Chain, MAX_WAITING_BYTES, blocks::MAX_HELD, download::MAX_HEADERS_AHEAD, finality::MAX_VOTES_IN_LINE,
    light::MAX_TIP, pivots::MAX_PIVOTS, pool::MAX_OWN, serve::MAX_SERVING_ALL,
};
use crate::primitives::Held;

impl Chain {
    pub(in crate::node) fn held(&self) -> impl Iterator<Item = Held> {
        let own = [
            Held::new("bytes in the mempool", self.mempool.bytes(), self.mempool_bytes),
            Held::new("own transactions", self.own.len(), MAX_OWN),
            Held::new("bytes of bodies that wait", self.waiting_bytes(), MAX_WAITING_BYTES),
            Held::new("blocks of slots to come", self.held.len(), MAX_HELD),
            Held::new("reads for peers", self.serving.values().sum(), MAX_SERVING_ALL),
            Held::new("headers ahead of execution", self.download.ahead(), MAX_HEADERS_AHEAD),
            Held::new("votes in line", self.gadget.in_line(), MAX_VOTES_IN_LINE),
            Held::new("checkpoints whose accounts are served", self.pivots.served(), MAX_PIVOTS),
            self.gadget.pool.held(),
        ];
        let tip = self.light.as_ref().and_then(|light| light.tip_tree());
        let tip = tip.map(|tree| Held::new("headers above the proven checkpoint", tree.count(), MAX_TIP));
        let own = own.into_iter().chain(tip);
        own.chain(self.compact.held()).chain(self.relay.held())
    }
}
