//! The texts that people and programs hand to the RPC.

use std::{fmt::Display, str::FromStr};

use weft_core::{
    gossip::Room,
    primitives::{Address, Hash, PublicKey},
    sync::Strategy,
};

use crate::sample::{PIVOT, sample};

/// Whether a text is such a value. It is then what the value is shown as, but for the case of letters.
fn is<T: FromStr + Display>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    let shown = value.to_string();
    assert_eq!(shown, text.to_ascii_lowercase());
    assert!(shown.parse::<T>().is_ok_and(|again| again.to_string() == shown));
    true
}

/// An address, a key, a hash, a way to join, or a room.
pub fn text(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let strict = is::<Room>(text) || is::<Strategy>(text);
    is::<Address>(text) || is::<PublicKey>(text) || is::<Hash>(text) || strict
}

/// One of each kind.
pub fn text_seeds() -> Vec<Vec<u8>> {
    let address = sample().chain.chain.address(0).to_string();
    let hash = sample().checkpoint(PIVOT).hash;
    let strategies = Strategy::ALL.map(|strategy| strategy.to_string());
    let texts = [
        address.clone(),
        address.to_uppercase(),
        hash.to_string(),
        hash.to_string().to_uppercase(),
        Strategy::Checkpoint(hash).to_string(),
        "lobby-1".to_owned(),
    ];
    texts.into_iter().chain(strategies).map(String::into_bytes).collect()
}
