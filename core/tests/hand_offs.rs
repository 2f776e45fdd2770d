//! Hand-offs explored exhaustively: every way in which two branches around one may carry certificates, and every way in which
//! honest authorities may vote on them.
//!
//! Only checkpoints and the certificates between them matter. After each checkpoint a branch may carry one that fits, or none.
//! A vote for a checkpoint is the link that its record demands, so what an honest authority does is the set of checkpoints it
//! votes for; [`Voter`] says which sets can be. More votes never make a certificate go away, so only the largest sets count.
//! Faulty authorities vote for everything. The records come from `ConsensusRecord::after`, and they say what a quorum is.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use weft_core::{
    chain::{
        Authority, AuthoritySet, CHECKPOINT_INTERVAL, Certificate, Checkpoint, ConsensusRecord, Genesis,
        Header, Link, PendingSet, SystemItem, UnsignedHeader,
    },
    finality::Voter,
    primitives::{Address, Hash, Height, PublicKey, Signature, Slot},
    sync::{Fragment, Proven},
};

/// How many authorities there are of each kind: those only in the old set, in both, and only in the new one.
#[derive(Clone, Copy, Debug)]
struct Case {
    honest: [u8; 3],
    faulty: [u8; 3],
    /// The checkpoint after which the branches part. The hand-off is decided before the first one: on one branch only if they
    /// part at genesis.
    fork: usize,
    /// Checkpoints on each branch.
    steps: usize,
    /// Count only the set in force: what the two-set rule protects from.
    one_set: bool,
}

fn key(index: u8) -> PublicKey {
    PublicKey([index + 1; 32])
}

fn set(id: u64, members: impl IntoIterator<Item = u8>) -> AuthoritySet {
    let authority = |index| Authority { key: key(index), fee_address: Address([0; 32]) };
    AuthoritySet { id, authorities: members.into_iter().map(authority).collect() }
}

impl Case {
    /// The authorities of a kind: honest ones first.
    fn members(&self, kind: usize) -> Range<u8> {
        let size = |kind: usize| self.honest[kind] + self.faulty[kind];
        let start = (0..kind).map(size).sum();
        start..start + size(kind)
    }

    fn genesis(&self) -> Genesis {
        Genesis {
            name: "hand-offs".into(),
            time: 0,
            slot_millis: 1000,
            min_fee_per_byte: 1,
            authorities: set(0, self.members(0).chain(self.members(1))).authorities,
            grants: Vec::new(),
        }
    }

    fn pending(&self) -> PendingSet {
        PendingSet { set: set(1, self.members(1).chain(self.members(2))), since: Height(5) }
    }
}

/// A branch: its checkpoints with their records, the genesis first.
#[derive(Clone)]
struct Branch {
    checkpoints: Vec<(Checkpoint, ConsensusRecord)>,
    headers: Vec<Header>,
    /// What the last block yields.
    record: ConsensusRecord,
    /// The checkpoints whose certificates the branch carries.
    carries: Vec<usize>,
}

impl Branch {
    fn new(case: &Case) -> Self {
        let record = ConsensusRecord::of_genesis(&case.genesis());
        Self {
            checkpoints: vec![(record.finalised, record.clone())],
            headers: vec![case.genesis().header(Hash::ZERO)],
            record,
            carries: Vec::new(),
        }
    }

    fn link(&self, step: usize) -> Link {
        let (target, record) = &self.checkpoints[step];
        Link { source: record.justified, target: *target }
    }

    fn certificate(&self, step: usize) -> Certificate {
        let voters = self.checkpoints[step].1.voters().len();
        let signatures =
            (0..voters).map(|place| (u16::try_from(place).unwrap(), Signature([0; 64]))).collect();
        Certificate { link: self.link(step), signatures }
    }

    /// The branch with the next checkpoint; before it comes a block with the certificate of this one, if there is any.
    fn grown(&self, carry: Option<usize>, salt: u8) -> Option<Self> {
        let mut next = self.clone();
        let step = self.checkpoints.len();
        let below = Height((step as u64 - 1) * CHECKPOINT_INTERVAL);
        if let Some(carry) = carry {
            let items = [SystemItem::Certificate(self.certificate(carry))];
            let target = &self.checkpoints[carry].1;
            next.record = self.record.after(Height(below.0 + 1), &items, Some(target)).ok()?;
            next.carries.push(carry);
        }
        let height = Height(step as u64 * CHECKPOINT_INTERVAL);
        let roots = [Hash([salt; 32]); 4];
        let roots = [roots[0], roots[1], roots[2], roots[3], next.record.root(), Hash::ZERO];
        let parent = self.headers[step - 1].hash();
        let (set_id, proposer) = (next.record.set.id, key(0));
        let content = UnsignedHeader::new(height, Slot(height.0), parent, roots, set_id, proposer);
        let header = Header { content, signature: Signature([0; 64]) };
        next.checkpoints.push((Checkpoint { height, hash: header.hash() }, next.record.clone()));
        next.headers.push(header);
        Some(next)
    }

