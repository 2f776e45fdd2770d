//! What peers tell each other unasked: blocks, transactions and chat.

mod topic;
mod transactions;

pub use topic::{Room, RoomError, Topic};
pub use transactions::{
    Announcement, Answer, AnswerError, GATHER_MILLIS, MAX_BATCH_BYTES, MAX_BATCH_COUNT, MAX_IN_CHECK,
    MAX_IN_CHECK_OF_PEER, MAX_IN_FLIGHT, MAX_KNOWN, MAX_OUTBOX_BYTES, MAX_OUTBOX_COUNT, MAX_REFUSED,
    MAX_TX_MESSAGE_BYTES, PAUSE_MILLIS, Push, PushId, REFUSED_MILLIS, RelayCounts, ShortId, Symbol,
    TransactionRelay, TxMode, TxRefusal, TxRequest, TxResponse,
};
