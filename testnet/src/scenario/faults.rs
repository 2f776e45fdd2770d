//! What goes wrong: faults at their times, and peers that come and go.

use serde::{Deserialize, Serialize};

use super::{ScenarioError, bound, sense, ten};

/// Something that goes wrong at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Fault {
    /// A group hears nothing of all others.
    #[serde(rename_all = "kebab-case")]
    Partition {
        /// When, in seconds after the start.
        at: u64,
        /// For how long.
        seconds: u64,
        /// Which group.
        group: String,
        /// The share of the group, the first ones; all without it.
        #[serde(default = "whole")]
        share: f64,
    },
    /// Peers end at once, and start again after a while.
    #[serde(rename_all = "kebab-case")]
    Kill {
        /// When.
        at: u64,
        /// For how long they are down; 0 for a restart at once.
        seconds: u64,
        /// Which group.
        group: String,
        /// The share of the group.
        #[serde(default = "whole")]
        share: f64,
    },
    /// Peers end as asked, and start again at once.
    #[serde(rename_all = "kebab-case")]
    Restart {
        /// When.
        at: u64,
        /// Which group.
        group: String,
        /// The share of the group.
        #[serde(default = "whole")]
        share: f64,
    },
    /// Peers stop for a while, as a hidden tab or a suspended laptop does.
    #[serde(rename_all = "kebab-case")]
    Pause {
        /// When.
        at: u64,
        /// For how long.
        seconds: u64,
        /// Which group.
        group: String,
        /// The share of the group.
        #[serde(default = "whole")]
        share: f64,
    },
    /// Peers lose all their connections at once.
    #[serde(rename_all = "kebab-case")]
    Disconnect {
        /// When.
        at: u64,
        /// Which group.
        group: String,
        /// The share of the group.
        #[serde(default = "whole")]
        share: f64,
    },
}

impl Fault {
    /// When it begins and ends, in seconds, whom it hits, and which share of them.
    #[must_use]
    pub fn parts(&self) -> (u64, u64, &str, f64) {
        match self {
            Self::Partition { at, seconds, group, share }
            | Self::Kill { at, seconds, group, share }
            | Self::Pause { at, seconds, group, share } => (*at, at.saturating_add(*seconds), group, *share),
            Self::Restart { at, group, share } | Self::Disconnect { at, group, share } => {
                (*at, *at, group, *share)
            }
        }
    }
}

/// Peers that come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Churn {
    /// The share of peers that end in a minute, 0 to 10.
    #[serde(default)]
    pub share_per_minute: f64,
    /// How long each is away, 1 s to an hour.
    #[serde(default = "ten")]
    pub away_seconds: u64,
    /// Which groups come and go; all without it. Peers that propose never do.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Default for Churn {
    fn default() -> Self {
        Self { share_per_minute: 0.0, away_seconds: ten(), groups: Vec::new() }
    }
}

impl Churn {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        bound("churn.share-per-minute", self.share_per_minute, 0.0, 10.0)?;
        bound("churn.away-seconds", self.away_seconds as f64, 1.0, 3_600.0)
    }
}

/// Looks whether the faults of a scenario fit into its seconds and go together.
pub(super) fn check(faults: &[Fault], seconds: u64) -> Result<(), ScenarioError> {
    bound("the number of faults", faults.len() as f64, 0.0, 1_000.0)?;
    let mut cut_until = 0;
    for fault in faults {
        let (at, until, _, share) = fault.parts();
        bound("a fault's at", at as f64, 0.0, seconds as f64)?;
        bound("a fault's end", until as f64, 0.0, seconds as f64)?;
        bound("a fault's share", share, 0.0, 1.0)?;
        if matches!(fault, Fault::Partition { .. }) {
            sense(at >= cut_until, || {
                "partitions come one after the other, in the order of their times".to_owned()
            })?;
            cut_until = until;
        }
    }
    Ok(())
}

const fn whole() -> f64 {
    1.0
}
