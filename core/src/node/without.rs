//! What a peer can be told to do without, so that it can be seen what that is worth.

/// Nothing, but in simulations and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Peers are not asked for blocks that gossip does not bring, and those who only say that they have something are asked for it like those
    /// who have brought something before.
    pub seeking: bool,
    /// Peers may ask for and bring as much as they like, and are sent as much.
    pub quotas: bool,
}
