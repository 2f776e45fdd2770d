//! What peers tell each other unasked: blocks, transactions and chat.

mod chat;
mod mesh;
mod topic;
mod transactions;

pub use chat::{
    Author, ChatRequest, ChatResponse, ChatRooms, Heard, HistoryError, Line, MAX_CHAT_REQUEST_BYTES,
    MAX_CHAT_RESPONSE_BYTES, MAX_HISTORY_BYTES, MAX_LINES, MAX_ROOMS, MAX_TEXT_BYTES, SAME_MESSAGE_MILLIS,
    SayError, TextError, Told, TooManyRooms, check_text,
};
pub use mesh::{MeshParameters, ScoreParameters, Standing, TopicScore};
pub use topic::{Room, RoomError, Topic};
pub use transactions::{
    Announcement, Answer, AnswerError, GATHER_MILLIS, MAX_BATCH_BYTES, MAX_BATCH_COUNT, MAX_IN_CHECK,
    MAX_IN_CHECK_OF_PEER, MAX_IN_FLIGHT, MAX_KNOWN, MAX_OUTBOX_BYTES, MAX_OUTBOX_COUNT, MAX_REFUSED,
    MAX_TX_MESSAGE_BYTES, PAUSE_MILLIS, Push, PushId, REFUSED_MILLIS, RelayCounts, ShortId, Symbol,
    TransactionRelay, TxMode, TxRefusal, TxRequest, TxResponse,
};
