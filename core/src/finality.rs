//! Which chain: the tree of blocks above the last settled one, and the choice among its branches.
//!
//! Justification and finalisation come from certificates, which do not exist yet; until they do every block shares the
//! genesis checkpoint and the longest branch wins.

mod tree;

pub use tree::{BlockTree, InsertError, Stage};
