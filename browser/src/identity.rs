//! Who this tab is: a peer key and an account key that outlive it.
//!
//! One profile has one identity, and one tab at a time may be it: the tab that holds the Web Lock. Two peers with one
//! identity would steal each other's connections and fight over nonces, so any further tab is a guest with keys of its
//! own, which it forgets when it is closed. New keys are durable before they are used.

mod database;
mod lock;

use std::cell::RefCell;

use weft_core::primitives::SecretKey;

use self::database::Database;
use crate::{
    measure::{Mark, mark},
    random,
};

/// The keys of this tab.
#[derive(Clone)]
pub(crate) struct Identity {
    /// Names the peer.
    pub(crate) peer: libp2p::identity::Keypair,
    /// Owns the account.
    pub(crate) account: SecretKey,
    /// Why the keys are forgotten when the tab is closed, in words; `None` when they are kept.
    pub(crate) guest: Option<String>,
}

/// The stored form: a version, the peer key's seed, the account key's seed.
const FORMAT: u8 = 1;
const LENGTH: usize = 65;

struct Seeds {
    peer: [u8; 32],
    account: [u8; 32],
}

impl Seeds {
    fn new() -> Result<Self, String> {
        Ok(Self { peer: random()?, account: random()? })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let refuse =
            |why: &str| Err(format!("the stored keys cannot be read ({why}); they were left untouched"));
        if bytes.len() != LENGTH {
            return refuse("their length is wrong");
        }
        if bytes[0] != FORMAT {
            return refuse("another version of this app wrote them");
        }
        let (mut peer, mut account) = ([0; 32], [0; 32]);
        peer.copy_from_slice(&bytes[1..33]);
        account.copy_from_slice(&bytes[33..]);
        Ok(Self { peer, account })
    }

    fn to_bytes(&self) -> Vec<u8> {
        [[FORMAT].as_slice(), &self.peer, &self.account].concat()
    }

    fn identity(mut self, guest: Option<String>) -> Result<Identity, String> {
        let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut self.peer)
            .map_err(|error| format!("the peer key is not one: {error}"))?;
        Ok(Identity { peer, account: SecretKey::from_seed(self.account), guest })
    }
}

thread_local! {
    /// A page that starts its peer a second time holds the lock already.
    static LOADED: RefCell<Option<Identity>> = const { RefCell::new(None) };
}

/// The profile's identity if this tab may have it, else one for this tab alone; the same each time.
///
/// # Errors
/// When the browser gives no random numbers.
pub(crate) async fn load() -> Result<Identity, String> {
    if let Some(identity) = LOADED.with_borrow(Clone::clone) {
        return Ok(identity);
    }
    let identity = match stored().await {
        Ok(seeds) => seeds.identity(None)?,
        Err(reason) => Seeds::new()?.identity(Some(reason))?,
    };
    mark(Mark::Identified);
    LOADED.set(Some(identity.clone()));
    Ok(identity)
}

/// The profile's seeds, or in words why this tab cannot have them.
async fn stored() -> Result<Seeds, String> {
    if !lock::take("weft").await? {
        return Err("another tab of this browser is already the peer with your stored identity".into());
    }
    let unavailable = |error: String| format!("this browser keeps no data for this page ({error})");
    let database = Database::open().await.map_err(unavailable)?;
    if let Some(bytes) = database.read().await.map_err(unavailable)? {
        return Seeds::from_bytes(&bytes);
    }
    let seeds = Seeds::new()?;
    database.write(&seeds.to_bytes()).await.map_err(unavailable)?;
    Ok(seeds)
}
