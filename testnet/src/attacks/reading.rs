//! What a run under attack is measured by, and whether that is good enough.

use std::fmt::{self, Write as _};

use super::Attack;

/// How much worse a number has to be for the difference to count.
const VISIBLY: f64 = 1.5;

/// What a number must not pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
    /// Nothing: it is there to be read.
    None,
}

/// A number that came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What it is, with its unit.
    pub what: &'static str,
    /// The number; infinite for what never happened.
    pub value: f64,
    /// What it must not pass.
    pub bar: Bar,
}

impl Reading {
    /// A number that must not be more.
    pub(super) const fn most(what: &'static str, value: f64, bar: f64) -> Self {
        Self { what, value, bar: Bar::Most(bar) }
    }

    /// A number that must not be less.
    pub(super) const fn least(what: &'static str, value: f64, bar: f64) -> Self {
        Self { what, value, bar: Bar::Least(bar) }
    }

    /// Whether it keeps its bar.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self.bar {
            Bar::Most(most) => self.value <= most,
            Bar::Least(least) => self.value >= least,
            Bar::None => true,
        }
    }

    /// Whether it is worse than another by enough to count.
    fn is_visibly_worse(&self, than: &Self) -> bool {
        match self.bar {
            Bar::Most(_) => self.value > VISIBLY * than.value && self.value > 0.0,
            Bar::Least(_) => VISIBLY * self.value < than.value,
            Bar::None => false,
        }
    }
}

/// What the two runs of an attack came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All bars are kept with the defence, and without it one is missed or a number is visibly worse.
    Defended,
    /// All bars are kept, and without the defence as well: something else protects.
    DefenceIdle,
    /// A bar is missed.
    Broken,
}

/// An attack, with and without the defence.
pub struct Pair {
    /// The attack.
    pub attack: &'static Attack,
    /// The seed of both runs.
    pub seed: u64,
    /// With the defence.
    pub with: Vec<Reading>,
    /// Without.
    pub without: Vec<Reading>,
}

impl Pair {
    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.with.iter().all(Reading::passes) {
            Verdict::Broken
        } else if self.tells() {
            Verdict::Defended
        } else {
            Verdict::DefenceIdle
        }
    }

    /// Whether the run without the defence misses a bar, or is visibly worse.
    #[must_use]
    pub fn tells(&self) -> bool {
        let worse = |(off, on): (&Reading, &Reading)| !off.passes() || off.is_visibly_worse(on);
        self.without.iter().zip(&self.with).any(worse)
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        "never".to_owned()
    } else if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn bar(bar: Bar) -> String {
    match bar {
        Bar::Most(most) if most.is_infinite() => String::new(),
        Bar::Most(most) => format!("≤ {}", number(most)),
        Bar::Least(least) => format!("≥ {}", number(least)),
        Bar::None => String::new(),
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = if self.passes() { "" } else { "  missed" };
        write!(f, "  {:<52}{:>10}  {}{missed}", self.what, number(self.value), bar(self.bar))
    }
}

impl fmt::Display for Pair {
    /// The table for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attack, seed, with, without } = self;
        let modelled = if attack.modelled { " (gossip is a model)" } else { "" };
        writeln!(f, "{}, seed {seed}{modelled}: {}", attack.name, attack.about)?;
        writeln!(f, "without: {}", attack.defence)?;
        writeln!(f, "  {:<52}{:>10}{:>10}  bar", "", "with", "without")?;
        for (on, off) in with.iter().zip(without) {
            let missed = if on.passes() { "" } else { "  missed" };
            let (with, without) = (number(on.value), number(off.value));
            writeln!(f, "  {:<52}{with:>10}{without:>10}  {}{missed}", on.what, bar(on.bar))?;
        }
        match (self.verdict(), attack.idle) {
            (Verdict::Defended, _) => write!(f, "  defended"),
            (Verdict::DefenceIdle, None) => write!(f, "  no worse without the defence"),
            (Verdict::DefenceIdle, Some(why)) => write!(f, "  no worse without the defence: {why}"),
            (Verdict::Broken, _) => write!(
                f,
                "  NOT DEFENDED{}",
                attack.open.map_or_else(String::new, |why| format!(", as is known: {why}"))
            ),
        }
    }
}

/// The rows of a table for the documents.
#[must_use]
pub fn markdown(pairs: &[Pair]) -> String {
    let mut text = String::from("| attack | measured | bar | with | without |\n|---|---|---|---|---|\n");
    for Pair { attack, with, without, .. } in pairs {
        let mut name = format!("`{}`{}", attack.name, if attack.modelled { " (model)" } else { "" });
        for (on, off) in with.iter().zip(without) {
            let emphasis = if off.passes() { "" } else { "**" };
            let (with, without) = (number(on.value), number(off.value));
            let bar = bar(on.bar);
            let _ =
                writeln!(text, "| {name} | {} | {bar} | {with} | {emphasis}{without}{emphasis} |", on.what);
            name.clear();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defence_counts_that_keeps_every_bar_and_whose_absence_shows() {
        let attack = super::super::all().next().unwrap();
        let pair = |with: f64, without: f64| Pair {
            attack,
            seed: 0,
            with: vec![Reading::most("p99", with, 10.0), Reading::least("share", 1.0, 0.9)],
            without: vec![Reading::most("p99", without, 10.0), Reading::least("share", 1.0, 0.9)],
        };
        assert_eq!(pair(5.0, 11.0).verdict(), Verdict::Defended);
        assert_eq!(pair(5.0, 8.0).verdict(), Verdict::Defended);
        assert_eq!(pair(5.0, 7.0).verdict(), Verdict::DefenceIdle);
        assert_eq!(pair(11.0, f64::INFINITY).verdict(), Verdict::Broken);
        assert!(pair(5.0, f64::INFINITY).to_string().contains("never"));
    }
}
