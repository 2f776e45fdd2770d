//! The Web Lock that at most one tab of a profile holds.
//!
//! A page that is reloaded may come back before the old one has let go: it waits longer for what was its own. The tab remembers by
//! itself, in its session storage, that it held the lock.
//!
//! A page that is left lets go of it: the browser may keep the page, frozen, in case that somebody comes back to it, and whoever has the profile
//! meanwhile must not wait for that one. One that is come back to asks for it anew.

use std::{cell::RefCell, time::Duration};

use futures::{FutureExt, channel::oneshot, pin_mut};
use futures_timer::Delay;
use js_sys::{Function, Object, Promise, Reflect};
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

thread_local! {
    /// Settles the promise that the lock is held by.
    static RELEASE: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// What holds the lock that it is called with until [`release`] is; `taken` is told whether there is one.
fn holder(taken: oneshot::Sender<bool>) -> JsValue {
    Closure::once_into_js(move |lock: JsValue| {
        let there = !lock.is_null();
        match taken.send(there) {
            Ok(()) if there => Promise::new(&mut |settle, _| RELEASE.set(Some(settle))),
            _ => Promise::resolve(&JsValue::UNDEFINED),
        }
    })
}

/// Lets go of the lock. `false` if this tab does not hold it.
pub(super) fn release() -> bool {
    RELEASE.take().is_some_and(|settle| settle.call0(&JsValue::UNDEFINED).is_ok())
}

/// Takes the lock if nobody holds it or waits for it. `false` when somebody does.
pub(super) async fn take_free(name: &str) -> bool {
    let options = Object::new();
    let (taken, is_taken) = oneshot::channel();
    let asked = Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE)
        .and_then(|_| request(name, &options, &holder(taken)));
    asked.is_ok() && is_taken.await.unwrap_or(false)
}

/// Takes the lock until it is [released](release). `false` when another tab holds it.
pub(super) async fn take(name: &str) -> Result<bool, String> {
    let unavailable = |_| "this browser cannot tell whether another tab has your identity".to_owned();
    let patience = AbortController::new().map_err(unavailable)?;
    let options = Object::new();
    Reflect::set(&options, &"signal".into(), &patience.signal()).map_err(unavailable)?;
    let (taken, is_taken) = oneshot::channel();
    let held = request(name, &options, &holder(taken)).map_err(unavailable)?;
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
