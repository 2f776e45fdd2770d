//! The Weft peer and app that run in a browser tab.
//!
//! One program, started twice: on the page it is the peer (the same core as everywhere, over this shell) and the app that
//! shows it; in a Web Worker, where there is no page, it runs the peer's costly jobs.
//!
//! # What tests can hold on to
//!
//! Elements carry `data-testid`; what is shortened for people is whole in `data-full`.
//!
//! - start: `starting`, `start-error`, `retry`, `guest-notice`, `insecure-notice`, `alarm`, `woke` (`data-millis`: how long the tab stood still, 0 when only
//!   the network was away), `woke-seen`
//! - top line: `connection-state` (`data-state`: starting, failed, connecting, connected, offline), `chain-name`,
//!   `height`, `head-hash`, `finalised` (`data-height`, `data-hash`)
//! - chain: `sync-state` (`data-phase`), `sync-progress` (`data-done`, `data-total`), `ground` (`data-joined-at`), `slots`, `arrival-delays` (`data-median`, in milliseconds; its bars have `data-height` and `data-millis`), `blocks`, `block`
//!   (`data-height`, `data-hash`, `data-final`, `data-transactions`; its button opens `block-details`), `transaction` (`data-id`,
//!   `data-from`, `data-to`, `data-amount`), `mempool` with `transaction`s in fee order, `mempool-pending`,
//!   `mempool-queued`, `fee-histogram` (`data-minimum`)
//! - wallet: `address`, `balance` (`data-amount`), `verified` (`data-verified`: executed, proven, or empty while nothing is;
//!   `data-height`), `pending-balance`, `faucet`, `faucet-result`, `send-to`,
//!   `send-amount`, `send-memo`, `send-fee`, `send-speed`, `send-submit`, `send-result`, `lookup-id`, `lookup`, `lookup-result` (results have `data-state`: waiting, done,
//!   refused; and `data-transaction`)
//! - chat: `chat-room` (`data-room`), `chat-leave`, `chat-join`, `chat-join-submit`, `chat-messages`, `chat-message`
//!   (`data-author`, `data-own`) with `chat-author`, `chat-text` and `chat-hearsay`, `chat-input`, `chat-send`,
//!   `chat-error`
//! - network: `peers`, `peer` (`data-peer`) with `peer-transport` and `peer-score`, which opens `peer-deeds` with `deed`s or `no-deeds`, `peer-id`, `chain`, `state-root`, `relay`
//!   (`data-reserved`), `storage` (`data-opened-at`: the height that the stored chain had, empty
//!   when none is kept), `strategy` (`data-strategy`: the one in use), `strategy-snap`, `strategy-warp`, `strategy-fast`, `strategy-full`, `strategy-light`,
//!   `strategy-checkpoint`, `strategy-hash`, `strategy-explained`, `strategy-save`, `strategy-result` (`data-state`),
//!   `ways` (`data-on`: the names of the ways to find peers that are in use), with a box `way-` and its name for each, `ways-none`, `ways-save`, `ways-result` (`data-state`)
//! - on a narrow page, `section-chain`, `section-wallet`, `section-chat` and `section-network` switch between them
//!
//! `window.weft.debug()` tells what was measured: see `measure`. A page opened with `?log=told` also logs what it gets to the console.

mod clock;
mod console;
mod doh;
mod download;
mod files;
mod identity;
mod indexed;
mod measure;
mod page;
mod payments;
mod session;
mod settings;
mod shell;
mod start;
mod storage;
mod text;
mod workers;

use wasm_bindgen::{JsCast, JsValue};

fn main() {
    console::start();
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        stopped();
    }));
    if !workers::serve() {
        measure::start();
        page::show();
    }
}

/// Tells the person that a fault has ended the program: nothing on the page can do so any more.
fn stopped() {
    let notice = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id("stopped"));
    if let Some(notice) = notice {
        // When even that fails, the console still has it.
        let _ = notice.remove_attribute("hidden");
    }
}

/// Random bytes from the browser.
///
/// # Errors
/// When it has none.
fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("this browser gives no random numbers: {error}"))?;
    Ok(bytes)
}

/// What a browser's error says.
fn in_words(error: impl Into<JsValue>) -> String {
    let error = error.into();
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}
