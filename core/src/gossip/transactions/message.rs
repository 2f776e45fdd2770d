//! What two peers say to each other on `/weft/<chain>/tx/1`.
//!
//! The messages serve three modes: *push* sends transactions at once, *pull* announces them by short id and lets the
//! other fetch, and both together, with sketches to find what neither announced, are *push-pull*. Their bytes are final:
//! a peer that does not take part in a mode answers [`TxResponse::Refused`], and nobody is blamed for asking.

use std::{fmt, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{
    chain::Transaction,
    primitives::{DecodeError, decode, encode},
};

/// The most bytes a request or a response has: [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES) of transactions with room for
/// the last one and for other peers' idea of a batch.
pub const MAX_TX_MESSAGE_BYTES: usize = 160 << 10;

/// How a peer wants to learn of transactions.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum TxMode {
    /// All of them, at once.
    Push,
    /// By announcement.
    Pull,
    /// Some at once, the rest by announcement and reconciliation.
    #[default]
    PushPull,
}

impl fmt::Display for TxMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::PushPull => "push-pull",
        })
    }
}

/// A text names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of push, pull and push-pull")]
pub struct ParseTxModeError;

impl FromStr for TxMode {
    type Err = ParseTxModeError;

    fn from_str(text: &str) -> Result<Self, ParseTxModeError> {
        match text {
            "push" => Ok(Self::Push),
            "pull" => Ok(Self::Pull),
            "push-pull" => Ok(Self::PushPull),
            _ => Err(ParseTxModeError),
        }
    }
}

/// A transaction's id between two peers: 8 bytes keyed with the salts both said, so that two transactions made to collide
/// collide for one pair of peers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct ShortId(pub [u8; 8]);

/// A transaction the sender has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Announcement {
    /// Its id between these two peers.
    pub short: ShortId,
    /// Its encoded bytes.
    pub size: u32,
}

/// One coded symbol of a rateless invertible Bloom lookup table over short ids (Yang et al., SIGCOMM 2024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Symbol {
    /// The exclusive or of the short ids mapped to this symbol.
    pub ids: [u8; 8],
    /// The exclusive or of their keyed checksums. Four bytes are enough: what a false match decodes to is a short id that
    /// nobody has, and fetching it yields nothing.
    pub checksum: [u8; 4],
    /// How many there are.
    pub count: i32,
}

/// A request. The first byte says which, in this order from 0; the protocol's name says the version.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TxRequest {
    /// Said first where the mode is not *push* on both sides. Answered by `Done`.
    Hello {
        /// How the sender wants to learn of transactions.
        mode: TxMode,
        /// The sender's half of the key of short ids.
        salt: u64,
        /// The least fee per 1,000 bytes that the sender takes at the moment.
        min_fee_rate: u64,
    },
    /// Transactions that the sender has checked, in nonce order per account. Answered by `Done` before they are judged.
    Push(Vec<Transaction>),
    /// Transactions that may be fetched. Answered by `Done`.
    Announce(Vec<Announcement>),
    /// Send these, of those you announced. Answered by `Transactions`, without those no longer there.
    Fetch(Vec<ShortId>),
    /// Send coded symbols of what you have; offset 0 begins with what you have by then. Answered by `Symbols`.
    Sketch {
        /// The first symbol.
        offset: u32,
        /// The number of symbols.
        count: u32,
    },
    /// The least fee per 1,000 bytes that the sender takes from now on. Answered by `Done`.
    FeeFilter(u64),
}

/// A response. The first byte says which, in this order from 0.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TxResponse {
    /// The request was taken.
    Done,
    /// To `Fetch`.
    Transactions(Vec<Transaction>),
    /// To `Sketch`.
    Symbols(Vec<Symbol>),
    /// The request was not taken, and nobody is to blame.
    Refused(TxRefusal),
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
pub enum TxRefusal {
    /// The mode this peer runs in has no use for it.
    #[error("the peer does not take such requests in its mode")]
    NotInThisMode,
    /// It asks for, or brings, more than a request may.
    #[error("the request is larger than the peer takes")]
    TooMany,
    /// Too much waits to be checked; it may be sent again later.
    #[error("the peer is busy")]
    Busy,
}

impl TxRequest {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When there are more than [`MAX_TX_MESSAGE_BYTES`], or they are no request of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_TX_MESSAGE_BYTES)
    }
}

