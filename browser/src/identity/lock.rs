//! The Web Lock that at most one tab of a profile holds.
//!
//! A page that is reloaded may come back before the old one has let go: it waits longer for what was its own. The tab remembers by
//! itself, in its session storage, that it held the lock.

use std::time::Duration;

use futures::{FutureExt, channel::oneshot, pin_mut};
use futures_timer::Delay;
use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{AbortController, window};

use crate::in_words;

/// How long a tab waits for the lock: who has it may just be leaving.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a tab waits that had it. One that was copied from the holder waits as long in vain.
const PATIENCE_OF_THE_HOLDER: Duration = Duration::from_secs(10);
/// Present in the session storage of a tab that has had the lock.
const HELD: &str = "weft-held";

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`, which web-sys still calls unstable.
    #[wasm_bindgen(js_namespace = ["navigator", "locks"], js_name = request, catch)]
    fn request(name: &str, options: &Object, holder: &JsValue) -> Result<Promise, JsValue>;
}

/// Takes the lock for as long as this tab lives. `false` when another tab holds it.
pub(super) async fn take(name: &str) -> Result<bool, String> {
    let unavailable = |_| "this browser cannot tell whether another tab has your identity".to_owned();
    let patience = AbortController::new().map_err(unavailable)?;
    let options = Object::new();
    Reflect::set(&options, &"signal".into(), &patience.signal()).map_err(unavailable)?;
    let (taken, is_taken) = oneshot::channel();
    // The lock is held until the promise is settled, and this one never is.
    let holder = Closure::once_into_js(move |_: JsValue| match taken.send(()) {
        Ok(()) => Promise::new(&mut |_, _| {}),
        Err(()) => Promise::resolve(&JsValue::UNDEFINED),
    });
    let held = request(name, &options, &holder).map_err(unavailable)?;
    let refused = wasm_bindgen_futures::JsFuture::from(held).fuse();
    let session = window().and_then(|window| window.session_storage().ok().flatten());
    let held_before = session.as_ref().is_some_and(|it| it.get_item(HELD).is_ok_and(|value| value.is_some()));
    let late = Delay::new(if held_before { PATIENCE_OF_THE_HOLDER } else { PATIENCE }).fuse();
    let taken = is_taken.fuse();
    pin_mut!(refused, late, taken);
    futures::select! {
        taken = taken => {
            if let Some(session) = session && session.set_item(HELD, "").is_err() {
                tracing::warn!("this tab cannot remember that it has the stored identity: reloaded it may be a guest");
            }
            Ok(taken.is_ok())
        }
        outcome = refused => Err(outcome.err().map_or_else(|| "the lock was lost".into(), in_words)),
        () = late => {
            patience.abort();
            Ok(false)
        }
    }
}
