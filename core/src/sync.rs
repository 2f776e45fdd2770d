//! Catching up: what peers ask each other for, and how the asking is spread over many of them.
//!
//! Headers come first and bodies follow, from all peers at once. What is downloaded is checked by the
//! [`node`](crate::node); this folder decides whom to ask for what, and when to give up on an answer.

mod ancestor;
mod backfill;
mod journey;
mod messages;
mod pace;
mod scheduler;
mod state;
mod strategy;
mod transaction;
mod warp;

pub use ancestor::Ancestor;
pub use backfill::{Backfill, BackfillError, Bounds, OldHeaders, OldProgress, ProvenSets};
pub use journey::{Journey, JourneyError};
pub use messages::{
    BlockDiff, BodiesRequest, BodiesResponse, MAX_BODIES, MAX_CERTIFICATES, MAX_HEADERS, MAX_LOCATOR,
    MAX_MISSING, MAX_PROOF_BYTES, MAX_RANGE_LEAVES, PivotParts, SOFT_RESPONSE_BYTES, SyncRequest,
    SyncResponse, SyncStatus, follow,
};
pub use pace::Pace;
pub use scheduler::{Scheduler, WINDOW};
pub use state::{Piece, Progress, StateSync};
pub use strategy::{Explanation, ParseStrategyError, Strategy, WEAK_SUBJECTIVITY_SLOTS};
pub use transaction::{TransactionProof, TransactionProofError};
pub use warp::{Fragment, FragmentError, Proven};
