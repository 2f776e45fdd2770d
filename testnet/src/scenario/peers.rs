//! Who takes part.

use serde::{Deserialize, Serialize};
use weft_core::{gossip::TxMode, node::Role};

use super::{MAX_PEERS, ScenarioError, bound, sense};

/// Peers of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// What other parts of the file call it.
    pub name: String,
    /// The kind: `relay`, `native` or `browser`.
    pub role: Role,
    /// How many, 1 to 20,000.
    pub count: usize,
    /// How many of them propose and vote, up to `count`.
    #[serde(default)]
    pub validators: usize,
    /// How many others each of them dials, 0 to 100.
    #[serde(default = "dials")]
    pub dials: usize,
    /// ISO 3166 codes of where they are; without one, all over the world.
    #[serde(default)]
    pub countries: Vec<String>,
    /// Megabits a second up, 0.01 to 100,000; unlimited without it.
    #[serde(default)]
    pub up_mbit: Option<f64>,
    /// Megabits a second down; unlimited without it.
    #[serde(default)]
    pub down_mbit: Option<f64>,
    /// Whether they can be dialled.
    #[serde(default)]
    pub nat: NatKind,
    /// How they pass transactions on: `push`, `pull` or `push-pull`.
    #[serde(default)]
    pub tx_mode: TxMode,
    /// What their mempools may hold, in MiB, 1 to 1024.
    #[serde(default = "four")]
    pub mempool_mib: usize,
}

impl Group {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let of = |what: &str| format!("{what} of peers {}", self.name);
        bound(&of("count"), self.count as f64, 1.0, MAX_PEERS as f64)?;
        bound(&of("validators"), self.validators as f64, 0.0, self.count as f64)?;
        bound(&of("dials"), self.dials as f64, 0.0, 100.0)?;
        bound(&of("up-mbit"), self.up_mbit.unwrap_or(1.0), 0.01, 100_000.0)?;
        bound(&of("down-mbit"), self.down_mbit.unwrap_or(1.0), 0.01, 100_000.0)?;
        bound(&of("mempool-mib"), self.mempool_mib as f64, 1.0, 1_024.0)?;
        for code in &self.countries {
            sense(crate::sim::country_named(code).is_some(), || {
                format!(
                    "peers {} are to be in {code}, of which data/country-rtt.csv knows nothing",
                    self.name
                )
            })?;
        }
        Ok(())
    }
}

/// Whether peers can be dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// By everybody.
    #[default]
    Open,
    /// After signalling through a relay.
    Signalled,
    /// By nobody.
    Closed,
}

const fn four() -> usize {
    4
}
const fn dials() -> usize {
    8
}
