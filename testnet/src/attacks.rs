//! The attack suite: what attackers do to a network, each with bars that honest peers must keep, and beside it the same run with the
//! defence off.
//!
//! A run is a world in virtual time: honest peers are real nodes, attackers are scripted peers that speak the real wire formats.
//! With [`Setting::defended`] false the very defence that an attack is about is switched off, in what the simulated shell gives
//! or does; then the attack has to miss a bar or be visibly worse ([`Pair::tells`]), or it is not the defence that protects, and [`Attack::idle`]
//! says what does.
//! In every run, whatever the bars, the simulator itself ends with a panic when two honest peers call two blocks of one height final.
//!
//! The gossip attacks follow the evaluation of GossipSub (Vyzovitis et al., arXiv 2007.02754, section 4). Gossip here is the simulator's
//! model, so what rests on it is labelled.

mod arena;
mod book;
mod consensus;
mod data;
mod gossip;
mod reading;
mod slots;
mod spam;
pub(crate) mod sybil;

pub use reading::{Bar, Pair, Reading, Verdict, markdown};
pub use sybil::{Conduct, Orders};

/// How an attack is run.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// Whether the defence is on.
    pub defended: bool,
    /// How many times as many honest peers as in the small run, which takes seconds.
    pub scale: usize,
}

/// An attack.
pub struct Attack {
    /// What it is called.
    pub name: &'static str,
    /// What the attackers do.
    pub about: &'static str,
    /// What is off where the defence is.
    pub defence: &'static str,
    /// Where the attack is no worse without the defence: what protects instead.
    pub idle: Option<&'static str>,
    /// Where it succeeds although the defence is on: what is known of it.
    pub open: Option<&'static str>,
    /// Whether the result rests on the simulator's model of gossip.
    pub modelled: bool,
    run: fn(&Setting) -> Vec<Reading>,
}

impl Attack {
    /// Runs it.
    ///
    /// # Panics
    /// When something happens that never may.
    #[must_use]
    pub fn run(&self, setting: &Setting) -> Vec<Reading> {
        (self.run)(setting)
    }

    /// Runs it with the defence and without.
    #[must_use]
    pub fn pair(&'static self, seed: u64, scale: usize) -> Pair {
        let [with, without] = [true, false].map(|defended| self.run(&Setting { seed, defended, scale }));
        Pair { attack: self, seed, with, without }
    }
}

/// All of them, in the order of the table.
pub const ATTACKS: &[&[Attack]] =
    &[gossip::ATTACKS, spam::ATTACKS, data::ATTACKS, consensus::ATTACKS, book::ATTACKS, slots::ATTACKS];

/// The attack of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Attack> {
    all().find(|attack| attack.name == name)
}

/// Every attack, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().copied().flatten()
}
