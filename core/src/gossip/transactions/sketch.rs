//! Sketches: two sets compared by their difference, whatever their sizes.
//!
//! A rateless invertible Bloom lookup table (Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM
//! 2024). Every id is mapped to an endless row of symbols, ever more sparsely: to the i-th with probability 1/(1 + i/2).
//! A symbol is the sum of what is mapped to it. Taking our own symbols from another's leaves the symbols of the
//! difference; one with a single id in it gives that id away, which is then taken out everywhere else, and so on. About
//! 1.35 symbols an id of the difference are enough, and nobody needs to know beforehand how many that will be.

use std::collections::{BTreeMap, BTreeSet};

use super::{ShortId, Symbol, short::PairKey};

/// The most symbols of one sketch: enough for a difference of about 750 in 16 KiB. Past that, announcing costs as little.
pub const MAX_SYMBOLS: usize = 1024;

/// Nothing is mapped to it.
const EMPTY: Symbol = Symbol { ids: [0; 8], checksum: [0; 4], count: 0 };

/// Where one id goes, symbol by symbol.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// The next symbol.
    index: u64,
    state: u64,
}

impl Path {
    /// Every id is in the first symbol.
    const fn new(trace: u64) -> Self {
        Self { index: 0, state: trace }
    }

    /// The paper's section 4.2: the gap to the next symbol is drawn by the inverse of its distribution. Square root,
    /// division and multiplication of IEEE 754 give the same everywhere.
    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        let stretch = 4_294_967_296.0 / (self.state as f64 + 1.0).sqrt() - 1.0;
        let gap = ((self.index as f64 + 1.5) * stretch).ceil();
        // At least one, since a stretch can be as small as nothing.
        self.index = self.index.saturating_add((gap as u64).max(1));
    }
}

/// An id on its way through the symbols.
#[derive(Clone, Copy, Debug)]
struct Walker {
    short: ShortId,
    checksum: [u8; 4],
    path: Path,
}

impl Walker {
    fn new(key: &PairKey, short: ShortId) -> Self {
        let trace = key.trace(&short);
        let [a, b, c, d, ..] = trace.to_le_bytes();
        Self { short, checksum: [a, b, c, d], path: Path::new(trace) }
    }

    /// Adds the id, `sign` times, to the symbols from where it stands, and says which they were.
    fn walk(&mut self, symbols: &mut [Symbol], sign: i32, mut touched: impl FnMut(usize)) {
        while let Some((index, symbol)) =
            usize::try_from(self.path.index).ok().and_then(|index| Some((index, symbols.get_mut(index)?)))
        {
            combine(symbol, &Symbol { ids: self.short.0, checksum: self.checksum, count: sign });
            touched(index);
            self.path.advance();
        }
    }
}

/// Adds one symbol to another. Counts of a hostile sketch may overflow.
fn combine(symbol: &mut Symbol, other: &Symbol) {
    symbol.ids.iter_mut().zip(other.ids).for_each(|(byte, other)| *byte ^= other);
    symbol.checksum.iter_mut().zip(other.checksum).for_each(|(byte, other)| *byte ^= other);
    symbol.count = symbol.count.wrapping_add(other.count);
}

/// The first `count` symbols of a set.
pub(super) fn sketch(key: &PairKey, ids: impl IntoIterator<Item = ShortId>, count: usize) -> Vec<Symbol> {
    let mut symbols = vec![EMPTY; count];
    for short in ids {
        Walker::new(key, short).walk(&mut symbols, 1, |_| {});
    }
    symbols
}

/// What two sets do not share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// What only the other has.
    pub(super) theirs: Vec<ShortId>,
    /// What only we have.
    pub(super) ours: Vec<ShortId>,
}

/// How far a comparison is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More symbols are needed.
    More,
    /// This is all.
    Done(Difference),
    /// No set has such symbols together with ours.
    Junk,
}

/// A comparison of our set with another's, of which symbols come bit by bit.
#[derive(Debug)]
pub(super) struct Comparison {
    key: PairKey,
    ours: BTreeSet<ShortId>,
    /// The symbols of our set.
    symbols: Vec<Symbol>,
    /// Theirs without ours, as far as they came, without what has been recovered.
    rest: Vec<Symbol>,
    /// What has been recovered, with 1 for theirs and -1 for ours.
    recovered: BTreeMap<ShortId, (i32, Walker)>,
}

impl Comparison {
    pub(super) fn new(key: PairKey, ours: BTreeSet<ShortId>) -> Self {
        let symbols = sketch(&key, ours.iter().copied(), MAX_SYMBOLS);
        Self { key, ours, symbols, rest: Vec::new(), recovered: BTreeMap::new() }
    }

    /// How many symbols have come.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next symbols; those past [`MAX_SYMBOLS`] are ignored.
    pub(super) fn add(&mut self, symbols: &[Symbol]) -> Progress {
        let from = self.rest.len();
        for (theirs, ours) in symbols.iter().zip(&self.symbols[from..]) {
            let mut symbol = *theirs;
            combine(&mut symbol, &Symbol { count: ours.count.wrapping_neg(), ..*ours });
            self.rest.push(symbol);
        }
        for (sign, walker) in self.recovered.values_mut() {
            walker.walk(&mut self.rest, -*sign, |_| {});
        }
        let mut worth_a_look: Vec<usize> = (from..self.rest.len()).rev().collect();
        while let Some(index) = worth_a_look.pop() {
            let Some(mut walker) = self.single(&self.rest[index]) else { continue };
            let sign = self.rest[index].count;
            // What we have alone is ours, and what they have alone is not. No id is found twice, nor more of them than
            // there are symbols.
            if (sign < 0) != self.ours.contains(&walker.short)
                || self.recovered.contains_key(&walker.short)
                || self.recovered.len() == self.rest.len()
            {
                return Progress::Junk;
            }
            walker.walk(&mut self.rest, -sign, |index| worth_a_look.push(index));
            self.recovered.insert(walker.short, (sign, walker));
        }
        if self.rest.is_empty() || self.rest.iter().any(|symbol| *symbol != EMPTY) {
            return Progress::More;
        }
        let of = |side| {
            let found = self.recovered.iter().filter(move |(_, (sign, _))| *sign == side);
            found.map(|(short, _)| *short).collect()
        };
        Progress::Done(Difference { theirs: of(1), ours: of(-1) })
    }

    /// The id that is alone in a symbol.
    fn single(&self, symbol: &Symbol) -> Option<Walker> {
        let walker = Walker::new(&self.key, ShortId(symbol.ids));
        (symbol.count.unsigned_abs() == 1 && walker.checksum == symbol.checksum).then_some(walker)
    }
}

#[cfg(test)]
mod tests;
