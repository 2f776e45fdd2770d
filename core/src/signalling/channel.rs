//! A libp2p stream on a data channel: each half closes by itself, and either side may give up.
//!
//! A browser delivers what arrives whether or not anybody reads it, so what is unread is counted, and a stream that would pass the bound
//! of its connection is reset. Nothing else may be lost: the end of a half is sent as [`Flag::Fin`] and confirmed by
//! [`Flag::FinAck`], and only then the data channel may close. Where the other side knows no confirmation
//! ([`Channel::unconfirmed`]) that it ended its half after ours has to do.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Flag, Frame, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Malformed, Prefixed};

/// Why a stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// What came is no frame.
    #[error("the other side does not speak the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// Bytes came after the end.
    #[error("the other side sent bytes after the end")]
    AfterEnd,
    /// More is unread than may be.
    #[error("more came than was read and could be kept")]
    Overflow,
    /// One side gave the stream up, or the channel closed in the middle.
    #[error("the stream was given up")]
    Reset,
    /// The other side reads no more.
    #[error("the other side reads no more")]
    Stopped,
    /// This side has ended its half.
    #[error("this side has ended its half")]
    Finished,
}

/// What a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing more.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// All has come.
    Ended,
    /// We read no more; whether all has come.
    Stopped {
        ended: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// We send nothing more, and the other side may not have all.
    Ending,
    /// The other side has all, or wants no more.
    Ended,
    Stopped,
}

/// A stream.
#[derive(Clone, Debug)]
pub struct Channel {
    frames: Prefixed,
    unread: VecDeque<u8>,
    reading: Reading,
    writing: Writing,
    reset: Option<ChannelError>,
    /// Signs that are to be sent.
    signs: VecDeque<Flag>,
    /// Whether ends are confirmed.
    confirms: bool,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            frames: Prefixed::new(MAX_FRAME_BYTES),
            unread: VecDeque::new(),
            reading: Reading::Open,
            writing: Writing::Open,
            reset: None,
            signs: VecDeque::new(),
            confirms: true,
        }
    }
}

impl Channel {
    /// A stream to a peer that takes [`Flag::FinAck`] for nonsense, as rust-libp2p's WebRTC-direct does (libp2p-webrtc-utils 0.5).
    #[must_use]
    pub fn unconfirmed() -> Self {
        Self { confirms: false, ..Self::default() }
    }

    /// Takes what arrived on the data channel; `room` is how many bytes more the connection may keep unread. Drain
    /// [`Self::poll_sign`] afterwards.
    ///
    /// # Errors
    /// When the stream has to be given up; it is then.
    pub fn received(&mut self, mut bytes: &[u8], room: usize) -> Result<(), ChannelError> {
        if self.reset.is_some() {
            return Ok(());
        }
        let most = self.unread.len().saturating_add(room);
        let outcome = self.take_in(&mut bytes, most);
        if let Err(error) = outcome {
            self.give_up(error);
        }
        outcome
    }

    fn take_in(&mut self, bytes: &mut &[u8], most: usize) -> Result<(), ChannelError> {
        while let Some(frame) = self.frames.next(bytes)? {
            let Frame { flag, payload } = Frame::decode(&frame)?;
            if !payload.is_empty() {
                match self.reading {
                    Reading::Open if self.unread.len() + payload.len() > most => {
                        return Err(ChannelError::Overflow);
                    }
                    Reading::Open => self.unread.extend(payload),
                    Reading::Ended | Reading::Stopped { ended: true } => return Err(ChannelError::AfterEnd),
                    Reading::Stopped { ended: false } => {}
                }
            }
            match flag {
                Some(Flag::Fin) => {
                    let confirm = match self.reading {
                        Reading::Open => {
                            self.reading = Reading::Ended;
                            true
                        }
                        Reading::Stopped { ended: false } => {
                            self.reading = Reading::Stopped { ended: true };
                            true
                        }
                        // Said already.
                        Reading::Ended | Reading::Stopped { ended: true } => false,
                    };
                    if confirm && self.confirms {
                        self.signs.push_back(Flag::FinAck);
                    } else if confirm && self.writing == Writing::Ending {
                        self.writing = Writing::Ended;
                    }
                }
                Some(Flag::FinAck) if self.writing == Writing::Ending => self.writing = Writing::Ended,
                Some(Flag::StopSending) => match self.writing {
                    Writing::Open => self.writing = Writing::Stopped,
                    Writing::Ending => self.writing = Writing::Ended,
                    Writing::Ended | Writing::Stopped => {}
                },
                Some(Flag::Reset) => {
                    self.lost();
                    return Ok(());
                }
                Some(Flag::FinAck) | None => {}
            }
        }
        Ok(())
    }

