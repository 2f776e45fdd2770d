//! What the person has chosen, kept by the browser for all tabs of this page.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};
use web_sys::Storage;
use weft_core::{
    gossip::TxMode,
    node::{Role, Way},
    peers::{ListSource, MAX_LIST_SOURCES},
    sync::Strategy,
};

use crate::in_words;

/// The name of the chosen strategy.
const STRATEGY: &str = "weft-strategy";
/// Present when what is stored of the chain was joined by another strategy, and is to be deleted at the next start.
const START_OVER: &str = "weft-start-over";

/// The names of the person's own peers to begin with, of the places of further lists, of who has signed those of this page's server, and
/// of the DNS resolver.
const PEERS: &str = "weft-peers";
const LISTS: &str = "weft-node-lists";
const SIGNERS: &str = "weft-list-signers";
const RESOLVER: &str = "weft-resolver";
/// The name of the way in which transactions are passed on.
const TX_MODE: &str = "weft-tx-mode";
/// Who is asked unless the person has chosen another.
pub(crate) const USUAL_RESOLVER: &str = "https://cloudflare-dns.com/dns-query";
/// The names of the ways to find peers that are switched off.
const WAYS_OFF: &str = "weft-ways-off";
/// The most signers of this page's server that are remembered: whoever moves a relay changes its key now and then.
const MAX_SIGNERS: usize = 8;
/// The most peers to begin with.
pub(crate) const MAX_PEERS: usize = 16;

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok().flatten()
}

/// How this tab is to join the chain: as chosen, or as tabs do when nothing was.
pub(crate) fn strategy() -> Strategy {
    let chosen = storage().and_then(|storage| storage.get_item(STRATEGY).ok().flatten());
    chosen.and_then(|name| name.parse().ok()).unwrap_or(Role::Browser.strategy())
}

/// Keeps a choice for the next start. With `start_over` the tab that keeps the chain then begins it anew.
///
/// # Errors
/// In words, when the browser does not keep it.
pub(crate) fn choose(strategy: Strategy, start_over: bool) -> Result<(), String> {
    let storage = storage().ok_or("this browser keeps no settings for this page")?;
    storage.set_item(STRATEGY, &strategy.to_string()).map_err(in_words)?;
    match start_over {
        true => storage.set_item(START_OVER, "yes").map_err(in_words),
        false => storage.remove_item(START_OVER).map_err(in_words),
    }
}

/// Whether the stored chain is to be deleted.
pub(crate) fn is_to_start_over() -> bool {
    storage().is_some_and(|storage| storage.get_item(START_OVER).ok().flatten().is_some())
}

/// It is deleted.
pub(crate) fn started_over() {
    if let Some(Err(error)) = storage().map(|storage| storage.remove_item(START_OVER)) {
        tracing::warn!(error = in_words(error), "the browser keeps an old setting");
    }
}

fn item(name: &str) -> Option<String> {
    storage()?.get_item(name).ok().flatten()
}

/// Keeps a text for the next start, or forgets it when it is empty.
fn keep(name: &str, text: &str) -> Result<(), String> {
    let storage = storage().ok_or("this browser keeps no settings for this page")?;
    match text.is_empty() {
        true => storage.remove_item(name).map_err(in_words),
        false => storage.set_item(name, text).map_err(in_words),
    }
}

/// The person's own peers to begin with, beside those that the page's server names.
pub(crate) fn peers() -> Vec<Multiaddr> {
    let kept = item(PEERS).unwrap_or_default();
    kept.lines().filter_map(|line| line.parse().ok()).take(MAX_PEERS).collect()
}

/// Keeps peers to begin with.
///
/// # Errors
/// In words, when the browser does not keep them.
pub(crate) fn keep_peers(peers: &[Multiaddr]) -> Result<(), String> {
    let lines: Vec<_> = peers.iter().map(ToString::to_string).collect();
    keep(PEERS, &lines.join("\n"))
}

/// Where else signed lists of peers can be had.
pub(crate) fn lists() -> Vec<ListSource> {
    let kept = item(LISTS).unwrap_or_default();
    kept.lines().filter_map(|line| line.parse().ok()).take(MAX_LIST_SOURCES).collect()
}

/// Keeps where else lists can be had.
///
/// # Errors
/// In words, when the browser does not keep it.
pub(crate) fn keep_lists(lists: &[ListSource]) -> Result<(), String> {
    let lines: Vec<_> = lists.iter().map(ToString::to_string).collect();
    keep(LISTS, &lines.join("\n"))
}

/// Who has signed the lists of this page's server so far, the last first.
pub(crate) fn signers() -> Vec<PeerId> {
    let kept = item(SIGNERS).unwrap_or_default();
    kept.lines().filter_map(|line| line.parse().ok()).take(MAX_SIGNERS).collect()
}

/// Remembers who has signed the list of this page's server, so that its lists are believed from elsewhere when the server is gone.
pub(crate) fn remember_signer(signer: PeerId) {
    let before = signers();
    if before.first() == Some(&signer) {
        return;
    }
    let others = before.into_iter().filter(|other| *other != signer);
    let lines: Vec<_> =
        std::iter::once(signer).chain(others).take(MAX_SIGNERS).map(|it| it.to_string()).collect();
    if let Err(error) = keep(SIGNERS, &lines.join("\n")) {
        tracing::warn!(error, "the browser does not remember who signs the lists of peers");
    }
}

/// The resolver for DNS over HTTPS.
pub(crate) fn resolver() -> String {
    item(RESOLVER).unwrap_or_else(|| USUAL_RESOLVER.to_owned())
}

/// Keeps the choice of a resolver; the usual one when it is empty.
///
/// # Errors
/// In words, when the browser does not keep it.
pub(crate) fn keep_resolver(resolver: &str) -> Result<(), String> {
    keep(RESOLVER, resolver)
}

/// The ways to find peers that are switched off; none unless the person has done so.
pub(crate) fn ways_off() -> BTreeSet<Way> {
    let kept = item(WAYS_OFF).unwrap_or_default();
    kept.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Keeps which ways to find peers are switched off.
///
/// # Errors
/// In words, when the browser does not keep it.
pub(crate) fn keep_ways_off(off: &BTreeSet<Way>) -> Result<(), String> {
    let lines: Vec<_> = off.iter().map(ToString::to_string).collect();
    keep(WAYS_OFF, &lines.join("\n"))
}

/// How this tab is to pass transactions on: as chosen, or as everybody does when nothing was.
pub(crate) fn tx_mode() -> TxMode {
    item(TX_MODE).and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// Keeps the choice of how to pass transactions on.
///
/// # Errors
/// In words, when the browser does not keep it.
pub(crate) fn keep_tx_mode(mode: TxMode) -> Result<(), String> {
    keep(TX_MODE, &mode.to_string())
}
