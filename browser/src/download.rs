//! Fetching one small file, never more of it than it may have.

use std::time::Duration;

use futures::{FutureExt, pin_mut};
use futures_timer::Delay;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use crate::in_words;

/// How long a file may take, from the question to its last byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file's bytes, or `None` when the server says there is no such file. `accept` is the media type that is asked for.
///
/// # Errors
/// In words, when the server does not answer in time, answers with an error, or with more than `max` bytes.
pub(crate) async fn download(
    path: &str,
    accept: Option<&str>,
    max: usize,
) -> Result<Option<Vec<u8>>, String> {
    let abort = AbortController::new().map_err(in_words)?;
    let outcome = {
        let work = read(path, accept, max, &abort).fuse();
        let late = Delay::new(PATIENCE).fuse();
        pin_mut!(work, late);
        futures::select! {
            outcome = work => outcome,
            () = late => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
        }
    };
    if outcome.is_err() {
        abort.abort();
    }
    outcome.map_err(|error| format!("{path} could not be fetched: {error}"))
}

async fn read(
    path: &str,
    accept: Option<&str>,
    max: usize,
    abort: &AbortController,
) -> Result<Option<Vec<u8>>, String> {
    let window = web_sys::window().ok_or("there is no page")?;
    let options = RequestInit::new();
    options.set_signal(Some(&abort.signal()));
    options.set_cache(RequestCache::NoCache);
    if let Some(accept) = accept {
        let headers = Object::new();
        Reflect::set(&headers, &JsValue::from_str("accept"), &JsValue::from_str(accept)).map_err(in_words)?;
        options.set_headers(&headers);
    }
    let response = JsFuture::from(window.fetch_with_str_and_init(path, &options))
        .await
        .map_err(|_| "the server does not answer".to_owned())?;
    let response: Response = response.dyn_into().map_err(in_words)?;
    if response.status() == 404 {
        return Ok(None);
    }
    if !response.ok() {
        return Err(format!("the server answered {} {}", response.status(), response.status_text()));
    }
    let Some(stream) = response.body() else { return Ok(Some(Vec::new())) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(in_words)?;
        let field = |name: &str| Reflect::get(&chunk, &JsValue::from_str(name)).map_err(in_words);
        if field("done")?.is_truthy() {
            return Ok(Some(bytes));
        }
        let chunk: Uint8Array = field("value")?.dyn_into().map_err(in_words)?;
        if bytes.len() + chunk.length() as usize > max {
            return Err(format!("it has more than the {max} bytes it may have"));
        }
        bytes.extend(chunk.to_vec());
    }
}