impl TxResponse {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When there are more than [`MAX_TX_MESSAGE_BYTES`], or they are no response of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_TX_MESSAGE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::UnsignedTransaction,
        primitives::{Address, Amount, PublicKey, Signature, Slot},
    };

    fn transaction() -> Transaction {
        let mut content = UnsignedTransaction::transfer(
            PublicKey([1; 32]),
            Address([2; 32]),
            Amount(3),
            Amount(400),
            5,
            Slot(6),
        );
        content.memo = vec![7];
        Transaction { content, signature: Signature([8; 64]) }
    }

    fn transaction_hex() -> String {
        let (from, to, signature) = ("01".repeat(32), "02".repeat(32), "08".repeat(64));
        format!(
            "01{from}{to}0300000000000000900100000000000005000000000000000600000000000000\
             0100000007{signature}"
        )
    }

    #[test]
    fn names_of_modes_round_trip_and_others_are_refused() {
        for mode in [TxMode::Push, TxMode::Pull, TxMode::PushPull] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("pushpull".parse::<TxMode>(), Err(ParseTxModeError));
        assert_eq!(TxMode::default(), TxMode::PushPull);
    }

    #[test]
    fn golden_bytes_of_every_request() {
        let short = ShortId([1, 2, 3, 4, 5, 6, 7, 8]);
        let hello = |mode| TxRequest::Hello { mode, salt: 0x0807_0605_0403_0201, min_fee_rate: 1000 };
        let cases = [
            (hello(TxMode::Push), "00000102030405060708e803000000000000".to_owned()),
            (hello(TxMode::Pull), "00010102030405060708e803000000000000".to_owned()),
            (hello(TxMode::PushPull), "00020102030405060708e803000000000000".to_owned()),
            (TxRequest::Push(vec![transaction()]), format!("0101000000{}", transaction_hex())),
            (
                TxRequest::Announce(vec![Announcement { short, size: 166 }]),
                "02010000000102030405060708a6000000".to_owned(),
            ),
            (TxRequest::Fetch(vec![short]), "03010000000102030405060708".to_owned()),
            (TxRequest::Sketch { offset: 16, count: 32 }, "041000000020000000".to_owned()),
            (TxRequest::FeeFilter(2000), "05d007000000000000".to_owned()),
        ];
        for (request, hex) in cases {
            assert_eq!(hex::encode(request.to_bytes()), hex);
            assert_eq!(TxRequest::from_bytes(&request.to_bytes()), Ok(request));
        }
    }

    #[test]
    fn golden_bytes_of_every_response() {
        let symbol = Symbol { ids: [1; 8], checksum: [2; 4], count: -3 };
        let cases = [
            (TxResponse::Done, "00".to_owned()),
            (TxResponse::Transactions(vec![transaction()]), format!("0101000000{}", transaction_hex())),
            (TxResponse::Symbols(vec![symbol]), "0201000000010101010101010102020202fdffffff".to_owned()),
            (TxResponse::Refused(TxRefusal::NotInThisMode), "0300".to_owned()),
            (TxResponse::Refused(TxRefusal::TooMany), "0301".to_owned()),
            (TxResponse::Refused(TxRefusal::Busy), "0302".to_owned()),
        ];
        for (response, hex) in cases {
            assert_eq!(hex::encode(response.to_bytes()), hex);
            assert_eq!(TxResponse::from_bytes(&response.to_bytes()), Ok(response));
        }
    }

    #[test]
    fn truncated_oversized_and_unknown_messages_are_refused() {
        let request = TxRequest::Push(vec![transaction()]).to_bytes();
        for end in 0..request.len() {
            assert!(TxRequest::from_bytes(&request[..end]).is_err(), "{end} bytes");
        }
        assert!(TxRequest::from_bytes(&[&request[..], &[0]].concat()).is_err(), "a byte too many");
        assert!(TxRequest::from_bytes(&[6]).is_err(), "an unknown request");
        assert!(TxResponse::from_bytes(&[4]).is_err(), "an unknown response");
        assert!(TxResponse::from_bytes(&[3, 3]).is_err(), "an unknown refusal");
        assert!(TxRequest::from_bytes(&[1, 255, 255, 255, 255]).is_err(), "a false count");
        let mut version = request;
        version[5] = 2;
        assert!(TxRequest::from_bytes(&version).is_err(), "a transaction of another version");
        assert_eq!(
            TxRequest::from_bytes(&vec![0; MAX_TX_MESSAGE_BYTES + 1]),
            Err(DecodeError::TooLong { got: MAX_TX_MESSAGE_BYTES + 1, max: MAX_TX_MESSAGE_BYTES })
        );
    }
}
