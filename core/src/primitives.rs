//! The words every other folder is written in: hashes, keys, amounts, slots, instants and the canonical encoding.
//!
//! Nothing here knows what a block or a peer is.

mod address;
mod encoding;
mod hash;
mod held;
mod keys;
mod merkle;
mod quantity;
mod text;
mod time;

pub use address::{Address, AddressError};
pub(crate) use encoding::at_most;
pub use encoding::{DecodeError, decode, encode};
pub use hash::{Hash, Hasher, ParseHashError};
pub use held::Held;
pub use keys::{Domain, KeyError, PublicKey, SecretKey, Signature, SignatureBatch, verify_each};
pub use merkle::{InclusionProof, merkle_root};
pub use quantity::{Amount, Height, Slot};
pub use time::{Mono, Now, Wall};
