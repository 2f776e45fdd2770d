//! What the browser tells of the page's life, passed on to the node: it was frozen and goes on, it is shown again, the network went and
//! came back (Page Lifecycle; HTML, "online status"). What a browser does not tell, as when the machine slept, the node sees by its clocks.

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Event, EventTarget};
use weft_core::{node::Input, swarm::InputSender};

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
    tell(&window, "pageshow", |event| {
        let kept = Reflect::get(event, &JsValue::from_str("persisted")).is_ok_and(|kept| kept.is_truthy());
        kept.then_some(Input::Resumed)
    });
    tell(&window, "offline", |_| Some(Input::Offline));
    tell(&window, "online", |_| Some(Input::Online));
}
