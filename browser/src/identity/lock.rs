//! The Web Lock that at most one tab of a profile holds.

use futures::{FutureExt, channel::oneshot, pin_mut};
use futures_timer::Delay;
use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::AbortController;

use crate::in_words;

/// How long a tab waits for the lock: a page that is being reloaded may not have let go yet.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(800);

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
    let late = Delay::new(PATIENCE).fuse();
    let taken = is_taken.fuse();
    pin_mut!(refused, late, taken);
    futures::select! {
        taken = taken => Ok(taken.is_ok()),
        outcome = refused => Err(outcome.err().map_or_else(|| "the lock was lost".into(), in_words)),
        () = late => {
            patience.abort();
            Ok(false)
        }
    }
}