    /// The data channel is closed. What has come can be read; if it was not all, an error comes after it.
    pub fn closed(&mut self) {
        if self.reading == Reading::Open || matches!(self.writing, Writing::Open | Writing::Ending) {
            self.reset.get_or_insert(ChannelError::Reset);
        }
        self.signs.clear();
    }

    /// The stream is given up by the other side; what is unread is of no use.
    fn lost(&mut self) {
        self.reset.get_or_insert(ChannelError::Reset);
        self.unread = VecDeque::new();
        self.signs.clear();
    }

    /// Gives the stream up.
    pub fn give_up(&mut self, error: ChannelError) {
        if self.reset.is_none() {
            self.lost();
            self.reset = Some(error);
            self.signs.push_back(Flag::Reset);
        }
    }

    /// Fills `buffer` with what has come.
    ///
    /// # Errors
    /// When the stream was given up.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Read, ChannelError> {
        if !self.unread.is_empty() {
            let count = buffer.len().min(self.unread.len());
            for (to, from) in buffer.iter_mut().zip(self.unread.drain(..count)) {
                *to = from;
            }
            return Ok(Read::Bytes(count));
        }
        match (self.reading, self.reset) {
            (Reading::Ended, _) => Ok(Read::End),
            (_, Some(error)) => Err(error),
            (Reading::Stopped { .. }, None) => Ok(Read::End),
            (Reading::Open, None) => Ok(Read::Nothing),
        }
    }

    /// The frame for the first of these bytes, and how many they are.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, usize), ChannelError> {
        self.can_write()?;
        let count = bytes.len().min(MAX_PAYLOAD_BYTES);
        Ok((Frame::encode(None, &bytes[..count]), count))
    }

    /// Whether something can be sent.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    pub fn can_write(&self) -> Result<(), ChannelError> {
        match (self.reset, self.writing) {
            (Some(error), _) => Err(error),
            (None, Writing::Open) => Ok(()),
            (None, Writing::Stopped) => Err(ChannelError::Stopped),
            (None, Writing::Ending | Writing::Ended) => Err(ChannelError::Finished),
        }
    }

    /// Ends our half: nothing more is sent.
    pub fn finish(&mut self) {
        match (self.reset, self.writing) {
            (None, Writing::Open) => {
                self.writing = Writing::Ending;
                self.signs.push_back(Flag::Fin);
            }
            (None, Writing::Stopped) => self.writing = Writing::Ended,
            _ => {}
        }
    }

    /// Nobody holds the stream any more. A half that was not ended is given up.
    pub fn dropped(&mut self) {
        match self.writing {
            Writing::Open => self.give_up(ChannelError::Reset),
            Writing::Stopped => self.writing = Writing::Ended,
            Writing::Ending | Writing::Ended => {}
        }
        self.unread = VecDeque::new();
        match self.reading {
            Reading::Open => {
                self.reading = Reading::Stopped { ended: false };
                if self.reset.is_none() {
                    self.signs.push_back(Flag::StopSending);
                }
            }
            Reading::Ended => self.reading = Reading::Stopped { ended: true },
            Reading::Stopped { .. } => {}
        }
    }

    /// The next frame with a sign that is to be sent.
    pub fn poll_sign(&mut self) -> Option<Vec<u8>> {
        self.signs.pop_front().map(|sign| Frame::encode(Some(sign), &[]))
    }

    /// How many bytes wait for a reader.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Whether the data channel may close: both sides have all, or one has given up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let all_came = matches!(self.reading, Reading::Ended | Reading::Stopped { ended: true });
        self.signs.is_empty() && (self.reset.is_some() || all_came && self.writing == Writing::Ended)
    }
}
