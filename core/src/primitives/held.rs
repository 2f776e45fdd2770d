//! How much is held of something that strangers bring.

/// Something of which a peer holds a limited amount, for whoever checks a limit while a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub what: &'static str,
    /// How much there is. Where each peer has a limit of its own, this is that of the peer that has most.
    pub count: usize,
    /// How much there may be.
    pub limit: usize,
}

impl Held {
    pub(crate) const fn new(what: &'static str, count: usize, limit: usize) -> Self {
        Self { what, count, limit }
    }
}
