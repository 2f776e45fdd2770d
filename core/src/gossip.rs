//! What peers tell each other unasked: blocks, transactions and chat.

mod topic;

pub use topic::{Room, RoomError, Topic};
