//! Files by what is in them: how one is cut into chunks and named, kept, and fetched from several peers at once.
//!
//! A file is cut into [chunks](CHUNK_BYTES), a [`Manifest`] lists their hashes, and the hash of the manifest is the file's name:
//! its [`Cid`]. So whoever has the name can check the manifest, and with that each chunk as it comes, whoever brings it; and a
//! byte that is wrong tells who brought it. What is kept is on a [`Shelf`], which has an end; what is missing a [`Fetch`] brings.
//!
//! A chunk has 256 KiB. It is what one request asks for: a whole one fits the time a request may take ([`MAX_FILE_BYTES`] apart) down to
//! 26 KB a second, and the 512 KiB that the largest answer of the other protocols has, for which the buffers of a tab's data channels
//! are made. Smaller ones would make the manifest of the largest file, which is one answer too, larger than 8 KiB, and give each
//! peer more questions to answer; larger ones would be lost whole with a connection.

mod cid;
mod fetch;
mod manifest;
mod message;
mod shelf;

pub use cid::{Cid, ParseCidError};
pub use fetch::{Arrival, Failed, Fetch, Part, Progress};
pub use manifest::{
    CHUNK_BYTES, MAX_CHUNKS, MAX_FILE_BYTES, MAX_MANIFEST_BYTES, MAX_NAME_BYTES, Maker, Manifest,
    ManifestError,
};
pub use message::{ContentRequest, ContentResponse, MAX_CONTENT_REQUEST_BYTES, MAX_CONTENT_RESPONSE_BYTES};
pub use shelf::{File, MAX_FILES, Mark, Shelf, ShelfError};
