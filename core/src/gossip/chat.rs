//! Chat rooms: what is said now, and what was said before one came.
//!
//! What is said now are gossip messages signed by their authors. What was said before is *hearsay*: another peer's memory
//! of a room, asked for over `/weft/chat/1`, with nobody's signature. It is shown as such, and never takes the place of
//! what was heard from the author.
//!
//! A message is told apart by author and sequence number. Who publishes does not learn the number, so a line said here has
//! none, nor does it when this peer tells it to others; then the same words by the same author within
//! [`SAME_MESSAGE_MILLIS`] count as the same message. So what we said is not told back to us as news, while after a restart,
//! with nothing in memory, our own words of before come back from others.

mod history;
mod message;
mod pace;

use std::collections::BTreeMap;

use history::History;
pub use history::Line;
use libp2p::PeerId;
pub use message::{
    Author, ChatRequest, ChatResponse, HistoryError, MAX_CHAT_REQUEST_BYTES, MAX_CHAT_RESPONSE_BYTES,
    MAX_TEXT_BYTES, TextError, Told, check_text,
};
use pace::{MAX_AUTHORS, Pace};

use super::Room;
use crate::{
    peers::Allowance,
    primitives::{DecodeError, Held, Now, Wall},
};

/// The most rooms a peer takes part in: each costs up to a megabyte and a gossip mesh.
pub const MAX_ROOMS: usize = 32;
/// The most messages of a room that are remembered.
pub const MAX_LINES: usize = 256;
/// The most bytes of text of a room that are remembered.
pub const MAX_HISTORY_BYTES: usize = 256 << 10;
/// Within so many milliseconds, the same words by the same author count as one message where a sequence number is missing.
pub const SAME_MESSAGE_MILLIS: u64 = 2 * 60 * 1000;
/// How fast others may speak; past it they are not passed on, and not blamed, since the network may have bundled them.
const OTHERS: Allowance = Allowance { per_second: 5, burst: 20 };
/// How fast this peer may speak: half, so that nobody has reason to ignore it.
const OWN: Allowance = Allowance { per_second: 2, burst: 10 };

/// What becomes of a message that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is new: pass it on and show it.
    New(Line),
    /// It was heard before, or this peer does not take part in the room.
    Known,
    /// Its author speaks too fast: do not pass it on, and blame nobody.
    TooFast,
    /// No peer should have passed it on.
    Bad(TextError),
}

/// Why something is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// The text is none.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The room is not joined.
    #[error("this peer does not take part in the room")]
    NotInRoom,
    /// Others would ignore it.
    #[error("too many messages at once: wait a second")]
    TooFast,
}

/// This peer takes part in [`MAX_ROOMS`] rooms already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this peer already takes part in {MAX_ROOMS} rooms, as many as it may: leave one first")]
pub struct TooManyRooms;

/// The rooms this peer takes part in.
#[derive(Debug)]
pub struct ChatRooms {
    local: PeerId,
    rooms: BTreeMap<Room, Joined>,
}

#[derive(Debug, Default)]
struct Joined {
    history: History,
    pace: Pace,
}

impl ChatRooms {
    /// No rooms yet.
    #[must_use]
    pub fn new(local: PeerId) -> Self {
        Self { local, rooms: BTreeMap::new() }
    }

