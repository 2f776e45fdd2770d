//! Peers abreast: what happens to different peers within one window of virtual time, on two threads.
//!
//! No packet takes less than [`WINDOW`], so whatever peers do within one window none of the others hears of in it. The world
//! therefore gathers what comes to them, one turn for each peer at most, lets the nodes take their turns on whatever
//! thread is free, and meanwhile carries out what the first want done, in the order of their turns. What is gathered does not
//! depend on the number of threads, so a run is the same with one and with two; it differs from a run of the same
//! seed event by event, since dice fall in another order and two peers' clocks may differ by one window.
//!
//! Puppets, and nodes whose outputs are altered, take their turns at once: what they do may be shared between them.

use std::{
    collections::VecDeque,
    hint, iter,
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    thread,
};

use weft_core::{
    node::{Input, Node, Output},
    primitives::{Mono, Now},
};

use super::{
    event::Micros,
    peer::{Actor, PeerIx},
    trace,
    world::World,
};

/// How long the shortest way from one peer to another takes, in microseconds: see [`Network`](super::Network).
pub(super) const WINDOW: Micros = 250;
/// With fewer turns than this, handing some of them over costs more than it saves.
const WORTH_SHARING: usize = 4;
/// How often a thread looks for turns before it goes to sleep, which costs more than many turns do.
const LOOKS: u32 = 20_000;

/// One node's turn, before and after it has been taken.
struct Turn {
    ix: PeerIx,
    at: Micros,
    clock: Now,
    node: Box<Node>,
    /// What comes to it; nothing when its timer may be due.
    input: Option<Input>,
    outputs: Vec<Output>,
    /// The outputs, as the fingerprint of the run takes them.
    steps: Vec<u8>,
    due: Option<Mono>,
}

impl Turn {
    fn take(&mut self) {
        match self.input.take() {
            Some(input) => self.node.handle(self.clock, input),
            None if self.node.poll_timeout().is_some_and(|due| due <= self.clock.mono) => {
                self.node.handle_timeout(self.clock);
            }
            None => {}
        }
        self.outputs.extend(iter::from_fn(|| self.node.poll_output()));
        for output in &self.outputs {
            trace::add_output(&mut self.steps, self.at, self.ix, output);
        }
        self.due = self.node.poll_timeout();
    }
}

/// Turns that nobody has begun to take, each with its place in the order of the window: those of the world's own thread, and those of
/// the other. A peer's are always of the same, which so has it at hand; who has none left takes of the other's.
#[derive(Default)]
struct Waiting([VecDeque<(usize, Turn)>; 2]);

impl Waiting {
    fn next(&mut self, thread: usize) -> Option<(usize, Turn)> {
        self.0[thread].pop_front().or_else(|| self.0[1 - thread].pop_back())
    }
}

/// Another thread that takes turns.
struct Helper {
    waiting: Arc<Mutex<Waiting>>,
    /// Says that there are turns.
    call: Sender<()>,
    done: Receiver<(usize, Turn)>,
}

impl Helper {
    /// A thread that lives as long as there may be turns.
    fn start() -> Self {
        let waiting = Arc::<Mutex<Waiting>>::default();
        let (call, called) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let shared = Arc::clone(&waiting);
        thread::spawn(move || {
            while wait(&called) {
                while let Some((place, mut turn)) = open(&shared).next(1) {
                    turn.take();
                    if finished.send((place, turn)).is_err() {
                        return;
                    }
                }
            }
        });
        Self { waiting, call, done }
    }
}

fn open(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().expect("nobody panics while turns are handed out")
}

/// Waits to be called; says whether somebody may still do so.
fn wait(called: &Receiver<()>) -> bool {
    for _ in 0..LOOKS {
        match called.try_recv() {
            Ok(()) => return true,
            Err(TryRecvError::Empty) => hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return false,
        }
    }
    called.recv().is_ok()
}

/// The turns of one window.
#[derive(Default)]
pub(super) struct Abreast {
    /// Whether turns are gathered now.
    gathers: bool,
    turns: Vec<Turn>,
    /// The window ends before this.
    until: Micros,
    helper: Option<Helper>,
}

impl Abreast {
    /// Whether anybody's turn has been gathered.
    fn is_waiting(&self) -> bool {
        !self.turns.is_empty()
    }
}

impl World {
    /// Takes what happens within a window of virtual time together from now on, with `threads` of them at most two. Only for
    /// [`Self::run_for`]: who looks at single events sees them one by one.
    ///
    /// # Panics
    /// When links may be shorter than a window.
    pub fn run_abreast(&mut self, threads: usize) {
        let shortest = self.network.flat_micros.unwrap_or(WINDOW);
        assert!(shortest >= WINDOW, "no link may take less than {WINDOW} microseconds");
        let helper = (threads > 1).then(Helper::start);
        self.abreast = Some(Abreast { helper, ..Abreast::default() });
    }

