//! Putting the body of a compact block together.

use super::{CompactBlock, CompactError, CompactId, CompactKey};
use crate::{
    chain::{Body, BodyError, Header, SystemItem, Transaction},
    primitives::Hash,
};

/// What is known of one transaction of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The block came with it, or it was asked for.
    Given(Transaction),
    /// One with this id has the short id.
    Found(Hash, Transaction),
    /// None here has this short id.
    Missing(CompactId),
    /// Several of the block have this short id, or of those here.
    Ambiguous(CompactId),
}

/// A body that is being put together: first from what is [found](Self::find) here, then from what others are
/// [asked](Self::missing) for and [give](Self::give).
///
/// A short id proves nothing. That the body is the header's only [`Self::finish`] tells: by accident, or since the
/// compact block was made up around somebody else's header, it may be another, and then nobody who passed it on is to blame.
#[derive(Clone, Debug)]
pub struct Rebuild {
    header: Header,
    system: Vec<SystemItem>,
    key: CompactKey,
    places: Vec<Place>,
    /// The short ids that are looked for, in order, with their places.
    wanted: Vec<(CompactId, usize)>,
    /// Places that something may be found for.
    open: usize,
}

/// An answer was not made of the transactions that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the transactions asked for")]
pub struct Unasked;

impl Rebuild {
    /// Begins with what the compact block holds whole.
    ///
    /// # Errors
    /// As [`CompactBlock::check`].
    pub fn new(compact: CompactBlock) -> Result<Self, CompactError> {
        compact.check()?;
        let key = CompactKey::of(&compact.header.hash());
        let mut places = Vec::with_capacity(compact.len());
        let mut short = compact.short.into_iter();
        for prefilled in compact.prefilled {
            places.extend(short.by_ref().take(prefilled.skip.into()).map(Place::Missing));
            places.push(Place::Given(prefilled.transaction));
        }
        places.extend(short.map(Place::Missing));
        let mut wanted: Vec<(CompactId, usize)> = Vec::new();
        for (at, place) in places.iter().enumerate() {
            if let Place::Missing(short) = place {
                wanted.push((*short, at));
            }
        }
        wanted.sort_unstable();
        let twice = wanted.windows(2).filter(|pair| pair[0].0 == pair[1].0).flatten();
        for (short, at) in twice {
            places[*at] = Place::Ambiguous(*short);
        }
        let open = places.iter().filter(|place| matches!(place, Place::Missing(_))).count();
        Ok(Self { header: compact.header, system: compact.system, key, places, wanted, open })
    }

    /// Looks for transactions of the block among these, which come with their ids; stops when there is nothing left to
    /// look for. Two of different ids that have one short id count as none.
    pub fn find<'a>(&mut self, candidates: impl IntoIterator<Item = (Hash, &'a Transaction)>) {
        if self.open == 0 {
            return;
        }
        for (id, transaction) in candidates {
            let short = self.key.short(&id);
            let Ok(found) = self.wanted.binary_search_by_key(&short, |(short, _)| *short) else { continue };
            let place = &mut self.places[self.wanted[found].1];
            match place {
                Place::Missing(_) => {
                    *place = Place::Found(id, transaction.clone());
                    self.open -= 1;
                    if self.open == 0 {
                        return;
                    }
                }
                Place::Found(other, _) if *other != id => {
                    *place = Place::Ambiguous(short);
                }
                Place::Found(..) | Place::Ambiguous(_) | Place::Given(_) => {}
            }
        }
    }

    /// The places of the transactions that nothing, or too much, was found for, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<u16> {
        let missing = |place: &Place| matches!(place, Place::Missing(_) | Place::Ambiguous(_));
        let places = self.places.iter().enumerate().filter(|(_, place)| missing(place));
        places.map(|(at, _)| u16::try_from(at).expect("a block has at most 4,096 transactions")).collect()
    }

    /// Takes the missing transactions, in order.
    ///
    /// # Errors
    /// When these are not as many, or one does not have the short id that the compact block says. Nothing has changed then.
    pub fn give(&mut self, transactions: Vec<Transaction>) -> Result<(), Unasked> {
        let missing = self.missing();
        if missing.len() != transactions.len() {
            return Err(Unasked);
        }
        let asked =
            missing.iter().zip(&transactions).all(|(at, transaction)| match &self.places[usize::from(*at)] {
                Place::Missing(short) | Place::Ambiguous(short) => {
                    self.key.short(&transaction.id()) == *short
                }
                Place::Given(_) | Place::Found(..) => false,
            });
        if !asked {
            return Err(Unasked);
        }
        for (at, transaction) in missing.into_iter().zip(transactions) {
            self.places[usize::from(at)] = Place::Given(transaction);
        }
        self.open = 0;
        Ok(())
    }

    /// The body, if it is the header's.
    ///
    /// # Errors
    /// [`BodyError::Root`] when it is another, or something is missing; [`BodyError::TooLarge`] when its proposer has signed
    /// for more than a block may hold.
    pub fn finish(self) -> Result<Body, BodyError> {
        let whole = |place| match place {
            Place::Given(transaction) | Place::Found(_, transaction) => Some(transaction),
            Place::Missing(_) | Place::Ambiguous(_) => None,
        };
        let transactions: Option<Vec<_>> = self.places.into_iter().map(whole).collect();
        let body = Body { transactions: transactions.ok_or(BodyError::Root)?, system: self.system };
        body.check(&self.header)?;
        Ok(body)
    }
}
