//! What the page needs to know of the running peer beside what it asks: who this tab is, and on which chain.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};
use weft_core::{
    chain::Genesis,
    gossip::TxMode,
    node::Way,
    primitives::{Address, Hash, Height, SecretKey},
    swarm::Handle,
    sync::Strategy,
};

/// A running peer and whose it is.
pub(crate) struct Session {
    /// The way to the peer.
    pub(crate) handle: Handle,
    /// Its id.
    pub(crate) peer: PeerId,
    /// The account's key.
    pub(crate) account: SecretKey,
    /// The account.
    pub(crate) address: Address,
    /// The chain.
    pub(crate) genesis: Genesis,
    /// Its hash.
    pub(crate) chain: Hash,
    /// The key of the demo's faucet, where there is one.
    pub(crate) faucet: Option<SecretKey>,
    /// The relays that the page's server names.
    pub(crate) relays: Vec<Multiaddr>,
    /// The ways to find peers that are switched off.
    pub(crate) off: BTreeSet<Way>,
    /// How this tab joins the chain, or has.
    pub(crate) strategy: Strategy,
    /// How it passes transactions on.
    pub(crate) tx_mode: TxMode,
    /// The height of the chain that was stored when this tab was opened; `None` when it keeps nothing.
    pub(crate) opened_at: Option<Height>,
}