    /// Runs to `limit` by windows, if it is to; says whether it did.
    pub(super) fn run_windows(&mut self, limit: Micros) -> bool {
        if self.abreast.is_none() {
            return false;
        }
        loop {
            let next = self.queue.peek(limit);
            let Some(abreast) = &mut self.abreast else { return false };
            let joins = next.is_some_and(|(at, to, alone)| {
                let peer = &self.peers[to.0];
                !abreast.is_waiting()
                    || at < abreast.until && !alone && !matches!(peer.actor, Actor::TakingTurn)
            });
            if !joins {
                if !abreast.is_waiting() {
                    break;
                }
                self.take_turns();
                continue;
            }
            let Some((at, entry)) = self.queue.pop_until(limit) else { break };
            if !abreast.is_waiting() {
                abreast.until = at + WINDOW;
            }
            abreast.gathers = true;
            self.happen(at, entry);
            if let Some(abreast) = &mut self.abreast {
                abreast.gathers = false;
            }
        }
        self.now = limit;
        true
    }

    /// Keeps an input for a node's turn; gives it back when it is to be handled at once.
    pub(super) fn gather(&mut self, ix: PeerIx, input: Input) -> Option<Input> {
        if !self.may_gather(ix) {
            return Some(input);
        }
        self.put_off(ix, Some(input));
        None
    }

    /// The same for a timer that may be due; says whether it was kept.
    pub(super) fn gather_wake(&mut self, ix: PeerIx) -> bool {
        let gathers = self.may_gather(ix);
        if gathers {
            self.put_off(ix, None);
        }
        gathers
    }

    fn may_gather(&self, ix: PeerIx) -> bool {
        let peer = &self.peers[ix.0];
        self.abreast.as_ref().is_some_and(|it| it.gathers)
            && peer.tamper.is_none()
            && matches!(peer.actor, Actor::Node(_))
    }

    fn put_off(&mut self, ix: PeerIx, input: Option<Input>) {
        let (at, clock) = (self.now, self.now_of(ix));
        let actor = std::mem::replace(&mut self.peers[ix.0].actor, Actor::TakingTurn);
        let Actor::Node(node) = actor else { unreachable!("only a node's turn is put off") };
        let (outputs, steps) = (Vec::new(), Vec::new());
        let turn = Turn { ix, at, clock, node, input, outputs, steps, due: None };
        if let Some(abreast) = &mut self.abreast {
            abreast.turns.push(turn);
        }
    }

    /// Lets all whose turn it is take it, and carries out what they want done, in the order of their turns.
    fn take_turns(&mut self) {
        let Some(abreast) = &mut self.abreast else { return };
        let turns = std::mem::take(&mut abreast.turns);
        let Some(helper) = abreast.helper.take_if(|_| turns.len() >= WORTH_SHARING) else {
            for mut turn in turns {
                turn.take();
                self.end_turn(turn);
            }
            return;
        };
        let mut done: Vec<Option<Turn>> = iter::repeat_with(|| None).take(turns.len()).collect();
        let mut waiting = open(&helper.waiting);
        for (place, turn) in turns.into_iter().enumerate() {
            waiting.0[turn.ix.0 % 2].push_back((place, turn));
        }
        drop(waiting);
        // It is gone only when a node panicked there, which shows below.
        let _ = helper.call.send(());
        let mut next = 0;
        while next < done.len() {
            loop {
                match helper.done.try_recv() {
                    Ok((place, turn)) => done[place] = Some(turn),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => panic!("a peer panicked on the other thread"),
                }
            }
            if let Some(turn) = done[next].take() {
                self.end_turn(turn);
                next += 1;
                continue;
            }
            let own = open(&helper.waiting).next(0);
            match own {
                Some((place, mut turn)) => {
                    turn.take();
                    done[place] = Some(turn);
                }
                None => hint::spin_loop(),
            }
        }
        if let Some(abreast) = &mut self.abreast {
            abreast.helper = Some(helper);
        }
    }

    fn end_turn(&mut self, turn: Turn) {
        let Turn { ix, at, node, outputs, steps, due, .. } = turn;
        self.now = at;
        self.peers[ix.0].actor = Actor::Node(node);
        self.trace.outputs(at, ix, &outputs, &steps);
        for output in outputs {
            self.carry_out(ix, output);
        }
        self.schedule_commit(ix);
        self.schedule_wake(ix, due);
    }
}
