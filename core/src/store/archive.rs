//! The archive: bodies and headers by height and hash, asked for with an output and answered with an input.

use crate::primitives::{Hash, Height};

/// A block as the archive keeps it: opaque to the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBlock {
    /// The first half of the key.
    pub height: Height,
    /// The second half.
    pub hash: Hash,
    /// The encoded header.
    pub header: Vec<u8>,
    /// The encoded body; empty for a block of which only the header is known, since no encoded body is.
    pub body: Vec<u8>,
}

/// What core asks of the archive. Requests are carried out in the order they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveRequest {
    /// Keep these blocks. Answered with [`ArchiveAnswer::Stored`] once they are durable.
    Put(Vec<ArchivedBlock>),
    /// Forget these blocks; those not there are passed over. Answered with [`ArchiveAnswer::Stored`].
    Delete(Vec<(Height, Hash)>),
    /// Forget every block below a height, headers and bodies. Answered with [`ArchiveAnswer::Stored`].
    Prune {
        /// The lowest height that stays.
        below: Height,
    },
    /// The headers from `from` on, in key order, at most `count`. Answered with [`ArchiveAnswer::Headers`].
    Headers {
        /// The first height wanted.
        from: Height,
        /// The most headers to answer with.
        count: usize,
    },
    /// These bodies, in this order, until their sum passes `max_bytes` (the one that passes it is still included).
    /// Answered with [`ArchiveAnswer::Bodies`].
    Bodies {
        /// Which.
        keys: Vec<(Height, Hash)>,
        /// A soft bound on the answer's size.
        max_bytes: usize,
    },
}

/// The archive's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveAnswer {
    /// It is durable.
    Stored,
    /// Encoded headers with their keys, in key order.
    Headers(Vec<(Height, Hash, Vec<u8>)>),
    /// Encoded bodies in the order asked for, `None` for one that is not there; shorter than the question when the
    /// bound was reached.
    Bodies(Vec<Option<Vec<u8>>>),
}

impl ArchiveAnswer {
    /// The answer in which a block that is archived without its body has none.
    #[must_use]
    pub fn without_empty_bodies(mut self) -> Self {
        if let Self::Bodies(bodies) = &mut self {
            bodies.iter_mut().for_each(|body| *body = body.take().filter(|body| !body.is_empty()));
        }
        self
    }
}

/// The archive could not answer: the disk's error, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive failed: {0}")]
pub struct ArchiveFailure(pub String);
