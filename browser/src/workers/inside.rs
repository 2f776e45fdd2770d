//! The worker's side: the same program, started where there is no page.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};
use weft_core::node::Job;

/// Serves jobs, if this is a worker. `false` on a page.
///
/// A message is a job's bytes, and its answer the result's. What cannot be read, or panics, ends the worker: the page
/// sees the error, reports the job as failed and starts another.
pub(crate) fn serve() -> bool {
    let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() else { return false };
    let answer = Closure::<dyn FnMut(MessageEvent)>::new({
        let scope = scope.clone();
        move |message: MessageEvent| {
            let bytes = message.data().dyn_into::<Uint8Array>().expect("the page sends bytes").to_vec();
            let job = Job::from_bytes(&bytes).expect("the page is the same program");
            let result = Uint8Array::from(job.run().to_bytes().as_slice());
            let buffer = Array::of1(&result.buffer());
            scope.post_message_with_transfer(&result, &buffer).expect("bytes can be sent");
        }
    });
    scope.set_onmessage(Some(answer.as_ref().unchecked_ref()));
    answer.forget();
    let ready = Uint8Array::new_with_length(0);
    scope.post_message(&ready).expect("bytes can be sent");
    true
}
