//! What is remembered of one room.

use std::collections::{BTreeSet, VecDeque};

use libp2p::PeerId;

use super::{MAX_HISTORY_BYTES, MAX_LINES, SAME_MESSAGE_MILLIS};
use crate::primitives::Wall;

/// A message in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub author: PeerId,
    /// The author's sequence number; `None` for what this peer said, or an author told, since who publishes does not
    /// learn it.
    pub sequence: Option<u64>,
    /// What was said.
    pub text: String,
    /// When it arrived here; for hearsay, when it arrived there, but never later than when it was told.
    pub at: Wall,
    /// Who told us, when the message itself with its author's signature was not seen here.
    pub told_by: Option<PeerId>,
}

impl Line {
    /// Whether both are the same message. Where both have a sequence number it decides; else the same words by the same
    /// author within two minutes are taken for one message.
    fn is(&self, other: &Self) -> bool {
        self.author == other.author
            && match (self.sequence, other.sequence) {
                (Some(one), Some(other)) => one == other,
                _ => self.text == other.text && self.at.0.abs_diff(other.at.0) <= SAME_MESSAGE_MILLIS,
            }
    }
}

/// The last lines of a room by time, under two caps. When one is reached the oldest hearsay leaves first, then the oldest
/// line: what others tell never costs us what we heard.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: Vec<Line>,
    bytes: usize,
    /// What was heard from its author lately, longer than the lines last, so that nothing is heard twice.
    heard: BTreeSet<(PeerId, u64)>,
    heard_order: VecDeque<(PeerId, u64)>,
}

/// How many messages heard are remembered by author and sequence number: sixteen times what is shown.
const MAX_HEARD: usize = 16 * MAX_LINES;

impl History {
    /// By time, the oldest first.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether this message was heard from its author already.
    pub(super) fn has_heard(&self, author: PeerId, sequence: u64) -> bool {
        self.heard.contains(&(author, sequence))
    }

    /// Adds what was heard from its author, or said here; it takes the place of hearsay about it.
    pub(super) fn hear(&mut self, line: Line) {
        if let Some(sequence) = line.sequence {
            self.heard.insert((line.author, sequence));
            self.heard_order.push_back((line.author, sequence));
            if self.heard_order.len() > MAX_HEARD
                && let Some(oldest) = self.heard_order.pop_front()
            {
                self.heard.remove(&oldest);
            }
        }
        if let Some(index) = self.lines.iter().position(|other| other.told_by.is_some() && other.is(&line)) {
            self.remove(index);
        }
        self.insert(line);
    }

    /// Adds hearsay, unless it is known or there is no room for it. Returns whether it was added.
    pub(super) fn learn(&mut self, line: Line) -> bool {
        let heard = line.sequence.is_some_and(|sequence| self.has_heard(line.author, sequence));
        if heard || self.lines.iter().any(|other| other.is(&line)) {
            return false;
        }
        let added = line.clone();
        self.insert(line);
        self.lines.contains(&added)
    }

    fn insert(&mut self, line: Line) {
        let index = self.lines.partition_point(|other| other.at <= line.at);
        self.bytes += line.text.len();
        self.lines.insert(index, line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_HISTORY_BYTES {
            let hearsay = self.lines.iter().position(|line| line.told_by.is_some());
            self.remove(hearsay.unwrap_or(0));
        }
    }

    fn remove(&mut self, index: usize) {
        self.bytes -= self.lines.remove(index).text.len();
    }
}
