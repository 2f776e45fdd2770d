//! The archive of a tab that keeps nothing: in memory, the newest bodies only.

use std::collections::BTreeMap;

use weft_core::{
    primitives::{Hash, Height},
    store::{ArchiveAnswer, ArchiveRequest, ArchivedBlock},
};

/// The most bytes of bodies that are kept; the lowest blocks' go first. Headers stay: they are few bytes, and a gap in
/// them could be taken for a lie.
const MAX_BODY_BYTES: usize = 64 << 20;

#[derive(Default)]
pub(crate) struct Archive {
    headers: BTreeMap<(Height, Hash), Vec<u8>>,
    bodies: BTreeMap<(Height, Hash), Vec<u8>>,
    body_bytes: usize,
}

impl Archive {
    pub(super) fn answer(&mut self, request: ArchiveRequest) -> ArchiveAnswer {
        match request {
            ArchiveRequest::Put(blocks) => {
                blocks.into_iter().for_each(|block| self.put(block));
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Delete(keys) => {
                for key in keys {
                    self.headers.remove(&key);
                    self.forget_body(key);
                }
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Prune { below } => {
                let lowest = (below, Hash::ZERO);
                while let Some((&key, _)) = self.headers.first_key_value().filter(|(key, _)| **key < lowest) {
                    self.headers.remove(&key);
                    self.forget_body(key);
                }
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Headers { from, count } => {
                let headers = self.headers.range((from, Hash::ZERO)..).take(count);
                ArchiveAnswer::Headers(
                    headers.map(|((height, hash), header)| (*height, *hash, header.clone())).collect(),
                )
            }
            ArchiveRequest::Bodies { keys, max_bytes } => {
                let mut bytes = 0;
                let mut bodies = Vec::new();
                for key in keys {
                    if bytes > max_bytes {
                        break;
                    }
                    let body = self.bodies.get(&key).cloned();
                    bytes += body.as_ref().map_or(0, Vec::len);
                    bodies.push(body);
                }
                ArchiveAnswer::Bodies(bodies)
            }
        }
    }

    fn put(&mut self, block: ArchivedBlock) {
        let key = (block.height, block.hash);
        self.forget_body(key);
        self.body_bytes += block.body.len();
        self.headers.insert(key, block.header);
        self.bodies.insert(key, block.body);
        while self.body_bytes > MAX_BODY_BYTES {
            let Some((&lowest, _)) = self.bodies.first_key_value() else { break };
            self.forget_body(lowest);
        }
    }

    fn forget_body(&mut self, key: (Height, Hash)) {
        if let Some(body) = self.bodies.remove(&key) {
            self.body_bytes -= body.len();
        }
    }
}
