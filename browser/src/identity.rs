//! Who this tab is: a peer key and an account key that outlive it.
//!
//! One profile has one identity, and one tab at a time may be it: the tab that holds the Web Lock. Two peers with one
//! identity would steal each other's connections and fight over nonces, so any further tab is a guest with keys of its
//! own, which it forgets when it is closed. New keys are durable before they are used.

mod database;
mod lock;
mod seal;
mod stored;

use std::cell::RefCell;

use weft_core::primitives::SecretKey;

use self::{database::Database, stored::Kept};
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
    /// Why the keys are stored as they are, in words; `None` when they are encrypted, or not stored.
    pub(crate) exposed: Option<String>,
}

/// Held by the tab that is the profile's peer.
const LOCK: &str = "weft";
/// Where the keys are.
const DATABASE: &str = "weft";

#[derive(Clone, PartialEq, Eq)]
struct Seeds {
    peer: [u8; 32],
    account: [u8; 32],
}

impl Seeds {
    const LENGTH: usize = 64;

    fn new() -> Result<Self, String> {
        Ok(Self { peer: random()?, account: random()? })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (peer, account) = bytes.split_first_chunk()?;
        Some(Self { peer: *peer, account: account.try_into().ok()? })
    }

    fn to_bytes(&self) -> Vec<u8> {
        [self.peer, self.account].concat()
    }

    fn identity(mut self, guest: Option<String>, exposed: Option<String>) -> Result<Identity, String> {
        let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut self.peer)
            .map_err(|error| format!("the peer key is not one: {error}"))?;
        Ok(Identity { peer, account: SecretKey::from_seed(self.account), guest, exposed })
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
        Ok(Kept { seeds, exposed }) => seeds.identity(None, exposed)?,
        Err(reason) => Seeds::new()?.identity(Some(reason), None)?,
    };
    mark(Mark::Identified);
    LOADED.set(Some(identity.clone()));
    Ok(identity)
}

/// Lets another tab be the peer of this profile, if this one is it. `false` if it is not.
pub(crate) fn lend() -> bool {
    lock::release()
}

/// Whether this tab, which [lent](lend) its identity, is the peer of this profile again.
pub(crate) async fn regain() -> bool {
    lock::take_free(LOCK).await
}

/// The profile's keys, or in words why this tab cannot have them.
async fn stored() -> Result<Kept, String> {
    if !lock::take(LOCK).await? {
        return Err("another tab of this browser is already the peer with your stored identity".into());
    }
    let database = Database::open(DATABASE).await;
    let database = database.map_err(|error| format!("this browser keeps no data for this page ({error})"))?;
    stored::load(&database).await
}
