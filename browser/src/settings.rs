//! What the person has chosen, kept by the browser for all tabs of this page.

use web_sys::Storage;
use weft_core::{node::Role, sync::Strategy};

use crate::in_words;

/// The name of the chosen strategy.
const STRATEGY: &str = "weft-strategy";
/// Present when what is stored of the chain was joined by another strategy, and is to be deleted at the next start.
const START_OVER: &str = "weft-start-over";

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
