//! What must come of a scenario.

use serde::{Deserialize, Serialize};

use super::{ScenarioError, bound};

/// What must come of it. What is left out is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expectations {
    /// All peers that are up agree on the last finalised block but for at most so many heights.
    #[serde(default)]
    pub finalised_within: Option<u64>,
    /// The least share of deliveries of blocks that come about, 0 to 1.
    #[serde(default)]
    pub blocks_delivered: Option<f64>,
    /// The most milliseconds from a block to 99 of 100 peers.
    #[serde(default)]
    pub blocks_p99_millis: Option<f64>,
    /// The least share of deliveries of transactions that come about.
    #[serde(default)]
    pub transactions_delivered: Option<f64>,
    /// The most milliseconds from a transaction to 99 of 100 peers.
    #[serde(default)]
    pub transactions_p99_millis: Option<f64>,
    /// The most penalties of severity mid or above that peers give each other, in the simulator.
    #[serde(default)]
    pub penalties: Option<u64>,
    /// Whether honest peers may blame each other, for faults that look like malice.
    #[serde(default)]
    pub blame_allowed: bool,
}

impl Expectations {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        for (what, share) in [
            ("expect.blocks-delivered", self.blocks_delivered),
            ("expect.transactions-delivered", self.transactions_delivered),
        ] {
            bound(what, share.unwrap_or(1.0), 0.0, 1.0)?;
        }
        for (what, millis) in [
            ("expect.blocks-p99-millis", self.blocks_p99_millis),
            ("expect.transactions-p99-millis", self.transactions_p99_millis),
        ] {
            bound(what, millis.unwrap_or(1.0), 1.0, 3_600_000.0)?;
        }
        Ok(())
    }
}
