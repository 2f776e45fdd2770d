//! Encryption by a key that the browser keeps and gives to nobody (Web Cryptography, W3C): a page can use it, and cannot read it.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};

use crate::{in_words, random};

const ALGORITHM: &str = "AES-GCM";
const BITS: u32 = 256;
/// What a ciphertext is bound to, so that none made for something else opens as keys.
const PURPOSE: &[u8] = b"weft/identity/2";
/// Bytes of the nonce, which precedes the ciphertext.
const NONCE: usize = 12;
/// Bytes by which what is sealed is longer than what was: the nonce, and the tag.
pub(super) const OVERHEAD: usize = NONCE + 16;

/// A key that seals and opens.
pub(super) struct Seal(CryptoKey);

impl Seal {
    /// Makes one that no page can export.
    pub(super) async fn new() -> Result<Self, String> {
        let algorithm = Object::new();
        Reflect::set(&algorithm, &"name".into(), &ALGORITHM.into()).map_err(in_words)?;
        Reflect::set(&algorithm, &"length".into(), &BITS.into()).map_err(in_words)?;
        let usages = Array::of2(&"encrypt".into(), &"decrypt".into());
        let made = subtle()?.generate_key_with_object(&algorithm, false, &usages).map_err(in_words)?;
        let made = JsFuture::from(made).await.map_err(in_words)?;
        Self::from_stored(made).ok_or_else(|| "the browser made no key".into())
    }

    /// The key as IndexedDB gives it back; `None` when it is something else.
    pub(super) fn from_stored(value: JsValue) -> Option<Self> {
        value.dyn_into().ok().map(Self)
    }

    /// The form that IndexedDB stores: a handle.
    pub(super) fn stored(&self) -> &JsValue {
        &self.0
    }

    /// A nonce, and the bytes encrypted.
    pub(super) async fn close(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let nonce = &random()?[..NONCE];
        let closed = subtle()?
            .encrypt_with_object_and_u8_array(&parameters(nonce)?, &self.0, plain)
            .map_err(in_words)?;
        let closed = Uint8Array::new(&JsFuture::from(closed).await.map_err(in_words)?).to_vec();
        Ok([nonce, &closed].concat())
    }

    /// What was sealed; `None` when this key did not seal it, or it was changed since.
    ///
    /// # Errors
    /// When the browser cannot decrypt at all.
    pub(super) async fn open(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some((nonce, closed)) = sealed.split_at_checked(NONCE) else { return Ok(None) };
        let opened = subtle()?
            .decrypt_with_object_and_u8_array(&parameters(nonce)?, &self.0, closed)
            .map_err(in_words)?;
        // An `OperationError`, which says nothing further on purpose.
        Ok(JsFuture::from(opened).await.ok().map(|bytes| Uint8Array::new(&bytes).to_vec()))
    }
}

fn parameters(nonce: &[u8]) -> Result<Object, String> {
    let parameters = Object::new();
    Reflect::set(&parameters, &"name".into(), &ALGORITHM.into()).map_err(in_words)?;
    Reflect::set(&parameters, &"iv".into(), &Uint8Array::from(nonce)).map_err(in_words)?;
    Reflect::set(&parameters, &"additionalData".into(), &Uint8Array::from(PURPOSE)).map_err(in_words)?;
    Ok(parameters)
}

fn subtle() -> Result<SubtleCrypto, String> {
    let crypto = web_sys::window().and_then(|window| window.crypto().ok());
    // The binding trusts the page to be a secure context, without which the property is missing.
    let subtle = crypto.filter(|it| !it.is_undefined()).map(|crypto| crypto.subtle());
    subtle.filter(|it| !it.is_undefined()).ok_or_else(|| "it has no WebCrypto".into())
}