    /// All ways to go on up to so many checkpoints.
    fn plans(self, steps: usize, salt: u8) -> Vec<Self> {
        let mut plans = vec![self];
        while plans[0].checkpoints.len() <= steps {
            let ways = |plan: &Self| {
                let carries = (1..plan.checkpoints.len()).map(Some).chain([None]);
                carries.filter_map(|carry| plan.grown(carry, salt)).collect::<Vec<_>>()
            };
            plans = plans.iter().flat_map(ways).collect();
        }
        plans
    }
}

/// A checkpoint that can be voted for.
struct Target<'a> {
    link: Link,
    record: &'a ConsensusRecord,
    /// The branch it is on: none for those below the fork.
    side: Option<usize>,
    step: usize,
}

/// For each target, how many vote for it: four bits each.
type Counts = u64;

fn count(counts: Counts, at: usize) -> u8 {
    (counts >> (4 * at) & 15) as u8
}

/// The largest sets of targets that an honest authority may vote for.
fn ballots(targets: &[Target<'_>], by: &PublicKey) -> Vec<Counts> {
    let mut found = vec![(Voter::default(), 0)];
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|at| targets[*at].link.target.height);
    for at in order {
        let target = &targets[at];
        if !target.record.voters().contains(by) {
            continue;
        }
        for (voter, cast) in found.clone() {
            let mut voter = voter;
            if voter.bind(&target.link) {
                found.push((voter, cast | 1 << (4 * at)));
            }
        }
    }
    let all: BTreeSet<Counts> = found.into_iter().map(|(_, cast)| cast).collect();
    let is_largest = |cast: &Counts| !all.iter().any(|other| other != cast && other & cast == *cast);
    all.iter().copied().filter(is_largest).collect()
}

/// All that so many alike may do together.
fn together(ballots: &[Counts], voters: u8) -> BTreeSet<Counts> {
    let mut sums = BTreeSet::from([0]);
    for _ in 0..voters {
        sums = sums.iter().flat_map(|sum| ballots.iter().map(move |cast| sum + cast)).collect();
    }
    sums
}

/// In how many situations two conflicting checkpoints are final, and how many there are.
fn explore(case: Case) -> (usize, usize) {
    let (mut conflicts, mut situations) = (0, 0);
    let start = Branch::new(&case);
    let mut with = start.clone();
    with.record.pending = Some(case.pending());
    let pairs: Vec<(Branch, Branch)> = match case.fork {
        0 => {
            let (with, without) = (with.plans(case.steps, 1), start.plans(case.steps, 2));
            with.iter().flat_map(|a| without.iter().map(|b| (a.clone(), b.clone()))).collect()
        }
        fork => {
            let common = with.plans(fork, 0);
            let pairs = common.into_iter().flat_map(|common| {
                let (a, b) = (common.clone().plans(case.steps, 1), common.plans(case.steps, 2));
                a.into_iter().flat_map(move |a| b.clone().into_iter().map(move |b| (a.clone(), b)))
            });
            pairs.collect()
        }
    };
    for (a, b) in &pairs {
        let sides = [a, b];
        let on = |side: usize, step: usize| Target {
            link: sides[side].link(step),
            record: &sides[side].checkpoints[step].1,
            side: (step > case.fork).then_some(side),
            step,
        };
        let mut targets: Vec<Target<'_>> = (1..=case.fork).map(|step| on(0, step)).collect();
        targets.extend(
            (0..2)
                .flat_map(|side| (case.fork + 1..=case.steps).map(move |step| (side, step)))
                .map(|(side, step)| on(side, step)),
        );
        assert!(targets.len() <= 16, "four bits each");

        let done = [0, 1, 2].map(|kind: usize| {
            let honest = case.honest[kind];
            together(&ballots(&targets, &key(case.members(kind).start)), honest)
        });
        // Whether so many honest votes of each kind are a quorum, by what the record itself says.
        let mut quorums: Vec<BTreeMap<[u8; 3], bool>> = targets.iter().map(|_| BTreeMap::new()).collect();
        let mut certified = |counts: &[Counts; 3], at: usize| {
            let votes = [0, 1, 2].map(|kind| count(counts[kind], at));
            *quorums[at].entry(votes).or_insert_with(|| {
                let signers = (0..3).flat_map(|kind| {
                    let Range { start, end } = case.members(kind);
                    (start..start + votes[kind]).chain(start + case.honest[kind]..end)
                });
                let signers: BTreeSet<PublicKey> = signers.map(key).collect();
                let record = targets[at].record;
                if case.one_set { record.set.is_quorum(&signers) } else { record.is_quorum(&signers) }
            })
        };
        let place = |side: usize, step: usize| {
            targets.iter().position(|it| it.step == step && it.side.is_none_or(|it| it == side)).unwrap()
        };
        let carried: BTreeSet<usize> = [0, 1]
            .into_iter()
            .flat_map(|side| sides[side].carries.iter().map(move |step| (side, *step)))
            .map(|(side, step)| place(side, step))
            .collect();
        for old in &done[0] {
            for both in &done[1] {
                for new in &done[2] {
                    let counts = [*old, *both, *new];
                    if !carried.iter().all(|at| certified(&counts, *at)) {
                        continue;
                    }
                    situations += 1;
                    let mut final_on = [false; 2];
                    for (at, target) in targets.iter().enumerate() {
                        if let Some(side) = target.side
                            && target.link.finalises_source()
                            && target.step - 1 > case.fork
                            && certified(&counts, at)
                        {
                            final_on[side] = true;
                        }
                    }
                    conflicts += usize::from(final_on == [true, true]);
                }
            }
        }
    }
    (conflicts, situations)
}

