//! What peers tell each other unasked: blocks, transactions and chat.

mod chat;
mod compact;
mod mesh;
mod topic;
mod transactions;

pub use chat::{
    Author, ChatRequest, ChatResponse, ChatRooms, Heard, HistoryError, Line, MAX_CHAT_REQUEST_BYTES,
    MAX_CHAT_RESPONSE_BYTES, MAX_HISTORY_BYTES, MAX_LINES, MAX_ROOMS, MAX_TEXT_BYTES, SAME_MESSAGE_MILLIS,
    SayError, TextError, Told, TooManyRooms, check_text,
};
pub use compact::{
    CompactBlock, CompactError, CompactId, CompactKey, MAX_PREFILLED_BYTES, Prefilled, Rebuild, Unasked,
};
pub use mesh::{MeshParameters, ScoreParameters, Standing, TopicScore};
pub use topic::{Room, RoomError, Topic};
pub use transactions::{
    ANNOUNCE_MILLIS, ANNOUNCE_SECOND_MILLIS, Announcement, Answer, AnswerError, Answered, BYTES,
    COVER_MILLIS, DROPPED_MILLIS, FEE_FILTER_MILLIS, FETCH_GATHER_MILLIS, FETCH_PAUSE_MILLIS,
    FETCH_TIMEOUT_MILLIS, FIRST_SYMBOLS, GATHER_MILLIS, GREETING_MILLIS, GREETING_PAUSE_MILLIS, ITEMS,
    Intake, MAX_ANNOUNCED, MAX_BATCH_BYTES, MAX_BATCH_COUNT, MAX_DIRECT_BYTES, MAX_IN_CHECK,
    MAX_IN_CHECK_OF_PEER, MAX_IN_FLIGHT, MAX_INTRODUCED, MAX_KNOWN, MAX_NOTICES, MAX_OFFERS,
    MAX_OUTBOX_BYTES, MAX_OUTBOX_COUNT, MAX_REFUSED, MAX_SKETCHED, MAX_SYMBOLS, MAX_TX_MESSAGE_BYTES,
    OpenedBy, Outgoing, OutgoingId, PAUSE_MILLIS, PUSH_WAIT_MILLIS, ParseTxModeError, Pool, REFUSALS,
    REFUSED_MILLIS, RelayCounts, SALT_MILLIS, SETTLED_MILLIS, SKETCH_LIFE_MILLIS, SKETCH_MILLIS,
    SKETCH_PAUSE_MILLIS, ShortId, Symbol, TransactionRelay, TxBytes, TxMode, TxRefusal, TxRequest,
    TxResponse,
};
