//! Files between this machine and the peer, a chunk at a time.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use weft_core::{
    content::{CHUNK_BYTES, Cid, MAX_FILE_BYTES, Maker, ManifestError},
    node::{Command, CommandError, ContentCommand, FileView, Reply},
    swarm::Handle,
};

/// Why a file did not get to where it should, in words.
pub(crate) type Trouble = String;

async fn ask(handle: &Handle, command: ContentCommand) -> Result<Reply, Trouble> {
    handle.call(Command::Content(command)).await.map_err(|error: CommandError| error.to_string())
}

async fn chunk(file: &web_sys::File, from: u64) -> Result<Vec<u8>, Trouble> {
    let words = |error: JsValue| format!("the file cannot be read: {error:?}");
    // Both are exact: a file here has at most 64 MiB.
    let (from, to) = (from as f64, (from + CHUNK_BYTES as u64) as f64);
    let slice = file.slice_with_f64_and_f64(from, to).map_err(words)?;
    let buffer = JsFuture::from(slice.array_buffer()).await.map_err(words)?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// Hands a file that the person has chosen to the peer, telling how far it is in thousandths.
pub(crate) async fn put(
    handle: &Handle,
    file: &web_sys::File,
    mut progress: impl FnMut(u64),
) -> Result<Cid, Trouble> {
    let bytes = file.size();
    if bytes > MAX_FILE_BYTES as f64 {
        return Err(ManifestError::TooLarge.to_string());
    }
    let bytes = bytes as u64;
    let starts = || (0..bytes).step_by(CHUNK_BYTES);
    let mut maker = Maker::default();
    for from in starts() {
        maker.add(&chunk(file, from).await?).map_err(|error| error.to_string())?;
        progress(from * 500 / bytes);
    }
    let manifest = maker.finish(&file.name());
    let cid = manifest.cid();
    let Reply::Missing(missing) = ask(handle, ContentCommand::Offer(manifest)).await? else {
        return Err(CommandError::Stopped.to_string());
    };
    for (index, from) in (0..).zip(starts()) {
        if missing.contains(&index) {
            let bytes = chunk(file, from).await?;
            ask(handle, ContentCommand::Put { cid, index, bytes }).await?;
        }
        progress(500 + from * 500 / bytes);
    }
    Ok(cid)
}

/// Begins to fetch a file.
pub(crate) async fn fetch(handle: &Handle, cid: Cid) -> Result<(), Trouble> {
    ask(handle, ContentCommand::Fetch { cid, offer: true }).await.map(|_| ())
}

/// The files that are here or coming.
pub(crate) async fn list(handle: &Handle) -> Result<Vec<FileView>, Trouble> {
    match ask(handle, ContentCommand::List).await? {
        Reply::Files(files) => Ok(files),
        _ => Ok(Vec::new()),
    }
}

/// How it is with one file.
pub(crate) async fn show(handle: &Handle, cid: Cid) -> Option<FileView> {
    match ask(handle, ContentCommand::Show(cid)).await {
        Ok(Reply::File(view)) => Some(*view),
        _ => None,
    }
}

/// Lets a file go.
pub(crate) async fn drop_file(handle: &Handle, cid: Cid) -> Result<(), Trouble> {
    ask(handle, ContentCommand::Drop(cid)).await.map(|_| ())
}

/// Hands a file that is here to the browser, which saves it as it saves all.
pub(crate) async fn save(handle: &Handle, file: &FileView) -> Result<(), Trouble> {
    let parts = Array::new();
    for index in 0..file.chunks as u32 {
        if let Reply::Chunk(bytes) = ask(handle, ContentCommand::Read { cid: file.cid, index }).await? {
            parts.push(&Uint8Array::from(bytes.as_slice()));
        }
    }
    let words = |error: JsValue| format!("the browser does not take it: {error:?}");
    let blob = web_sys::Blob::new_with_u8_array_sequence(&parts).map_err(words)?;
    let url = web_sys::Url::create_object_url_with_blob(&blob).map_err(words)?;
    let link = leptos::prelude::document().create_element("a").map_err(words)?;
    let link: web_sys::HtmlAnchorElement = link.unchecked_into();
    link.set_href(&url);
    link.set_download(if file.name.is_empty() { "file" } else { &file.name });
    link.click();
    // The browser has taken hold of it by now.
    web_sys::Url::revoke_object_url(&url).map_err(words)
}
