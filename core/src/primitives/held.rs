//! How much is held of something that strangers bring, beside how much may be.

/// Something of which a peer holds a limited amount: metrics show it, and the simulator sees that no limit is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What, in words: the label of its samples among the metrics.
    pub what: &'static str,
    /// How much there is. Where each peer has a limit of its own, this is that of the peer that has most.
    pub count: usize,
    /// How much there may be.
    pub limit: usize,
}

impl Held {
    /// So much of it.
    #[must_use]
    pub const fn new(what: &'static str, count: usize, limit: usize) -> Self {
        Self { what, count, limit }
    }
}
