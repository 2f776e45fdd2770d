//! A world in halves: two threads run one half of the peers each, and meet again and again.
//!
//! Nothing that a peer of one half does is felt in the other before the shortest link between the two has been crossed. For so long both can
//! go on without each other: a window. Then each is handed what the other has sent it, and the next window begins. The longer the
//! shortest link between them, the better, so peers that are near to each other are of one half ([`divide`]).
//!
//! This is conservative parallel simulation after Chandy, Misra and Bryant, with windows in place of null messages. Which peer is of
//! which half, and how long a window is, follows from the seed alone; so does the run, however the threads take turns. It is another run
//! than that of the undivided world, since each half has dice of its own.
//!
//! In the place of each peer of the other half, a half has an outline: what of a peer never changes within a window.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hint, mem,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvError, Sender, TryRecvError},
    },
    thread,
};

use weft_core::primitives::{Hash, Hasher};

use super::{
    dice::{Dice, derive},
    disk::{Disk, Library},
    event::{Entry, Event, Micros, Queue},
    gossip::Gossip,
    ids::Ids,
    jobs::Shared,
    peer::Peer,
    scripts::{Scripts, Unscripted},
    trace::Trace,
    watch::Watch,
    world::World,
};

/// With a shorter window than this, in microseconds, the threads would mostly wait for each other.
const WORTHWHILE: Micros = 2_000;
/// Names that the other half gives to requests and verdicts begin here.
const NAMES: u64 = 1 << 40;

/// How often a thread looks whether the other is done before it goes to sleep, which takes longer than most waits last.
const LOOKS: u32 = 10_000;

/// The second half, as it goes from thread to thread.
type Other = Box<World<Unscripted>>;

/// A thread that runs the second half, for as long as there may be windows.
struct Helper {
    /// Takes the half, and until when it is to run.
    begin: Sender<(Other, Micros)>,
    end: Receiver<Other>,
}

impl Helper {
    fn start() -> Self {
        let (begin, begun) = mpsc::channel::<(Other, Micros)>();
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            while let Ok((mut other, until)) = receive(&begun) {
                other.run_before(until);
                if ended.send(other).is_err() {
                    return;
                }
            }
        });
        Self { begin, end }
    }
}

/// Waits for what comes next.
fn receive<T>(from: &Receiver<T>) -> Result<T, RecvError> {
    for _ in 0..LOOKS {
        match from.try_recv() {
            Ok(it) => return Ok(it),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) => hint::spin_loop(),
        }
    }
    from.recv()
}

/// What there is besides the world itself, which runs the first half.
pub(super) struct Halves {
    helper: Helper,
    other: Other,
    /// Which peers are of the other half.
    is_of_other: Arc<[bool]>,
    /// The shortest link between the halves.
    window: Micros,
    /// What happens to peers of both, in order.
    joint: BTreeMap<(Micros, u64), Entry>,
    joined: u64,
}

impl Halves {
    pub(super) fn trace(&self, first: &Trace) -> Hash {
        Hasher::default().add(&first.hash().0).add(&self.other.trace.hash().0).finish()
    }

    /// Hands each half what the other has for it.
    fn exchange<S: Scripts>(&mut self, first: &mut World<S>) {
        for (at, entry) in first.queue.take_away() {
            assert!(at >= self.other.now, "{:?} hears too late of what happens at {at}", entry.to);
            self.other.queue.push_entry(at, entry);
        }
        for (at, entry) in self.other.queue.take_away() {
            assert!(at >= first.now, "{:?} hears too late of what happens at {at}", entry.to);
            first.queue.push_entry(at, entry);
        }
        for (at, entry) in first.queue.take_joint().into_iter().chain(self.other.queue.take_joint()) {
            self.joined += 1;
            self.joint.insert((at, self.joined), entry);
        }
    }

    /// When the next joint event is.
    fn joint_at(&self) -> Option<Micros> {
        self.joint.first_key_value().map(|((at, _), _)| *at)
    }

    /// The peers of the other half change places with their outlines.
    fn swap<S: Scripts>(&mut self, first: &mut World<S>) {
        for ((ours, theirs), _) in first
            .peers
            .iter_mut()
            .zip(&mut self.other.peers)
            .zip(self.is_of_other.iter())
            .filter(|(_, is)| **is)
        {
            mem::swap(ours, theirs);
        }
    }

    /// Each thread may take its half from here on.
    fn part<S: Scripts>(&mut self, first: &mut World<S>) {
        let other = &mut self.other;
        for (ours, theirs) in first.peers.iter_mut().zip(&mut other.peers) {
            theirs.life = ours.life;
        }
        (other.epoch, other.network, other.partition) = (first.epoch, first.network, first.partition);
        (other.blame_allowed, other.conflict_allowed) = (first.blame_allowed, first.conflict_allowed);
        (other.checks_steps, other.whole_blocks) = (first.checks_steps, first.whole_blocks);
        other.refuses_requests = first.refuses_requests;
        other.sides.clone_from(&first.sides);
        other.dns.clone_from(&first.dns);
        other.lists.clone_from(&first.lists);
        if other.measure.is_none() {
            other.measure = first.measure.as_ref().map(|measure| Box::new(measure.for_another()));
        }
        if other.names.len() < first.names.len() {
            other.names = first.names.clone();
        }
        self.swap(first);
        (first.up_elsewhere, self.other.up_elsewhere) = (self.other.up(), first.up());
    }

