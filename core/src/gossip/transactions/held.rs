//! How much the relay holds.

use super::{
    MAX_IN_CHECK, MAX_IN_FLIGHT, MAX_KNOWN, MAX_NOTICES, MAX_OFFERS, MAX_OUTBOX_BYTES, MAX_OUTBOX_COUNT,
    MAX_REFUSED, MAX_SYMBOLS, TransactionRelay, peer::Peer,
};
use crate::primitives::Held;

impl TransactionRelay {
    /// How much is held of what peers bring.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let most = |of: fn(&Peer) -> usize| self.peers.values().map(of).max().unwrap_or(0);
        let (count, bytes) = (most(|peer| peer.outbox.len()), most(|peer| peer.outbox.bytes()));
        let served = most(|peer| peer.served.as_ref().map_or(0, |served| served.symbols.len()));
        [
            Held::new("transactions in check", self.checks.len(), MAX_IN_CHECK),
            Held::new("ids met", self.met.len(), MAX_KNOWN),
            Held::new("refusals remembered", self.refused.len(), MAX_REFUSED),
            Held::new("ids known of a peer", most(|peer| peer.known.len()), MAX_KNOWN),
            Held::new("announcements of a peer", most(|peer| peer.offers.len()), MAX_OFFERS),
            Held::new("notices for a peer", most(|peer| peer.notices.len()), MAX_NOTICES),
            Held::new("transactions for a peer", count, MAX_OUTBOX_COUNT),
            Held::new("bytes for a peer", bytes, MAX_OUTBOX_BYTES),
            Held::new("pushes and announcements to a peer", most(|peer| peer.sending), MAX_IN_FLIGHT),
            Held::new("symbols for a peer", served, MAX_SYMBOLS),
            self.allowances.held("peers whose allowance of transactions is remembered"),
        ]
        .into_iter()
    }
}
