//! Which chain: votes, certificates, the tree of blocks above the base, and the choice among its branches.

#[cfg(test)]
mod tests;
mod tree;
mod voter;
mod votes;

pub use tree::{BlockTree, InsertError, Stage};
pub use voter::Voter;
pub use votes::{Certified, Counted, VotePool};