    /// The world is whole again: whoever looks at it sees everybody.
    fn unite<S: Scripts>(&mut self, first: &mut World<S>) {
        self.swap(first);
        (first.up_elsewhere, self.other.up_elsewhere) = (0, 0);
        first.replies.append(&mut self.other.replies);
        first.watch.absorb(&mut self.other.watch, first.conflict_allowed);
    }

    /// What was measured in a window.
    fn measure<S: Scripts>(&mut self, first: &mut World<S>) {
        if let (Some(measure), Some(other)) = (&mut first.measure, &mut self.other.measure) {
            measure.absorb(other);
        }
    }
}

impl World {
    /// From now on two threads run this world, if that is of use: it needs a mesh, and two halves of the peers that are far enough from
    /// each other. To be said once everybody has joined. Says whether they do.
    ///
    /// # Panics
    /// When they do already.
    pub fn run_in_halves(&mut self) -> bool {
        assert!(self.halves.is_none(), "a world has two halves");
        let Some((is_of_other, window)) = self.divide() else { return false };
        let here = is_of_other.iter().map(|is_of_other| !is_of_other).collect();
        let mut queue = Queue::default();
        queue.keep(Arc::clone(&is_of_other));
        self.queue.keep(here);
        let other = World {
            seed: self.seed,
            now: self.now,
            epoch: self.epoch,
            queue,
            dice: Dice::from_seed(derive(self.seed, "other half", 0)),
            network: self.network,
            peers: self.peers.iter().map(|peer| Box::new(peer.outline())).collect(),
            scripts: Unscripted,
            halves: None,
            up_elsewhere: 0,
            by_id: Arc::clone(&self.by_id),
            table: None,
            sides: self.sides.clone(),
            partition: self.partition,
            shared: Shared::default(),
            library: Library::default(),
            trace: Trace::new(),
            watch: Watch::default(),
            measure: None,
            ids: Ids::default(),
            checks_steps: self.checks_steps,
            blame_allowed: self.blame_allowed,
            conflict_allowed: self.conflict_allowed,
            connections: 0,
            inbound: NAMES,
            gossip: self.gossip.clone(),
            whole_blocks: self.whole_blocks,
            refuses_requests: self.refuses_requests,
            names: self.names.clone(),
            dns: self.dns.clone(),
            lists: self.lists.clone(),
            judgements: NAMES,
            commands: 0,
            replies: BTreeMap::new(),
        };
        let (helper, other) = (Helper::start(), Box::new(other));
        let halves = Halves { helper, other, is_of_other, window, joint: BTreeMap::new(), joined: 0 };
        self.halves = Some(Box::new(halves));
        true
    }

    /// Which peers are to be of the other half, and how long the shortest link between the halves is. Nothing where that is of no use.
    fn divide(&self) -> Option<(Arc<[bool]>, Micros)> {
        let fits = matches!(self.gossip, Gossip::Mesh(_)) && self.table.is_none() && self.scripts.is_empty();
        let links = || {
            self.peers.iter().enumerate().flat_map(|(ix, peer)| {
                peer.links.iter().map(move |(to, link)| (link.base, ix, to.0)).collect::<Vec<_>>()
            })
        };
        let is_of_other = divide(self.peers.len(), links().collect());
        let between = links().filter(|(_, a, b)| is_of_other[*a] != is_of_other[*b]);
        let window = between.map(|(base, ..)| base).min().unwrap_or(0);
        (fits && !self.trace.tells() && window >= WORTHWHILE).then_some((is_of_other.into(), window))
    }
}

impl<S: Scripts> World<S> {
    /// The next event of the whole world, unless it lies after `limit`.
    pub(super) fn next_until(&mut self, limit: Micros) -> Option<(Micros, Entry)> {
        let Some(mut halves) = self.halves.take() else { return self.queue.pop_until(limit) };
        halves.exchange(self);
        let (first, other) = (self.queue.next_at(), halves.other.queue.next_at());
        let next = first.into_iter().chain(other).min();
        let found = if halves.joint_at().is_some_and(|joint| next.is_none_or(|next| joint <= next)) {
            let joint = halves.joint.first_entry().filter(|joint| joint.key().0 <= limit);
            joint.map(|joint| joint.remove_entry()).map(|((at, _), entry)| (at, entry))
        } else if first == next {
            self.queue.pop_until(limit)
        } else {
            halves.other.queue.pop_until(limit)
        };
        self.halves = Some(halves);
        found
    }

