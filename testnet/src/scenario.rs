//! Scenarios: a network, what is done on it, what goes wrong, and what must come of it, in one TOML file.
//!
//! The file says nothing about how it is run, so the simulator and real processes can read the same one. Unknown keys are
//! refused, and every number has bounds: [`Scenario::parse`] names the first that is outside.

mod expectations;
mod faults;
mod peers;
mod topology;

use std::collections::BTreeSet;

pub use expectations::Expectations;
pub use faults::{Churn, Fault};
pub use peers::{Group, NatKind};
use serde::{Deserialize, Serialize};
use weft_core::node::Role;

/// The most peers.
pub const MAX_PEERS: usize = 20_000;

/// A file is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not TOML, has an unknown key, lacks one, or a value is of the wrong kind.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A number is outside its bounds.
    #[error("{what} is {value}, and must be from {least} to {most}")]
    Bound {
        /// Which number.
        what: String,
        /// What it is.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
    /// Parts of it do not go together.
    #[error("{0}")]
    Sense(String),
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// Everything that is left to chance follows from it.
    #[serde(default)]
    pub seed: u64,
    /// How long it runs, 1 s to a day.
    pub seconds: u64,
    /// How long peers have to find each other before anything is done or measured.
    #[serde(default = "ten")]
    pub warm_up_seconds: u64,
    /// At the end: nothing more is submitted, and what is published is not measured.
    #[serde(default = "ten")]
    pub cool_down_seconds: u64,
    /// The length of a slot, 200 ms to a minute.
    pub slot_millis: u64,
    /// How blocks and votes are gossiped in the simulator.
    #[serde(default)]
    pub gossip: GossipKind,
    /// How blocks travel in the simulator.
    #[serde(default)]
    pub blocks: BlockKind,
    /// Who dials whom.
    #[serde(default)]
    pub topology: Topology,
    /// The network as a whole.
    #[serde(default)]
    pub network: NetworkOptions,
    /// Who takes part.
    pub peers: Vec<Group>,
    /// What is done.
    #[serde(default)]
    pub workload: Workload,
    /// Peers that come and go.
    #[serde(default)]
    pub churn: Churn,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expectations,
}

/// How blocks and votes are gossiped in the simulator. Real peers gossip as they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GossipKind {
    /// The model of gossipsub with Weft's numbers.
    #[default]
    Model,
    /// The model of gossipsub with the defaults of rust-libp2p.
    Library,
    /// To every neighbour.
    Flood,
}

/// How blocks travel in the simulator. Real peers send them as they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockKind {
    /// As nodes send them.
    #[default]
    Compact,
    /// A baseline: every proposer announces its block whole.
    Full,
}

/// Who dials whom. In each, a peer that cannot be dialled dials instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Topology {
    /// Others by lot.
    #[default]
    Random,
    /// The next in a ring.
    Ring,
    /// Relays, which know each other.
    Star,
    /// Others of the same cluster, and one of another.
    Clustered {
        /// The number of clusters, 2 to 100.
        clusters: usize,
    },
    /// The next in a ring, but with this probability somebody by lot instead (Watts and Strogatz 1998).
    SmallWorld {
        /// From 0 to 1.
        rewired: f64,
    },
}

/// The network as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkOptions {
    /// The share of messages, requests and responses that are lost, 0 to 0.9.
    #[serde(default)]
    pub loss: f64,
    /// Up to this share of its delay is added to each packet's, 0 to 10.
    #[serde(default = "tenth")]
    pub jitter: f64,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { loss: 0.0, jitter: tenth() }
    }
}

/// What is done: transfers between accounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workload {
    /// Transfers a slot, 0 to 5,000. Either this or the next.
    #[serde(default)]
    pub transfers_per_slot: Option<f64>,
    /// Transfers a second, 0 to 5,000.
    #[serde(default)]
    pub transfers_per_second: Option<f64>,
    /// Accounts that pay in turn, 1 to 100,000; without it enough that each pays every eighth slot or less often.
    #[serde(default)]
    pub accounts: Option<usize>,
    /// Fees lie between the ordinary one and so many times more, 0 to 1,000.
    #[serde(default)]
    pub fee_spread: f64,
    /// The groups where transfers are submitted; all without it.
    #[serde(default)]
    pub at: Vec<String>,
}

