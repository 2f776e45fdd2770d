//! Who dials whom.

use std::collections::BTreeSet;

use weft_core::node::Role;

use super::{NatKind, Scenario, Topology};
use crate::sim::Dice;

impl Scenario {
    /// Whom each peer dials, by number. The same seed gives the same graph.
    #[must_use]
    pub fn dials(&self) -> Vec<Vec<usize>> {
        let mut plan = Plan {
            count: self.count(),
            dials: self.groups().map(|group| group.dials).collect(),
            dialable: self.groups().map(|group| group.nat != NatKind::Closed).collect(),
            relays: (0..)
                .zip(self.groups())
                .filter(|(_, it)| it.role == Role::Relay)
                .map(|(at, _)| at)
                .collect(),
            edges: BTreeSet::new(),
            dice: Dice::new(self.seed ^ 0x746f_706f),
        };
        for from in 0..plan.count {
            for step in 1..=plan.dials[from] {
                if let Some(to) = plan.choose(self.topology, from, step) {
                    plan.connect(from, to);
                }
            }
        }
        let mut dials = vec![Vec::new(); plan.count];
        for (from, to) in plan.edges {
            dials[from].push(to);
        }
        dials
    }
}

struct Plan {
    count: usize,
    dials: Vec<usize>,
    dialable: Vec<bool>,
    relays: Vec<usize>,
    /// Who dials and who is dialled.
    edges: BTreeSet<(usize, usize)>,
    dice: Dice,
}

impl Plan {
    fn choose(&mut self, topology: Topology, from: usize, step: usize) -> Option<usize> {
        if self.count < 2 {
            return None;
        }
        match topology {
            Topology::Random => self.someone(from, 0, self.count),
            Topology::Ring => self.ahead(from, step),
            Topology::Star => self.relay(from),
            Topology::Clustered { clusters } => {
                let size = self.count.div_ceil(clusters).max(1);
                let first = from / size * size;
                let end = (first + size).min(self.count);
                if step == self.dials[from] || end - first < 2 {
                    self.someone(from, 0, self.count)
                } else {
                    self.someone(from, first, end)
                }
            }
            Topology::SmallWorld { rewired } if self.dice.chance(rewired) => {
                self.someone(from, 0, self.count)
            }
            Topology::SmallWorld { .. } => self.ahead(from, step),
        }
    }

    /// The neighbour so many places ahead on a ring, of those whom a connection can join to this one: between two that
    /// cannot be dialled there is none.
    fn ahead(&self, from: usize, step: usize) -> Option<usize> {
        let around = (1..self.count).map(|places| (from + places) % self.count);
        around.filter(|to| self.dialable[from] || self.dialable[*to]).nth(step - 1)
    }

    /// Somebody else of a range who can be dialled and is not known yet.
    fn someone(&mut self, from: usize, first: usize, end: usize) -> Option<usize> {
        for _ in 0..64 {
            let to = self.dice.between(first as u64, end as u64 - 1) as usize;
            if self.suits(from, to) {
                return Some(to);
            }
        }
        (first..end).find(|to| self.suits(from, *to))
    }

    fn suits(&self, from: usize, to: usize) -> bool {
        to != from && self.dialable[to] && !self.knows(from, to)
    }

    fn relay(&mut self, from: usize) -> Option<usize> {
        let mut able: Vec<usize> = self.relays.clone();
        able.retain(|to| *to != from && !self.knows(from, *to));
        self.dice.draw(&mut able, 1);
        able.pop()
    }

    fn knows(&self, a: usize, b: usize) -> bool {
        self.edges.contains(&(a, b)) || self.edges.contains(&(b, a))
    }

    fn connect(&mut self, from: usize, to: usize) {
        if from == to || self.knows(from, to) {
            return;
        }
        if self.dialable[to] {
            self.edges.insert((from, to));
        } else if self.dialable[from] {
            self.edges.insert((to, from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(topology: &str) -> Scenario {
        let text = format!(
            "name = \"t\"\nseconds = 60\nslot-millis = 1000\ntopology = {topology}\n\
             [[peers]]\nname = \"relays\"\nrole = \"relay\"\ncount = 4\nvalidators = 3\ndials = 3\n\
             [[peers]]\nname = \"natives\"\nrole = \"native\"\ncount = 60\ndials = 4\n\
             [[peers]]\nname = \"hidden\"\nrole = \"native\"\ncount = 36\ndials = 4\nnat = \"closed\"\n"
        );
        Scenario::parse(&text).unwrap()
    }

    /// How many peers the first one reaches.
    fn reached(dials: &[Vec<usize>]) -> usize {
        let mut seen = BTreeSet::from([0]);
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            let back = (0..dials.len()).filter(|other| dials[*other].contains(&at));
            for next in dials[at].iter().copied().chain(back) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.len()
    }

    #[test]
    fn every_topology_connects_all_and_dials_nobody_who_cannot_be_dialled() {
        for topology in [
            "{ kind = \"random\" }",
            "{ kind = \"ring\" }",
            "{ kind = \"star\" }",
            "{ kind = \"clustered\", clusters = 5 }",
            "{ kind = \"small-world\", rewired = 0.2 }",
        ] {
            let scenario = scenario(topology);
            let dials = scenario.dials();
            assert_eq!(dials, scenario.dials());
            assert_eq!(reached(&dials), 100, "{topology}");
            assert!(dials.iter().flatten().all(|to| *to < 64), "{topology}");
            assert!(dials.iter().enumerate().all(|(from, to)| !to.contains(&from)), "{topology}");
        }
        let ring = scenario("{ kind = \"ring\" }").dials();
        assert_eq!(ring[10], [11, 12, 13, 14]);
        let star = scenario("{ kind = \"star\" }").dials();
        assert!(star.iter().flatten().all(|to| *to < 4));
    }
}
