//! From an open page to a running peer.
//!
//! The chain and the peers to begin with come from the server that served the page: `/genesis.json`, the signed
//! `/bootstrap.json`, and in the demo `/demo.json` with the faucet's key. All of it is checked before it is used. Who has signed the list is
//! remembered, so that anybody may serve it when that server is gone.

use libp2p::{Multiaddr, multiaddr::Protocol};
use serde::Deserialize;
use weft_core::{
    chain::Genesis,
    node::{Command, NodeLists, Reply, Role, Way},
    peers::{
        ListSource, MAX_NODE_LIST_BYTES, NodeList, NodeListError, Scope, can_dial, is_circuit,
        is_webrtc_direct,
    },
    primitives::{Address, Hash, Height, SecretKey},
    swarm::Handle,
};

use crate::{
    clock,
    download::download,
    identity,
    session::Session,
    settings,
    shell::{self, Condition},
    storage,
};

const GENESIS_PATH: &str = "/genesis.json";
const BOOTSTRAP_PATH: &str = "/bootstrap.json";
/// Names another place of such a list in the query of the page's address.
const LIST_QUERY: &str = "node-list=";
const DEMO_PATH: &str = "/demo.json";

/// The most bytes of each.
const MAX_GENESIS: usize = 8 << 20;
const MAX_DEMO: usize = 4 << 10;

/// What a demo's server adds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Demo {
    /// The seed of the faucet's account key: 64 hex digits.
    faucet: String,
}

/// A running peer.
pub(crate) struct Started {
    pub(crate) session: Session,
    /// Why this tab is a guest, in words.
    pub(crate) guest: Option<String>,
}