const fn ten() -> u64 {
    10
}
const fn tenth() -> f64 {
    0.1
}
fn bound(what: &str, value: f64, least: f64, most: f64) -> Result<(), ScenarioError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(ScenarioError::Bound { what: what.to_owned(), value, least, most })
    }
}

fn sense(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(ScenarioError::Sense(otherwise())) }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Says in words what is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(Box::new)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// How many peers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.peers.iter().map(|group| group.count).sum()
    }

    /// How many propose and vote.
    #[must_use]
    pub fn validators(&self) -> usize {
        self.peers.iter().map(|group| group.validators).sum()
    }

    /// The group of each peer, in order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.peers.iter().flat_map(|group| std::iter::repeat_n(group, group.count))
    }

    /// Of each peer, whether it proposes and votes: the first ones of a group.
    #[must_use]
    pub fn proposing(&self) -> Vec<bool> {
        let groups = self.peers.iter();
        groups.flat_map(|group| (0..group.count).map(|index| index < group.validators)).collect()
    }

    /// Where transfers are submitted, by number.
    #[must_use]
    pub fn wallets(&self) -> Vec<usize> {
        self.of_groups(&self.workload.at)
    }

    /// Who may come and go, by number.
    #[must_use]
    pub fn fickle(&self) -> Vec<usize> {
        let proposing = self.proposing();
        let mut fickle = self.of_groups(&self.churn.groups);
        fickle.retain(|ix| !proposing[*ix]);
        fickle
    }

    /// The peers of these groups, or all when none is named.
    fn of_groups(&self, names: &[String]) -> Vec<usize> {
        let all = self.groups().enumerate();
        let suits = |group: &Group| names.is_empty() || names.contains(&group.name);
        all.filter(|(_, group)| suits(group)).map(|(index, _)| index).collect()
    }

    /// From when to when things are done and measured, in milliseconds after the start.
    #[must_use]
    pub fn measured_millis(&self) -> (u64, u64) {
        (self.warm_up_seconds * 1000, (self.seconds - self.cool_down_seconds) * 1000)
    }

    /// The peers of a group, by number.
    #[must_use]
    pub fn members(&self, name: &str) -> Vec<usize> {
        let all = self.groups().enumerate();
        all.filter(|(_, group)| group.name == name).map(|(index, _)| index).collect()
    }

    /// Transfers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let per_slot = self.workload.transfers_per_slot.map(|count| count * 1000.0 / self.slot_millis as f64);
        per_slot.or(self.workload.transfers_per_second).unwrap_or(0.0)
    }

    /// How many accounts pay.
    #[must_use]
    pub fn accounts(&self) -> usize {
        let enough = self.rate() * self.slot_millis as f64 / 1000.0 * 8.0;
        self.workload.accounts.unwrap_or((enough.ceil() as usize).clamp(1, 100_000))
    }

    fn check(&self) -> Result<(), ScenarioError> {
        bound("seconds", self.seconds as f64, 1.0, 86_400.0)?;
        bound("slot-millis", self.slot_millis as f64, 200.0, 60_000.0)?;
        let rest = self.warm_up_seconds.saturating_add(self.cool_down_seconds);
        sense(rest < self.seconds, || {
            format!(
                "warm-up-seconds and cool-down-seconds are {rest} together, which leaves nothing of {}",
                self.seconds
            )
        })?;
        bound("network.loss", self.network.loss, 0.0, 0.9)?;
        bound("network.jitter", self.network.jitter, 0.0, 10.0)?;
        bound("the number of groups of peers", self.peers.len() as f64, 1.0, 100.0)?;
        let mut names = BTreeSet::new();
        let mut count = 0_usize;
        for group in &self.peers {
            sense(names.insert(group.name.as_str()), || {
                format!("two groups of peers are called {}", group.name)
            })?;
            group.check()?;
            count += group.count;
        }
        bound("the number of peers", count as f64, 1.0, MAX_PEERS as f64)?;
        bound("the number of validators", self.validators() as f64, 1.0, 1_000.0)?;
        let named = self.faults.iter().map(|fault| fault.parts().2);
        let named = named.chain(self.workload.at.iter().map(String::as_str));
        for name in named.chain(self.churn.groups.iter().map(String::as_str)) {
            sense(names.contains(name), || format!("there is no group of peers called {name}"))?;
        }
        self.check_topology()?;
        self.check_workload()?;
        self.churn.check()?;
        faults::check(&self.faults, self.seconds)?;
        self.expect.check()
    }

    fn check_topology(&self) -> Result<(), ScenarioError> {
        match self.topology {
            Topology::Clustered { clusters } => bound("topology.clusters", clusters as f64, 2.0, 100.0),
            Topology::SmallWorld { rewired } => bound("topology.rewired", rewired, 0.0, 1.0),
            Topology::Star => sense(self.peers.iter().any(|group| group.role == Role::Relay), || {
                "a star needs relays: a group of peers with role \"relay\"".to_owned()
            }),
            Topology::Random | Topology::Ring => Ok(()),
        }
    }

    fn check_workload(&self) -> Result<(), ScenarioError> {
        let workload = &self.workload;
        sense(workload.transfers_per_slot.is_none() || workload.transfers_per_second.is_none(), || {
            "workload has transfers-per-slot and transfers-per-second: say one".to_owned()
        })?;
        let given = [workload.transfers_per_slot, workload.transfers_per_second];
        for rate in given.into_iter().flatten() {
            bound("the rate of transfers", rate, 0.0, 5_000.0)?;
        }
        bound("workload.accounts", self.accounts() as f64, 1.0, 100_000.0)?;
        bound("workload.fee-spread", workload.fee_spread, 0.0, 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"small\"\nseconds = 60\nslot-millis = 1000\n\
                         [[peers]]\nname = \"all\"\nrole = \"native\"\ncount = 5\nvalidators = 3\n";

    #[test]
    fn a_small_scenario_has_defaults_for_the_rest() {
        let scenario = Scenario::parse(SMALL).unwrap();
        assert_eq!((scenario.count(), scenario.validators()), (5, 3));
        assert_eq!((scenario.gossip, scenario.blocks), (GossipKind::Model, BlockKind::Compact));
        assert_eq!(scenario.members("all"), [0, 1, 2, 3, 4]);
        assert_eq!(scenario.rate(), 0.0);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (with, told) in [
            ("colour = \"red\"", "unknown field `colour`"),
            (
                "[workload]\ntransfers-per-slot = -1",
                "the rate of transfers is -1, and must be from 0 to 5000",
            ),
            ("[workload]\ntransfers-per-slot = nan", "the rate of transfers is NaN"),
            ("[workload]\ntransfers-per-slot = 1\ntransfers-per-second = 1", "say one"),
            ("[workload]\nat = [\"nobody\"]", "there is no group of peers called nobody"),
            ("[topology]\nkind = \"star\"", "a star needs relays"),
            ("[topology]\nkind = \"clustered\"\nclusters = 1", "topology.clusters is 1"),
            ("[network]\nloss = 1.5", "network.loss is 1.5, and must be from 0 to 0.9"),
            ("[[faults]]\nkind = \"kill\"\nat = 10\nseconds = 90\ngroup = \"all\"", "a fault's end is 100"),
            ("[[faults]]\nkind = \"melt\"\nat = 10\ngroup = \"all\"", "unknown variant `melt`"),
            ("[expect]\nblocks-delivered = 2", "expect.blocks-delivered is 2"),
            ("[[peers]]\nname = \"all\"\nrole = \"native\"\ncount = 1", "two groups of peers are called all"),
            ("[[peers]]\nname = \"b\"\nrole = \"native\"\ncount = 0", "count of peers b is 0"),
            (
                "[[peers]]\nname = \"b\"\nrole = \"native\"\ncount = 1\nvalidators = 2",
                "validators of peers b is 2",
            ),
            ("[[peers]]\nname = \"b\"\nrole = \"native\"\ncount = 1\ncountries = [\"XX\"]", "to be in XX"),
        ] {
            let text =
                if with.starts_with('[') { format!("{SMALL}{with}") } else { format!("{with}\n{SMALL}") };
            let error = Scenario::parse(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{with:?} is refused with {error:?}");
        }
        let nothing_left = SMALL.replace("seconds = 60", "seconds = 20");
        assert!(Scenario::parse(&nothing_left).unwrap_err().to_string().contains("leaves nothing of 20"));
    }
}
