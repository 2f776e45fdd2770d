//! What a peer can do for us, and what that is worth.

/// Something good that a peer did, as far as it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It was the first to bring a block that was good.
    Block,
    /// It was the first to bring a transaction that was good.
    Transaction,
    /// It answered a question, and the answer was checked.
    Answer,
}

impl Service {
    /// Thousandths of a point. Blocks are few and each of them costs its author a slot; transactions and answers are many.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        match self {
            Self::Block => 1000,
            Self::Transaction => 20,
            Self::Answer => 100,
        }
    }
}
