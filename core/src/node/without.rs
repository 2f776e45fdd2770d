//! What a peer can be told to do without, so that it can be seen what that is worth.

/// Nothing, but in simulations and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Peers are not asked for blocks that gossip does not bring, and those who only say that they have something are asked for it like those
    /// who have brought something before.
    pub seeking: bool,
    /// Peers may ask for and bring as much as they like, and are sent as much.
    pub quotas: bool,
    /// Neighbours in gossip are not scored, so that nobody gives way to a better one, and no places in a mesh are kept for those a peer
    /// dialled itself. The simulator's model of gossip has a switch of its own for this.
    pub judgement: bool,
}