    /// Runs until then, with two threads if there are halves.
    pub(super) fn run_up_to(&mut self, limit: Micros) {
        while self.halves.is_some() {
            let joint = self.run_apart(limit);
            let Some((at, entry)) = joint else { return };
            let link = match &entry.event {
                Event::Established { target, .. } => Some((entry.to, *target)),
                _ => None,
            };
            self.happen(at, entry);
            // A link that has come about may be shorter than those before.
            let link = link.and_then(|(ix, target)| self.peers[ix.0].links.get(&target));
            if let (Some(link), Some(halves)) = (link, &mut self.halves) {
                halves.window = halves.window.min(link.base);
            }
        }
        while self.step(limit) {}
    }

    /// Runs the halves by themselves until then, or until something happens to peers of both, which it answers.
    fn run_apart(&mut self, limit: Micros) -> Option<(Micros, Entry)> {
        let mut halves = *self.halves.take()?;
        halves.exchange(self);
        halves.part(self);
        let joint = loop {
            let (first, other) = (self.queue.next_at(), halves.other.queue.next_at());
            let next = first.into_iter().chain(other).min().filter(|next| *next <= limit);
            let joint = halves.joint_at().filter(|joint| *joint <= limit);
            if let Some(joint) = joint
                && next.is_none_or(|next| joint <= next)
            {
                break halves.joint.pop_first().map(|((at, _), entry)| (at, entry));
            }
            let Some(next) = next else { break None };
            let until = (next + halves.window).min(joint.unwrap_or(Micros::MAX)).min(limit + 1);
            // The thread is there, and gives the half back, unless something panicked that never may happen: then so does this one.
            halves.helper.begin.send((halves.other, until)).expect("the other half has not failed");
            self.run_before(until);
            halves.other = receive(&halves.helper.end).expect("the other half has not failed");
            halves.exchange(self);
            halves.measure(self);
        };
        halves.unite(self);
        self.halves = Some(Box::new(halves));
        if joint.is_none() {
            self.now = limit;
        }
        joint
    }

    /// Lets all happen that does so before then.
    fn run_before(&mut self, until: Micros) {
        self.queue.part_until(until);
        while self.step(until - 1) {}
    }
}

impl Peer {
    /// What those of the other half know of it.
    fn outline(&self) -> Self {
        let mut config = self.config.clone();
        config.genesis = None;
        let (id, place) = ((self.id, self.chain), (self.country, self.access));
        Self {
            life: self.life,
            is_altered: self.is_altered,
            is_puppet: self.is_puppet,
            ..Self::resting(id, config, place, Disk::default())
        }
    }
}

/// Divides so many peers with these links in two: whoever is linked by the shortest of them stays together, as far as the halves
/// come to about the same number of links. Says who is of the second.
fn divide(peers: usize, mut links: Vec<(Micros, usize, usize)>) -> Vec<bool> {
    links.sort_unstable();
    let mut weights = vec![1_usize; peers];
    for (_, a, _) in &links {
        weights[*a] += 1;
    }
    let all: usize = weights.iter().sum();
    let mut groups: Vec<usize> = (0..peers).collect();
    for (_, a, b) in &links {
        let (a, b) = (group_of(&mut groups, *a), group_of(&mut groups, *b));
        if a == b {
            continue;
        }
        if weights[a] + weights[b] > all / 2 {
            break;
        }
        groups[b] = a;
        weights[a] += weights[b];
    }
    let places: Vec<usize> = (0..peers).map(|ix| group_of(&mut groups, ix)).collect();
    let mut heads: Vec<usize> = (0..peers).filter(|ix| places[*ix] == *ix).collect();
    heads.sort_by_key(|head| Reverse((weights[*head], *head)));
    let (mut is_second, mut sums) = (vec![false; peers], [0, 0]);
    for head in heads {
        let second = sums[1] < sums[0];
        is_second[head] = second;
        sums[usize::from(second)] += weights[head];
    }
    places.into_iter().map(|head| is_second[head]).collect()
}

/// The head of the group that somebody is in.
fn group_of(groups: &mut [usize], mut ix: usize) -> usize {
    while groups[ix] != ix {
        groups[ix] = groups[groups[ix]];
        ix = groups[ix];
    }
    ix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_peers_stay_together_and_the_halves_weigh_the_same() {
        // Two rings of short links, joined by long ones.
        let ring = |from: usize| (0..10).map(move |ix| (5, from + ix, from + (ix + 1) % 10));
        let links: Vec<_> = ring(0).chain(ring(10)).chain((0..10).map(|ix| (90, ix, ix + 10))).collect();
        let both = links.iter().flat_map(|(base, a, b)| [(*base, *a, *b), (*base, *b, *a)]).collect();
        let is_second = divide(20, both);
        let expected: Vec<_> = (0..20).map(|ix| is_second[0] == (ix < 10)).collect();
        assert_eq!(is_second, expected);
    }

    #[test]
    fn where_all_links_are_alike_the_halves_are_of_one_size() {
        let links = (0..30).flat_map(|ix| [(7, ix, (ix + 1) % 30), (7, (ix + 1) % 30, ix)]).collect();
        let is_second = divide(30, links);
        assert_eq!(is_second.iter().filter(|is_second| **is_second).count(), 15);
    }
}
