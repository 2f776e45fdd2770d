//! What the browser tells of the page's life, passed on to the node: it was frozen and goes on, it is shown again, the network went and
//! came back (Page Lifecycle; HTML, "online status"). What a browser does not tell, as when the machine slept, the node sees by its clocks.
//!
//! A page that is left may be kept, frozen, and come back to (HTML, "back/forward cache"). Meanwhile another tab may be the profile's peer.

use std::cell::Cell;

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Event, EventTarget};
use weft_core::{node::Input, swarm::InputSender};

use crate::identity;

thread_local! {
    /// Whether this page was the profile's peer when it was left.
    static LENT: Cell<bool> = const { Cell::new(false) };
}

/// Listens for as long as the page is there.
pub(super) fn follow(inputs: &InputSender) {
    let Some(window) = web_sys::window() else { return };
    let Some(document) = window.document() else { return };
    let tell = |target: &EventTarget, name: &'static str, input: fn(&Event) -> Option<Input>| {
        let inputs = inputs.clone();
        let listener = Closure::<dyn Fn(Event)>::new(move |event: Event| {
            if let Some(input) = input(&event) {
                tracing::info!(event = name, "the browser tells of the page's life");
                inputs.send(input);
            }
        });
        let listener = listener.into_js_value();
        if target.add_event_listener_with_callback(name, listener.unchecked_ref()).is_err() {
            tracing::warn!(event = name, "this browser does not tell of the page's life");
        }
    };
    tell(&document, "resume", |_| Some(Input::Resumed));
    tell(&document, "visibilitychange", |_| {
        let hidden = web_sys::window().and_then(|it| it.document()).is_some_and(|document| document.hidden());
        (!hidden).then_some(Input::Resumed)
    });
    tell(&window, "pagehide", |_| {
        LENT.set(identity::lend());
        None
    });
    tell(&window, "pageshow", |event| {
        let kept = Reflect::get(event, &JsValue::from_str("persisted")).is_ok_and(|kept| kept.is_truthy());
        if kept && LENT.take() {
            wasm_bindgen_futures::spawn_local(go_on_as_before());
        }
        kept.then_some(Input::Resumed)
    });
    tell(&window, "offline", |_| Some(Input::Offline));
    tell(&window, "online", |_| Some(Input::Online));
}

/// Is the profile's peer again, or starts anew as whatever it can be now.
async fn go_on_as_before() {
    if identity::regain().await {
        return;
    }
    tracing::warn!("another tab became the profile's peer while this page was away: it starts anew");
    let reloaded = web_sys::window().map(|window| window.location().reload());
    if !matches!(reloaded, Some(Ok(()))) {
        tracing::error!("the page cannot be reloaded: close it, since another tab is the same peer");
    }
}
