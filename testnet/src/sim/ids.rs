//! The ids of transactions that were seen of late: thousands of peers send the same ones to each other, and a hash takes longer than to
//! look it up.

use std::collections::{HashMap, VecDeque};

use weft_core::{chain::Transaction, primitives::Hash};

/// How many are remembered.
const REMEMBERED: usize = 1 << 14;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Ids {
    known: HashMap<u64, (Transaction, Hash)>,
    order: VecDeque<u64>,
}

impl Ids {
    /// The transaction's id.
    pub(super) fn of(&mut self, transaction: &Transaction) -> Hash {
        let signature = &transaction.signature.0;
        let key = signature.iter().take(8).fold(0, |key, byte| (key << 8) | u64::from(*byte));
        if let Some((same, id)) = self.known.get(&key)
            && same == transaction
        {
            return *id;
        }
        let id = transaction.id();
        if self.known.insert(key, (transaction.clone(), id)).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        id
    }
}