    /// How much is kept: rooms, and of each that has most its lines and the authors whose pace is remembered.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let most = |of: fn(&Joined) -> usize| self.rooms.values().map(of).max().unwrap_or(0);
        [
            Held::new("rooms", self.rooms.len(), MAX_ROOMS),
            Held::new("lines of a room", most(|room| room.history.lines().len()), MAX_LINES),
            Held::new("authors in a room", most(|room| room.pace.authors()), MAX_AUTHORS),
        ]
        .into_iter()
    }

    /// Takes part in a room. Returns whether that is new: then subscribe to its topic and ask others for its history.
    ///
    /// # Errors
    /// When there are too many.
    pub fn join(&mut self, room: Room) -> Result<bool, TooManyRooms> {
        if self.rooms.contains_key(&room) {
            return Ok(false);
        }
        if self.rooms.len() == MAX_ROOMS {
            return Err(TooManyRooms);
        }
        self.rooms.insert(room, Joined::default());
        Ok(true)
    }

    /// Leaves a room and forgets what was said there. Returns whether this peer took part in it.
    pub fn leave(&mut self, room: &Room) -> bool {
        self.rooms.remove(room).is_some()
    }

    /// The rooms, by name.
    pub fn joined(&self) -> impl Iterator<Item = &Room> {
        self.rooms.keys()
    }

    /// What was said in a room, the oldest first; nothing when this peer does not take part in it.
    #[must_use]
    pub fn history(&self, room: &Room) -> &[Line] {
        self.rooms.get(room).map_or(&[], |room| room.history.lines())
    }

    /// A gossip message, whose signature the swarm has checked.
    pub fn heard(&mut self, room: &Room, author: PeerId, sequence: u64, data: &[u8], now: Now) -> Heard {
        let text = match check_text(data) {
            Ok(text) => text.to_owned(),
            Err(error) => return Heard::Bad(error),
        };
        let Some(room) = self.rooms.get_mut(room) else { return Heard::Known };
        if author == self.local || room.history.has_heard(author, sequence) {
            return Heard::Known;
        }
        if !room.pace.allows(author, OTHERS, now.mono) {
            return Heard::TooFast;
        }
        let line = Line { author, sequence: Some(sequence), text, at: now.wall, told_by: None };
        room.history.hear(line.clone());
        Heard::New(line)
    }

    /// Remembers what this peer says. Publish it then.
    ///
    /// # Errors
    /// When it cannot be said; nothing has changed then.
    pub fn say(&mut self, room: &Room, text: &str, now: Now) -> Result<Line, SayError> {
        let text = check_text(text.as_bytes())?.to_owned();
        let room = self.rooms.get_mut(room).ok_or(SayError::NotInRoom)?;
        if !room.pace.allows(self.local, OWN, now.mono) {
            return Err(SayError::TooFast);
        }
        let line = Line { author: self.local, sequence: None, text, at: now.wall, told_by: None };
        room.history.hear(line.clone());
        Ok(line)
    }

    /// The request for a room's history: an encoded [`ChatRequest`].
    #[must_use]
    pub fn ask(room: Room) -> Vec<u8> {
        ChatRequest::History { room, max: MAX_LINES as u32 }.to_bytes()
    }

    /// The answer to a request: an encoded [`ChatResponse`]. Hearsay is told on like all else, so that a room's memory
    /// outlives those who were there.
    ///
    /// # Errors
    /// When the bytes are no request, for which the peer is to blame.
    pub fn answer(&self, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let ChatRequest::History { room, max } = ChatRequest::from_bytes(body)?;
        let response = self.rooms.get(&room).map_or(ChatResponse::NotInRoom, |room| {
            let lines = room.history.lines();
            let latest = &lines[lines.len().saturating_sub(max as usize)..];
            ChatResponse::Messages(latest.iter().map(tell).collect())
        });
        Ok(response.to_bytes())
    }

    /// Takes in what a peer answered about a room. Returns what is new.
    ///
    /// # Errors
    /// When the answer is none, for which the peer is to blame.
    pub fn told(
        &mut self,
        room: &Room,
        teller: PeerId,
        body: &[u8],
        now: Wall,
    ) -> Result<Vec<Line>, HistoryError> {
        let ChatResponse::Messages(messages) = ChatResponse::from_bytes(body)? else { return Ok(Vec::new()) };
        let Some(room) = self.rooms.get_mut(room) else { return Ok(Vec::new()) };
        let lines = messages.into_iter().map(|told| Line {
            author: told.author.0,
            sequence: told.sequence,
            text: told.text,
            at: Wall(told.at).min(now),
            told_by: Some(teller),
        });
        Ok(lines.filter(|line| room.history.learn(line.clone())).collect())
    }
}

fn tell(line: &Line) -> Told {
    Told { author: Author(line.author), sequence: line.sequence, text: line.text.clone(), at: line.at.0 }
}

#[cfg(test)]
mod tests;
