//! How much of the past a peer keeps.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How much of the past a peer keeps. What it needs to follow the chain and to let others join stays in any case: the accounts,
/// what the last blocks changed, the proofs of finality, and every block that is not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prune {
    /// Every block it has executed.
    #[default]
    Archive,
    /// The last 1,024 final blocks: as far back as it also keeps what blocks changed, so that whoever is less behind than that
    /// catches up, by either.
    Full,
    /// Blocks from the oldest checkpoint on whose accounts it serves: whoever takes those over finds all that follows.
    Light,
}

impl fmt::Display for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archive => "archive",
            Self::Full => "full",
            Self::Light => "light",
        })
    }
}

/// A text names no way of pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of archive, full and light")]
pub struct ParsePruneError;

impl FromStr for Prune {
    type Err = ParsePruneError;

    fn from_str(text: &str) -> Result<Self, ParsePruneError> {
        match text {
            "archive" => Ok(Self::Archive),
            "full" => Ok(Self::Full),
            "light" => Ok(Self::Light),
            _ => Err(ParsePruneError),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for prune in [Prune::Archive, Prune::Full, Prune::Light] {
            assert_eq!(prune.to_string().parse(), Ok(prune));
        }
        assert_eq!("Full".parse::<Prune>(), Err(ParsePruneError));
    }
}