const ONE_SET: Case = Case { honest: [1, 0, 1], faulty: [0; 3], fork: 2, steps: 6, one_set: true };

#[test]
fn around_a_hand_off_no_two_branches_are_final() {
    let cases = [
        // Sets without a common member.
        Case { one_set: false, ..ONE_SET },
        Case { honest: [3, 0, 1], faulty: [1, 0, 0], one_set: false, ..ONE_SET },
        Case { honest: [1, 0, 3], faulty: [0, 0, 1], one_set: false, ..ONE_SET },
        Case { honest: [3, 0, 3], faulty: [1, 0, 1], one_set: false, ..ONE_SET },
        // One is let in, and one put out.
        Case { honest: [0, 3, 1], faulty: [0, 1, 0], one_set: false, ..ONE_SET },
        Case { honest: [1, 3, 0], faulty: [0, 1, 0], one_set: false, ..ONE_SET },
        Case { honest: [0, 3, 0], faulty: [1, 0, 0], one_set: false, ..ONE_SET },
    ];
    for case in cases {
        for fork in 0..=2 {
            let own = if fork < 2 || case.honest == ONE_SET.honest { 4 } else { 3 };
            let case = Case { fork, steps: fork + own, ..case };
            let (conflicts, situations) = explore(case);
            assert!(situations > 50, "{situations} situations are no exploration: {case:?}");
            assert_eq!(conflicts, 0, "of {situations}: {case:?}");
        }
    }
}

#[test]
fn if_only_the_set_in_force_counted_both_could_be_final_with_nobody_at_fault() {
    let conflicts = |fork| explore(Case { fork, steps: fork + 4, ..ONE_SET }).0;
    assert!((0..=2).any(|fork| conflicts(fork) > 0), "the model can tell");
}

#[test]
fn a_third_at_fault_is_too_many() {
    let case = Case { honest: [2, 0, 1], faulty: [2, 0, 0], fork: 0, steps: 4, one_set: false };
    assert!(explore(case).0 > 0, "the model can tell");
}

/// Whatever certificates a branch carries: the fragments that full peers have of it lead a light one to the same set, all of
/// them or only those at which the set changes and the newest; and no choice among them leads it to another.
#[test]
fn a_light_peer_follows_to_the_set_that_execution_yields_and_to_no_other() {
    let case = Case { honest: [2, 1, 2], faulty: [0; 3], fork: 0, steps: 7, one_set: false };
    let mut start = Branch::new(&case);
    start.record.pending = Some(case.pending());
    let (mut handed_over, mut refused) = (0, 0);
    for branch in start.plans(case.steps, 1) {
        let fragment = |step: usize| {
            let certificate = branch.certificate(step + 1);
            Fragment {
                checkpoint: branch.headers[step].clone(),
                record: branch.checkpoints[step].1.clone(),
                child: branch.headers[step + 1].clone(),
                child_record: branch.checkpoints[step + 1].1.clone(),
                certificate,
            }
        };
        let is_final = |step: &usize| branch.link(step + 1).source == branch.checkpoints[*step].0;
        let steps: Vec<usize> = (1..case.steps).filter(is_final).collect();
        let fragments: Vec<Fragment> = steps.iter().map(|step| fragment(*step)).collect();
        let genesis = Proven::genesis(&case.genesis());
        let Some(last) = steps.last() else { continue };
        let truth = |step: usize| &branch.checkpoints[step].1;
        assert_eq!(genesis.follow_all(&fragments).unwrap().record, *truth(*last));

        let mut known = genesis.record.clone();
        let turns = fragments.iter().filter(|fragment| {
            let record = &fragment.record;
            let turn =
                record.set.id > known.set.id || (record.pending.is_some() && record.pending != known.pending);
            if turn {
                known = record.clone();
            }
            turn || fragment.checkpoint == branch.headers[*last]
        });
        let turns: Vec<Fragment> = turns.cloned().collect();
        assert_eq!(genesis.follow_all(&turns).unwrap().record, *truth(*last));
        handed_over += usize::from(truth(*last).set.id == 1);

        for choice in 1_u32..1 << fragments.len() {
            let chosen = (0..fragments.len()).filter(|at| choice & (1 << at) != 0);
            let chosen: Vec<usize> = chosen.collect();
            let told: Vec<Fragment> = chosen.iter().map(|at| fragments[*at].clone()).collect();
            match genesis.follow_all(&told) {
                Ok(proven) => assert_eq!(proven.record, *truth(steps[*chosen.last().unwrap()])),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(handed_over > 0 && refused > 0, "{handed_over} hand-offs, {refused} refusals");
}
