//! What came of announcements, in numbers.

use serde::{Deserialize, Serialize};

use crate::primitives::{Hash, Height, Slot};

/// How announced blocks came to their bodies, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// First announcements of blocks with a right header.
    pub received: u64,
    /// Bodies put together from what was here.
    pub at_once: u64,
    /// Bodies put together with what the announcer was asked for.
    pub after_round_trip: u64,
    /// Bodies that could not be put together, and were left to the download.
    pub fell_back: u64,
    /// Announcements of a block that had been announced, or whose body was here.
    pub duplicates: u64,
    /// Transactions that announcements held whole.
    pub prefilled: u64,
    /// Transactions that were here.
    pub found: u64,
    /// Transactions that were not.
    pub missing: u64,
}

/// When an announced block's body was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockArrival {
    /// The block's height.
    pub height: Height,
    /// The hash of its header.
    pub hash: Hash,
    /// Its slot.
    pub slot: Slot,
    /// Milliseconds since the slot began, by this peer's clock; 0 if that had not begun.
    pub delay_millis: u64,
}
