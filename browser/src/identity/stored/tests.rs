//! With real databases and real keys, in a browser.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test as test;
use web_sys::CryptoKey;

use super::*;
use crate::{identity::seal::Seal, random};

async fn new() -> (String, Database) {
    let name = format!("weft-test-{}", hex::encode(random().unwrap()));
    let database = Database::open(&name).await.unwrap();
    (name, database)
}

async fn row(database: &Database) -> Vec<u8> {
    database.read().await.unwrap().unwrap()
}

fn holds(bytes: &[u8], seed: &[u8; 32]) -> bool {
    bytes.windows(32).any(|window| window == seed)
}

fn plainly(seeds: &Seeds) -> Vec<u8> {
    [[1].as_slice(), &seeds.peer, &seeds.account].concat()
}

async fn refused(database: &Database, why: &str) {
    let before = row(database).await;
    match load(database).await {
        Ok(_) => panic!("keys that cannot be read were replaced"),
        Err(reason) => assert!(reason.contains(why) && reason.contains("left untouched"), "{reason}"),
    }
    assert_eq!(row(database).await, before);
}

#[test]
async fn what_is_stored_has_no_seed_in_it_and_opens_again() {
    let (name, database) = new().await;
    let made = load(&database).await.unwrap();
    assert_eq!(made.exposed, None);
    let stored = row(&database).await;
    assert_eq!((stored[0], stored.len()), (2, 93));
    assert!(!holds(&stored, &made.seeds.peer) && !holds(&stored, &made.seeds.account));
    let seal = database.seal().await.unwrap().unwrap();
    assert!(!CryptoKey::from(seal.stored().clone()).extractable());
    drop(database);
    let again = load(&Database::open(&name).await.unwrap()).await.unwrap();
    assert!(again.seeds == made.seeds && again.exposed.is_none());
}

#[test]
async fn keys_that_an_earlier_version_stored_plainly_are_sealed_once() {
    let (_, database) = new().await;
    let seeds = Seeds::new().unwrap();
    database.write(&plainly(&seeds), None).await.unwrap();
    let first = load(&database).await.unwrap();
    assert!(first.seeds == seeds && first.exposed.is_none());
    let sealed = row(&database).await;
    assert!(!holds(&sealed, &seeds.peer) && !holds(&sealed, &seeds.account));
    assert!(load(&database).await.unwrap().seeds == seeds);
    assert_eq!(row(&database).await, sealed);
}

#[test]
async fn keys_whose_seal_is_lost_or_another_or_that_were_changed_are_refused_and_left() {
    let (_, database) = new().await;
    load(&database).await.unwrap();
    let sealed = row(&database).await;
    let mut changed = sealed.clone();
    changed[60] ^= 1;
    let seal = database.seal().await.unwrap();
    database.write(&changed, seal.as_ref()).await.unwrap();
    refused(&database, "damaged, or sealed by another key").await;
    database.write(&sealed[..92], seal.as_ref()).await.unwrap();
    refused(&database, "length").await;
    database.write(&[[3].as_slice(), &sealed[1..]].concat(), seal.as_ref()).await.unwrap();
    refused(&database, "another version").await;
    let other = Seal::new().await.unwrap();
    database.write(&sealed, Some(&other)).await.unwrap();
    refused(&database, "damaged, or sealed by another key").await;
    let (_, without) = new().await;
    without.write(&sealed, None).await.unwrap();
    refused(&without, "the key that seals them is gone").await;
}

/// A page without WebCrypto, as long as this lives.
struct Insecure(web_sys::Crypto);

impl Insecure {
    fn begin() -> Self {
        let crypto = web_sys::window().unwrap().crypto().unwrap();
        let hidden = Object::new();
        Reflect::set(&hidden, &"value".into(), &JsValue::UNDEFINED).unwrap();
        Reflect::set(&hidden, &"configurable".into(), &true.into()).unwrap();
        Object::define_property(&crypto, &"subtle".into(), &hidden);
        Self(crypto)
    }
}

impl Drop for Insecure {
    fn drop(&mut self) {
        Reflect::delete_property(&self.0, &"subtle".into()).unwrap();
    }
}

#[test]
async fn a_browser_without_web_crypto_keeps_the_keys_as_they_are_and_says_so() {
    let (_, database) = new().await;
    let insecure = Insecure::begin();
    let made = load(&database).await.unwrap();
    assert!(made.exposed.unwrap().contains("no WebCrypto"));
    assert_eq!(row(&database).await, plainly(&made.seeds));
    let again = load(&database).await.unwrap();
    assert!(again.seeds == made.seeds && again.exposed.is_some());
    // What is sealed already is neither opened nor replaced there.
    drop(insecure);
    assert!(load(&database).await.unwrap().exposed.is_none());
    let insecure = Insecure::begin();
    refused(&database, "no WebCrypto").await;
    drop(insecure);
    assert!(load(&database).await.unwrap().seeds == made.seeds);
}
