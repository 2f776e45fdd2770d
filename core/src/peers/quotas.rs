//! What one peer may ask for and bring: so many messages and so many bytes in a time, for each kind of traffic.
//!
//! Each quota is several times what an honest peer needs of one other, so that nobody honest meets it except by catching up faster
//! than is served. Past it a question is answered with *busy* and gossip is not looked at, which costs next to nothing; who
//! goes on nevertheless is to blame in the end. `/tx/1` counts in transactions, and has [buckets](super::Bucket) of its own.

use libp2p::PeerId;

use super::{Allowance, Bucket, remembered::Remembered};
use crate::primitives::{Held, Mono};

/// How often a peer may be told that it is too much before that is an offence. An honest one pauses when it is told.
pub const OVERRUNS: Allowance = Allowance { per_second: 4, burst: 256 };

/// A kind of traffic that has a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// `/sync/1`: where a peer is.
    Status,
    /// `/sync/1`: headers, proofs, states, changes. Their answers count, which are far larger than the questions.
    Sync,
    /// `/sync/1`: transactions that a compact block lacks. Their answers count.
    Missing,
    /// `/archive/1`: bodies. Their answers count.
    Archive,
    /// `/chat/1`: the history of rooms. Its answers count.
    History,
    /// `/content/1`: manifests and chunks. Their answers count.
    Content,
    /// Gossip of blocks.
    Blocks,
    /// Gossip of votes.
    Votes,
    /// Gossip of evidence.
    Evidence,
    /// Gossip in all rooms, whoever its author is; authors have a pace beside this.
    Chat,
    /// What it wants the distributed hash table to hold.
    Table,
}

/// How much of one kind of traffic one peer may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Messages.
    pub items: Allowance,
    /// Bytes that it brings, and that it is answered.
    pub bytes: Allowance,
}

impl Traffic {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Status,
        Self::Sync,
        Self::Missing,
        Self::Archive,
        Self::History,
        Self::Content,
        Self::Blocks,
        Self::Votes,
        Self::Evidence,
        Self::Chat,
        Self::Table,
    ];

    /// How much of it one peer may cause.
    #[must_use]
    pub const fn quota(self) -> Quota {
        let (items, bytes) = match self {
            Self::Status => ([16, 256], [16 << 10, 256 << 10]),
            // The state of 600,000 accounts at once, and then 8 MB a second.
            Self::Sync => ([256, 1024], [8_000_000, 32 << 20]),
            // A block has one announcer to ask, and five blocks a second is the fastest chain there is.
            Self::Missing => ([16, 64], [2 << 20, 8 << 20]),
            // Twice as fast as one thread executes them.
            Self::Archive => ([256, 1024], [16 << 20, 64 << 20]),
            // One for each room, whenever two peers meet.
            Self::History => ([4, 64], [512 << 10, 8 << 20]),
            // The largest file at once, and a chunk with every request.
            Self::Content => ([64, 512], [16 << 20, 72 << 20]),
            Self::Blocks => ([16, 256], [2 << 20, 16 << 20]),
            // Those of a thousand authorities at once, four times over.
            Self::Votes => ([512, 4096], [256 << 10, 2 << 20]),
            Self::Evidence => ([4, 64], [64 << 10, 1 << 20]),
            Self::Chat => ([128, 1024], [256 << 10, 2 << 20]),
            // All that one peer may offer at once, twice, which it says again after hours.
            Self::Table => ([4, 1024], [16 << 10, 1 << 20]),
        };
        Quota {
            items: Allowance { per_second: items[0], burst: items[1] },
            bytes: Allowance { per_second: bytes[0], burst: bytes[1] },
        }
    }

    /// Whether its answers are large, and may wait when this peer sends as much as it may. Parts of a new block may not.
    #[must_use]
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::Sync | Self::Archive | Self::History | Self::Content)
    }

    /// How it is called, in counters, when a peer causes too much of it.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Status => "quota-status",
            Self::Sync => "quota-sync",
            Self::Missing => "quota-missing",
            Self::Archive => "quota-archive",
            Self::History => "quota-history",
            Self::Content => "quota-content",
            Self::Blocks => "quota-blocks",
            Self::Votes => "quota-votes",
            Self::Evidence => "quota-evidence",
            Self::Chat => "quota-chat",
            Self::Table => "quota-table",
        }
    }
}

/// What is left of the quotas of one peer.
#[derive(Debug)]
struct Left {
    /// Messages and bytes, by kind.
    buckets: [[Bucket; 2]; Traffic::ALL.len()],
    overruns: Bucket,
}