/// Starts the peer. `step` hears what is being done.
///
/// # Errors
/// In words; trying again makes sense.
pub(crate) async fn start(
    step: impl Fn(&'static str),
    tell: impl Fn(Condition) + 'static,
) -> Result<Started, String> {
    step("Loading your keys and the chain's beginning");
    // Loading the keys is not given up half-way: the lock may be held already.
    let files = futures::future::try_join(genesis(), faucet());
    let (identity, files, bootstrap) = futures::join!(identity::load(), files, bootstrap());
    let (identity, (genesis, faucet)) = (identity?, files?);
    if let Some(exposed) = identity.exposed {
        tell(Condition::Storage(exposed));
    }
    step("Starting the peer");
    let chain = genesis.hash();
    let mut lists = lists();
    let off = settings::ways_off();
    let own = bootstrap.and_then(|list| Ok((dialable(&list, &chain)?, list.stun_uris(), list.signer())));
    let (relays, stun) = match own {
        Ok((relays, stun, signer)) => {
            if let Ok(signer) = signer {
                settings::remember_signer(signer);
                lists.signers.push(signer);
            }
            (relays, stun)
        }
        // Somebody else may have the list. The node says so when nobody has.
        Err(error) if lists.sources.len() > 1 || off.contains(&Way::Bootstrap) => {
            tracing::warn!(error, "this page's server gives no list of peers");
            (Vec::new(), Vec::new())
        }
        Err(error) => return Err(error),
    };
    let strategy = settings::strategy();
    let keep = identity.guest.is_none();
    if keep && settings::is_to_start_over() {
        storage::forget(&chain).await?;
        settings::started_over();
    }
    let bootstrap = relays.iter().cloned().chain(settings::peers()).collect();
    let (handle, kept) =
        shell::start(&identity.peer, genesis.clone(), strategy, (bootstrap, lists, &off), stun, keep, tell)
            .await?;
    let opened_at = if kept { height(&handle).await } else { None };
    let session = Session {
        handle,
        peer: identity.peer.public().to_peer_id(),
        address: Address::of(&identity.account.public()),
        account: identity.account,
        genesis,
        chain,
        faucet,
        relays,
        off,
        strategy,
        tx_mode: settings::tx_mode(),
        opened_at,
    };
    Ok(Started { session, guest: identity.guest })
}

/// The height of the chain as the peer has it.
async fn height(handle: &Handle) -> Option<Height> {
    match handle.call(Command::Status).await {
        Ok(Reply::Status(status)) => status.chain.map(|chain| chain.height),
        _ => None,
    }
}

async fn genesis() -> Result<Genesis, String> {
    let bytes = download(GENESIS_PATH, None, MAX_GENESIS)
        .await?
        .ok_or("this server serves no chain: it has no genesis")?;
    let genesis: Genesis =
        serde_json::from_slice(&bytes).map_err(|error| format!("the genesis cannot be read: {error}"))?;
    genesis.check().map_err(|error| format!("the genesis is invalid: {error}"))?;
    Ok(genesis)
}

async fn faucet() -> Result<Option<SecretKey>, String> {
    let Some(bytes) = download(DEMO_PATH, None, MAX_DEMO).await? else { return Ok(None) };
    let unreadable = |error: &dyn std::fmt::Display| format!("{DEMO_PATH} cannot be read: {error}");
    let demo: Demo = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    let seed: [u8; 32] = hex::FromHex::from_hex(&demo.faucet).map_err(|error| unreadable(&error))?;
    Ok(Some(SecretKey::from_seed(seed)))
}

/// Where lists of peers can be had: from this page's server, where the person has said, and where the page's address says, which
/// may come from anybody and so names nobody to believe.
fn lists() -> NodeLists {
    let location = web_sys::window().map(|window| window.location());
    let origin = location.as_ref().and_then(|it| it.origin().ok()).unwrap_or_default();
    let query = location.and_then(|it| it.search().ok()).unwrap_or_default();
    let asked = query.trim_start_matches('?').split('&').filter_map(|part| part.strip_prefix(LIST_QUERY));
    let asked = asked.filter_map(|text| {
        let text = String::from(js_sys::decode_uri_component(text).ok()?);
        Some(ListSource { signer: None, ..text.parse().ok()? })
    });
    let own = format!("{origin}{BOOTSTRAP_PATH}").parse().ok();
    NodeLists {
        sources: own.into_iter().chain(settings::lists()).chain(asked).collect(),
        signers: settings::signers(),
    }
}

async fn bootstrap() -> Result<NodeList, String> {
    let bytes = download(BOOTSTRAP_PATH, None, MAX_NODE_LIST_BYTES)
        .await?
        .ok_or("this server names no peers to begin with: it has no bootstrap list")?;
    serde_json::from_slice(&bytes).map_err(|error| NodeListError::Malformed(error.to_string()).to_string())
}

/// Whether this page may connect there: one that came over https only where TLS or WebRTC is, or to its own machine (Mixed Content, W3C).
fn is_allowed(address: &Multiaddr) -> bool {
    let secure_page = web_sys::window().is_some_and(|it| it.location().protocol().as_deref() == Ok("https:"));
    let secure = address.iter().any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_)));
    !secure_page || secure || is_webrtc_direct(address) || Scope::of(address) == Some(Scope::Machine)
}

/// The addresses in a list that a browser can dial, each with its peer id.
fn dialable(list: &NodeList, chain: &Hash) -> Result<Vec<Multiaddr>, String> {
    let peers = list.verify(chain, clock::now().wall).map_err(|error| error.to_string())?;
    let mut dialable = Vec::new();
    for (peer, addresses) in peers {
        for address in addresses {
            if let (true, false, Ok(address)) =
                (can_dial(Role::Browser, &address), is_circuit(&address), address.with_p2p(peer))
            {
                dialable.push(address);
            }
        }
    }
    // A peer is dialled at one address after the other, and WebSocket carries the most.
    dialable.sort_by_key(is_webrtc_direct);
    let all = dialable.len();
    dialable.retain(is_allowed);
    if dialable.is_empty() && all > 0 {
        return Err("this page came over https, so the browser lets it connect to wss and webrtc-direct addresses only, and the list of peers has none: the relay needs a certificate, a proxy whose address it is told, or to listen for WebRTC-direct".into());
    }
    if dialable.is_empty() {
        return Err("the list of peers has no address that a browser can dial".into());
    }
    Ok(dialable)
}
