//! The ways to join a chain, and what each of them downloads, verifies and trusts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::primitives::Hash;

/// How old a checkpoint that a person gives may be, in slots: a week, with slots of two seconds.
///
/// Keys that were in force before the checkpoint prove nothing after it. Keys that left the set *since* can still sign
/// another history, so the time for which a checkpoint protects is the time for which those who leave are trusted to keep, or destroy, their
/// keys. A week is a convention: the chain cannot enforce it, since it holds no stake that could be taken.
pub const WEAK_SUBJECTIVITY_SLOTS: u64 = 302_400;

/// How a peer joins a chain. All end with the same finalised block and state root, or refuse and say why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Strategy {
    /// Execute everything from genesis on.
    #[default]
    Full,
    /// As snap, and every header from the genesis on, with its signature, before the state is used.
    Fast,
    /// As snap, and then the headers back to the genesis.
    Warp,
    /// The proof of the newest finalised checkpoint, and its state.
    Snap,
    /// As snap, from the checkpoint with this hash on, and then the headers of [`WEAK_SUBJECTIVITY_SLOTS`] back.
    Checkpoint(Hash),
    /// The proof and the newest headers; accounts on demand.
    Light,
}

/// What a strategy costs and what it rests on, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What is downloaded.
    pub downloads: &'static str,
    /// What is checked.
    pub verifies: &'static str,
    /// Who could deceive the peer.
    pub trusts: &'static str,
}

impl Strategy {
    /// One of each kind, the checkpoint's with a hash of zeros.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::Fast, Self::Warp, Self::Snap, Self::Checkpoint(Hash::ZERO), Self::Light];

    /// What it downloads, verifies and trusts.
    #[must_use]
    pub const fn explain(&self) -> Explanation {
        let (downloads, verifies, trusts) = match self {
            Self::Full => (
                "every header and body from genesis",
                "every signature, every transaction, every root",
                "the genesis",
            ),
            Self::Fast => (
                "every header, a certificate for each change of the authorities and for the newest finalised block, its \
                 accounts from many peers, and bodies from there on",
                "the chain of certificates, range proofs, the final root, and the signature of every header back to the \
                 genesis, by the authority whose turn it was, before it uses the accounts; executes from there on",
                "more than two thirds of each set of authorities, while it was in force or later",
            ),
            Self::Warp => (
                "as snap; then, slowly and beside all else, every header back to the genesis, to pass on; a \
                 peer that forgets old blocks checks it and keeps none",
                "as snap; then that each header is the one that the next one names, down to the genesis",
                "as snap",
            ),
            Self::Snap => (
                "a certificate for each change of the authorities and for the newest finalised block, its accounts \
                 from many peers, and bodies from there on",
                "the chain of certificates, range proofs, the roots of changes, and the final root; executes from \
                 there on",
                "more than two thirds of each set of authorities, while it was in force or later",
            ),
            Self::Checkpoint(_) => (
                "the header with the hash you give, which must be a finalised checkpoint and no more than 302,400 \
                 slots old, and from there as snap; then, slowly and beside all else, the headers of as many slots back",
                "the hash, then as snap; then that each older header is the one that the next one names",
                "whoever gave you the hash, and more than two thirds of each set of authorities since then",
            ),
            Self::Light => (
                "a certificate for each change of the authorities and for the newest finalised block, again and again; \
                 the headers since then; accounts and past transactions when you ask for them",
                "the chain of certificates, who signed each header, and a proof for each answer; executes nothing",
                "more than two thirds of each set of authorities, while it was in force or later",
            ),
        };
        Explanation { downloads, verifies, trusts }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Fast => f.write_str("fast"),
            Self::Warp => f.write_str("warp"),
            Self::Snap => f.write_str("snap"),
            Self::Checkpoint(hash) => write!(f, "checkpoint:{hash}"),
            Self::Light => f.write_str("light"),
        }
    }
}

/// A text names no strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not one of full, fast, warp, snap, light, or checkpoint:HASH with the 64 hex digits of a header's hash"
)]
pub struct ParseStrategyError;

impl FromStr for Strategy {
    type Err = ParseStrategyError;

    fn from_str(text: &str) -> Result<Self, ParseStrategyError> {
        Ok(match text {
            "full" => Self::Full,
            "fast" => Self::Fast,
            "warp" => Self::Warp,
            "snap" => Self::Snap,
            "light" => Self::Light,
            _ => {
                let hash = text.strip_prefix("checkpoint:").ok_or(ParseStrategyError)?;
                Self::Checkpoint(hash.parse().map_err(|_| ParseStrategyError)?)
            }
        })
    }
}

impl TryFrom<String> for Strategy {
    type Error = ParseStrategyError;

    fn try_from(text: String) -> Result<Self, ParseStrategyError> {
        text.parse()
    }
}

impl From<Strategy> for String {
    fn from(strategy: Strategy) -> Self {
        strategy.to_string()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            assert_eq!(String::from(strategy).try_into(), Ok(strategy));
        }
        let hash = Hash([0xab; 32]);
        assert_eq!(format!("checkpoint:{hash}").parse(), Ok(Strategy::Checkpoint(hash)));
        for wrong in ["", "Full", "checkpoint", "checkpoint:", "checkpoint:12", "checkpoint: ab", "light "] {
            assert_eq!(wrong.parse::<Strategy>(), Err(ParseStrategyError), "{wrong:?}");
        }
    }

    #[test]
    fn the_window_told_is_the_window_kept() {
        let told = Strategy::Checkpoint(Hash::ZERO).explain().downloads;
        assert!(told.contains("302,400 slots") && WEAK_SUBJECTIVITY_SLOTS == 302_400);
    }
}