/// What is left of every peer's quotas. They outlive connections, so that coming back fills none.
#[derive(Debug, Default)]
pub struct Quotas {
    peers: Remembered<Left>,
}

impl Quotas {
    /// Of how many peers something is remembered.
    #[must_use]
    pub fn held(&self) -> Held {
        self.peers.held("peers whose quotas are remembered")
    }

    /// Takes a message of so many bytes from a peer's quota, and says whether it may be looked at. Where answers count, give
    /// no bytes: then it may be if any are left.
    #[must_use]
    pub fn take(&mut self, peer: &PeerId, traffic: Traffic, bytes: usize, now: Mono) -> bool {
        let [items, all_bytes] = &mut self.left(peer, now).buckets[traffic as usize];
        let allowed = items.take(1, now) && all_bytes.has(bytes.max(1) as u64, now);
        if allowed {
            all_bytes.spend(bytes as u64);
        }
        allowed
    }

    /// A peer was answered so many bytes.
    pub fn answered(&mut self, peer: &PeerId, traffic: Traffic, bytes: usize, now: Mono) {
        self.left(peer, now).buckets[traffic as usize][1].spend(bytes as u64);
    }

    /// A peer was told that it is too much. Says whether that is an offence by now.
    #[must_use]
    pub fn overrun(&mut self, peer: &PeerId, now: Mono) -> bool {
        !self.left(peer, now).overruns.take(1, now)
    }

    fn left(&mut self, peer: &PeerId, now: Mono) -> &mut Left {
        self.peers.of(peer, now, || Left {
            buckets: Traffic::ALL.map(|traffic| {
                let Quota { items, bytes } = traffic.quota();
                [Bucket::new(items), Bucket::new(bytes)]
            }),
            overruns: Bucket::new(OVERRUNS),
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(number: u32) -> PeerId {
        let key = [number.to_le_bytes(); 8].concat();
        PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &key].concat()).unwrap()
    }

    #[test]
    fn each_kind_is_in_its_own_place() {
        for (place, traffic) in Traffic::ALL.into_iter().enumerate() {
            assert_eq!(traffic as usize, place);
        }
    }

    #[test]
    fn a_burst_of_each_kind_is_allowed_then_its_pace_and_others_are_not_held_back() {
        for traffic in Traffic::ALL {
            let mut quotas = Quotas::default();
            let Quota { items, .. } = traffic.quota();
            let mut take = |who, now| quotas.take(&peer(who), traffic, 1, Mono(now));
            assert!((0..items.burst).all(|_| take(1, 0)), "{traffic:?}");
            assert!(!take(1, 0), "{traffic:?}");
            assert!(take(2, 0), "{traffic:?}");
            assert!((0..items.per_second).all(|_| take(1, 1000)) && !take(1, 1000), "{traffic:?}");
        }
    }

    #[test]
    fn bytes_count_whether_brought_or_answered() {
        for traffic in Traffic::ALL {
            let mut quotas = Quotas::default();
            let (who, burst) = (peer(1), traffic.quota().bytes.burst as usize);
            assert!(quotas.take(&who, traffic, burst - 1, Mono(0)));
            assert!(quotas.take(&who, traffic, 0, Mono(0)), "a byte is left, {traffic:?}");
            quotas.answered(&who, traffic, burst, Mono(0));
            // What was answered too much is made up for.
            let Allowance { per_second, burst } = traffic.quota().bytes;
            let later = (burst - 1) * 1000 / per_second;
            assert!(!quotas.take(&who, traffic, 0, Mono(later)), "{traffic:?}");
            assert!(quotas.take(&who, traffic, 0, Mono(later + 2)), "{traffic:?}");
        }
        let mut quotas = Quotas::default();
        let (who, burst) = (peer(1), Traffic::Sync.quota().bytes.burst as usize);
        quotas.answered(&who, Traffic::Sync, burst, Mono(0));
        assert!(quotas.take(&who, Traffic::Missing, 0, Mono(0)), "each kind has its own");
    }

    #[test]
    fn who_goes_on_is_to_blame_in_the_end_and_coming_back_forgives_nothing() {
        let mut quotas = Quotas::default();
        let blamed = |quotas: &mut Quotas, now| quotas.overrun(&peer(1), Mono(now));
        assert!((0..OVERRUNS.burst).all(|_| !blamed(&mut quotas, 0)));
        assert!(blamed(&mut quotas, 0));
        assert!((0..OVERRUNS.per_second).all(|_| !blamed(&mut quotas, 1000)) && blamed(&mut quotas, 1000));
    }
}
