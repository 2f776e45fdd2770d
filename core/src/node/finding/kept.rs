//! What is written down of whom we know: the book, and whom to connect to first after a restart.

use libp2p::PeerId;

use super::Finding;
use crate::{
    node::{connections::Connections, effects::Effects},
    peers::can_dial,
    primitives::{decode, encode},
    store::{Batch, Table},
};

/// The book: peers by their ids.
const BOOK: Table = Table("peers/book");

/// What belongs to the book: its key, and the anchors.
pub(super) const ABOUT: Table = Table("peers/about");

pub(super) const KEY: &[u8] = b"key";

const ANCHORS: &[u8] = b"anchors";

/// Those of the anchors that were connected for blocks only.
const QUIET_ANCHORS: &[u8] = b"quiet-anchors";

/// The oldest connections that are made again first after a restart, so that one who fills the book while we are down has not won.
const MAX_ANCHORS: usize = 2;

const ANCHOR_TRIES: u32 = 3;

impl Finding {
    /// Takes back what was written down; what makes no sense is left out and removed.
    pub(super) fn restore(&mut self, fx: &mut Effects) {
        let mut from = Vec::new();
        let mut damaged = Batch::default();
        loop {
            let rows = fx.store.range(BOOK, &from, 1024);
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in rows {
                let restored = PeerId::from_bytes(&key).is_ok_and(|peer| self.book.restore(peer, &value));
                if !restored {
                    damaged.delete(BOOK, key);
                }
            }
        }
        if !damaged.is_empty() {
            fx.refuse("stored-peers-damaged");
            fx.apply(damaged);
        }
    }

    pub(super) fn dial_anchors(&mut self, connections: &mut Connections, fx: &Effects) {
        self.anchors = stored_anchors(fx, ANCHORS);
        if self.discovery.for_blocks() > 0 {
            let quiet = stored_anchors(fx, QUIET_ANCHORS).into_iter();
            self.for_blocks.extend(quiet.filter(|anchor| !connections.is_named(anchor)));
        }
        for anchor in &self.anchors {
            for address in
                self.book.addresses(anchor).into_iter().filter(|it| can_dial(self.role, it)).take(1)
            {
                self.chosen.insert(*anchor);
                connections.found(fx, *anchor, address, ANCHOR_TRIES);
            }
        }
    }

    pub(super) fn write_down(&mut self, fx: &mut Effects) {
        let mut batch = Batch::default();
        for (peer, row) in self.book.take_changes() {
            match row {
                Some(row) => batch.put(BOOK, peer.to_bytes(), row),
                None => batch.delete(BOOK, peer.to_bytes()),
            }
        }
        // Those first of whom others know least.
        let (quiet, others): (Vec<PeerId>, Vec<PeerId>) =
            self.outbound.iter().copied().partition(|peer| self.for_blocks.contains(peer));
        let anchors: Vec<PeerId> = quiet.iter().chain(&others).copied().take(MAX_ANCHORS).collect();
        if anchors != self.anchors && !anchors.is_empty() {
            let bytes =
                |peers: &[PeerId]| encode(&peers.iter().map(|peer| peer.to_bytes()).collect::<Vec<_>>());
            batch.put(ABOUT, ANCHORS, bytes(&anchors));
            batch.put(ABOUT, QUIET_ANCHORS, bytes(&anchors[..quiet.len().min(anchors.len())]));
            self.anchors = anchors;
        }
        if !batch.is_empty() {
            fx.apply(batch);
        }
    }
}

fn stored_anchors(fx: &Effects, key: &[u8]) -> Vec<PeerId> {
    let stored = fx.store.get(ABOUT, key);
    let anchors: Vec<Vec<u8>> = stored.and_then(|bytes| decode(&bytes, 4096).ok()).unwrap_or_default();
    anchors.iter().filter_map(|bytes| PeerId::from_bytes(bytes).ok()).take(MAX_ANCHORS).collect()
}
