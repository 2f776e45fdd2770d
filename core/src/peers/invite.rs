//! Invitations: whom to dial, on which chain, in the fragment of a link that opens the app. A link comes from anybody, so it is bounded, and
//! read for the chain that the page is on.

use std::{fmt, str::FromStr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{Role, Scope, can_dial, is_circuit};
use crate::primitives::Hash;

/// The most bytes of a fragment: an address with a long name in it, twice over.
pub const MAX_INVITE_BYTES: usize = 1024;

/// An invitation to dial a peer. As text it is the fragment of a link, `peer=<address>&chain=<genesis hash>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    peer: Multiaddr,
    chain: Hash,
}

/// Why an invitation is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Nobody wrote a longer one.
    #[error("it has more than {MAX_INVITE_BYTES} bytes")]
    TooLong,
    /// It is not one address and one genesis hash.
    #[error("it does not say whom to dial on which chain, as `peer=...&chain=...`")]
    Malformed,
    /// Its peers and blocks mean nothing here.
    #[error("it is for another chain")]
    OtherChain,
    /// This peer is the one to be dialled.
    #[error("it leads to this very peer")]
    Oneself,
    /// The address is none that this kind of peer can dial, or does not say whom.
    #[error("the address in it cannot be dialled from here")]
    NotDialable,
    /// A stranger's link is no reason to look for machines in the own network.
    #[error("the address in it is in a network nearer than those this page knows peers in")]
    TooNear,
}

impl Invite {
    /// An invitation to a tab that has this slot on a relay; `None` when the address is not that of a slot.
    #[must_use]
    pub fn to_tab(slot: &Multiaddr, tab: PeerId, chain: Hash) -> Option<Self> {
        let relay = slot.iter().take_while(|part| *part != Protocol::P2pCircuit).collect::<Multiaddr>();
        let peer = relay.with(Protocol::P2pCircuit).with(Protocol::WebRTC).with(Protocol::P2p(tab));
        is_circuit(slot).then_some(Self { peer, chain })
    }

    /// The address to dial, if a peer of this kind with this id may: on this chain, and not nearer than those it knows of (`near`).
    ///
    /// # Errors
    /// Why it may not.
    pub fn follow(
        self,
        role: Role,
        local: &PeerId,
        chain: &Hash,
        near: Scope,
    ) -> Result<Multiaddr, InviteError> {
        let Some(Protocol::P2p(whom)) = self.peer.iter().last() else { return Err(InviteError::NotDialable) };
        if self.chain != *chain {
            Err(InviteError::OtherChain)
        } else if whom == *local {
            Err(InviteError::Oneself)
        } else if !can_dial(role, &self.peer) {
            Err(InviteError::NotDialable)
        } else if Scope::of(&self.peer).is_none_or(|scope| scope < near) {
            Err(InviteError::TooNear)
        } else {
            Ok(self.peer)
        }
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer={}&chain={}", self.peer, self.chain)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        if text.len() > MAX_INVITE_BYTES {
            return Err(InviteError::TooLong);
        }
        let (peer, chain) = text
            .strip_prefix("peer=")
            .and_then(|rest| rest.split_once("&chain="))
            .ok_or(InviteError::Malformed)?;
        let peer = peer.parse().map_err(|_| InviteError::Malformed)?;
        let chain = chain.parse().map_err(|_| InviteError::Malformed)?;
        Ok(Self { peer, chain })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const RELAY: &str =
        "/dns4/relay.example.org/tcp/443/wss/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    const CHAIN: Hash = Hash([0xab; 32]);

    fn peer(byte: u8) -> PeerId {
        let mut seed = [byte; 32];
        libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
    }

    fn follow(text: &str, near: Scope) -> Result<Multiaddr, InviteError> {
        text.parse::<Invite>()?.follow(Role::Browser, &peer(1), &CHAIN, near)
    }

    #[test]
    fn an_invitation_is_a_fragment_that_leads_to_the_tab() {
        let tab = peer(2);
        let slot = format!("{RELAY}/p2p-circuit/p2p/{tab}").parse().unwrap();
        let text = Invite::to_tab(&slot, tab, CHAIN).unwrap().to_string();
        let address = format!("{RELAY}/p2p-circuit/webrtc/p2p/{tab}");
        assert_eq!(text, format!("peer={address}&chain={}", "ab".repeat(32)));
        assert_eq!(follow(&text, Scope::World), Ok(address.parse().unwrap()));
        assert_eq!(Invite::to_tab(&RELAY.parse().unwrap(), tab, CHAIN), None);
    }

    #[test]
    fn what_leads_nowhere_or_where_it_should_not_is_refused() {
        let (tab, chain) = (peer(2), "ab".repeat(32));
        let of = |address: String| format!("peer={address}&chain={chain}");
        let near = |ip: &str| {
            let relay = format!("/ip4/{ip}/tcp/9/ws/p2p/{}", peer(3));
            of(format!("{relay}/p2p-circuit/webrtc/p2p/{tab}"))
        };
        let refused = |text: String| follow(&text, Scope::World).unwrap_err();
        assert_eq!(refused("peer=".repeat(300)), InviteError::TooLong);
        for text in
            ["", "peer=&chain=", "peer=/ip4/8.8.8.8", "chain=ab&peer=/ip4/8.8.8.8", "#peer=/ip4&chain=0"]
        {
            assert_eq!(refused(text.to_owned()), InviteError::Malformed, "{text}");
        }
        assert_eq!(refused(of(format!("{RELAY}&chain=ff"))), InviteError::Malformed);
        let other = format!("peer={RELAY}&chain={}", "cd".repeat(32));
        assert_eq!(refused(other), InviteError::OtherChain);
        let oneself = format!("{RELAY}/p2p-circuit/webrtc/p2p/{}", peer(1));
        assert_eq!(refused(of(oneself)), InviteError::Oneself);
        let raw = format!("/ip4/8.8.8.8/tcp/9/p2p/{tab}");
        for address in [raw, "/ip4/8.8.8.8/tcp/9/ws".to_owned(), format!("{RELAY}/p2p-circuit/p2p/{tab}")] {
            assert_eq!(refused(of(address.clone())), InviteError::NotDialable, "{address}");
        }
        for ip in ["127.0.0.1", "192.168.0.1"] {
            assert_eq!(refused(near(ip)), InviteError::TooNear);
            assert!(follow(&near(ip), Scope::Machine).is_ok());
        }
        // A peer with an address of its own may be invited to as well.
        assert!(follow(&of(RELAY.to_owned()), Scope::World).is_ok());
    }
}
