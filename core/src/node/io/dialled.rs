//! What becomes of a dial.

/// Why a dial made no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialFailure {
    /// It was not made: the peer is connected, or being dialled already, as when a hole is punched. Says nothing of the address.
    #[error("already connected, or being dialled")]
    Busy,
    /// Nobody answered, or not the one who was to; why, in words for a person.
    #[error("{0}")]
    Failed(String),
}

impl From<&str> for DialFailure {
    fn from(why: &str) -> Self {
        Self::Failed(why.to_owned())
    }
}
