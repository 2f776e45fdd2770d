//! What waits to be pushed to one peer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{MAX_BATCH_BYTES, MAX_BATCH_COUNT, MAX_OUTBOX_BYTES, MAX_OUTBOX_COUNT, met::Serial};
use crate::{chain::Transaction, primitives::Hash};

/// A transaction on its way to one peer.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) id: Hash,
    /// Its number among those that were met.
    pub(super) serial: Serial,
    pub(super) transaction: Arc<Transaction>,
    /// How often it was sent in vain.
    pub(super) failures: u8,
    /// Its place in the order of arrival, which it keeps when it must be sent again.
    place: u64,
}

/// A bounded queue in order of arrival, from which a transaction that the peer turns out to have can be taken.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parcels: BTreeMap<u64, Parcel>,
    places: BTreeMap<Hash, u64>,
    bytes: usize,
    next_place: u64,
}

impl Outbox {
    /// Appends a transaction unless it is here. Returns how many of the oldest had to leave.
    pub(super) fn append(&mut self, serial: Serial, id: Hash, transaction: Arc<Transaction>) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.put(Parcel { id, serial, transaction, failures: 0, place })
    }

    /// Puts a transaction back where it was. Returns how many of the oldest had to leave, itself perhaps.
    pub(super) fn put(&mut self, parcel: Parcel) -> u64 {
        if self.places.contains_key(&parcel.id) {
            return 0;
        }
        self.places.insert(parcel.id, parcel.place);
        self.bytes += parcel.transaction.encoded_len();
        self.parcels.insert(parcel.place, parcel);
        let mut dropped = 0;
        while self.parcels.len() > MAX_OUTBOX_COUNT || self.bytes > MAX_OUTBOX_BYTES {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    pub(super) fn remove(&mut self, id: &Hash) {
        if let Some(parcel) = self.places.remove(id).and_then(|place| self.parcels.remove(&place)) {
            self.bytes -= parcel.transaction.encoded_len();
        }
    }

    /// All of them, in order.
    pub(super) fn into_parcels(self) -> impl Iterator<Item = Parcel> {
        self.parcels.into_values()
    }

    pub(super) fn len(&self) -> usize {
        self.parcels.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Whether there is enough for a request that could not hold more.
    pub(super) fn has_full_batch(&self) -> bool {
        self.parcels.len() >= MAX_BATCH_COUNT || self.bytes >= MAX_BATCH_BYTES
    }

    /// Takes what the next request carries.
    pub(super) fn take_batch(&mut self) -> VecDeque<Parcel> {
        let mut batch = VecDeque::new();
        let mut bytes = 0;
        while let Some(entry) = self.parcels.first_entry() {
            bytes += entry.get().transaction.encoded_len();
            if batch.len() == MAX_BATCH_COUNT || bytes > MAX_BATCH_BYTES {
                break;
            }
            batch.extend(self.pop());
        }
        batch
    }

    fn pop(&mut self) -> Option<Parcel> {
        let (_, parcel) = self.parcels.pop_first()?;
        self.places.remove(&parcel.id);
        self.bytes -= parcel.transaction.encoded_len();
        Some(parcel)
    }
}
