//! One agreement on a connection, from the first word to the moment the connection is usable.
//!
//! The side that opened the stream offers, the other one answers; then each tells the addresses it finds while it finds them
//! (*trickle ICE*), until the connection stands. Whoever offers makes a data channel named `init` first, since without one a browser
//! gathers no addresses, and closes it again before the connection is used, so that no stream gets its number while it closes.
//!
//! The machine hears what happened and says what to do; it has no clock. After an error nothing more is said: reset the stream and
//! close the connection.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use super::{Kind, MAX_MESSAGE_BYTES, Malformed, Message, Prefixed, Sdp, SdpError};
use crate::primitives::Mono;

/// How long an agreement may take, the connection included. Where it succeeds at all it takes less than a second or two; js-libp2p
/// gives up after 10.
pub const DEADLINE_MILLIS: u64 = 15_000;
/// The most addresses that one side tells, those in its description among them.
pub const MAX_CANDIDATES: usize = 64;
/// The most bytes of one of them.
pub const MAX_CANDIDATE_BYTES: usize = 1024;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// What came is no message.
    #[error("the other side does not speak the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// A description that is refused.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// A message where another one belongs, or one for the second time.
    #[error("the other side sent {0:?} out of turn")]
    OutOfTurn(Kind),
    /// It sent our own description back.
    #[error("the other side sent our own description back")]
    Reflected,
    /// More addresses than a side may tell, or longer ones.
    #[error("the other side told more or longer addresses than it may")]
    TooManyCandidates,
    /// The stream ended before all was said.
    #[error("the other side ended before all was said")]
    Ended,
    /// The browser could not do what it was asked to, in its words.
    #[error("the browser refused: {0}")]
    Browser(String),
    /// No way from one to the other was found.
    #[error("no direct way to the other side was found")]
    Unreachable,
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
}

/// Which part one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It opened the stream.
    Offerer,
    /// The stream was opened to it.
    Answerer,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened<'a> {
    /// The next bytes on the stream.
    Received(&'a [u8]),
    /// The other side sends nothing more on it, or it is broken.
    Ended,
    /// Our own description is made.
    Described(String),
    /// We may be reached at this address, as JSON.
    Candidate(String),
    /// The connection stands.
    Connected,
    /// The connection cannot be made.
    Unreachable,
    /// The browser refused to do what it was asked to.
    Refused(String),
    /// The `init` channel is open.
    InitOpened,
    /// The `init` channel is closed.
    InitClosed,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes on the stream.
    Send(Vec<u8>),
    /// Let the browser do this.
    Do(Step),
    /// Close the stream; the connection can be used.
    Finish,
}

/// What a browser does with its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an `init` channel and an offer, and begin to gather addresses. Ends in [`Happened::Described`].
    Offer,
    /// Take this offer, make an answer, and begin to gather addresses. Ends in [`Happened::Described`].
    Answer(String),
    /// Take this answer.
    Accept(String),
    /// Try this address, as JSON; if it is none, no harm is done.
    Try(String),
    /// Close the `init` channel. Ends in [`Happened::InitClosed`].
    CloseInit,
}

/// When the parts of an agreement were done, in milliseconds since its begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Both descriptions were there.
    pub described: Option<u64>,
    /// The connection stood.
    pub connected: Option<u64>,
    /// It could be used.
    pub usable: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Our own description is being made, or that of the other side is awaited: whichever is missing.
    Describing,
    /// Both have described themselves.
    Connecting,
    /// It stands; the `init` channel is to open, and to close.
    Opening,
    Closing,
    /// It can be used.
    Usable,
    Failed,
}

/// An agreement.
#[derive(Clone, Debug)]
pub struct Session {
    side: Side,
    phase: Phase,
    began: Mono,
    stream: Prefixed,
    ended: bool,
    own: Option<Sdp>,
    theirs: Option<Sdp>,
    init_open: bool,
    /// Addresses of our own that are not to be told before the description.
    untold: Vec<String>,
    told: usize,
    heard: usize,
    tried: BTreeSet<String>,
    parts: Parts,
    actions: VecDeque<Action>,
}

impl Session {
    /// Begins one. Do what [`Self::poll_action`] says.
    #[must_use]
    pub fn new(side: Side, now: Mono) -> Self {
        let mut actions = VecDeque::new();
        if side == Side::Offerer {
            actions.push_back(Action::Do(Step::Offer));
        }
        Self {
            side,
            phase: Phase::Describing,
            began: now,
            stream: Prefixed::new(MAX_MESSAGE_BYTES),
            ended: false,
            own: None,
            theirs: None,
            init_open: false,
            untold: Vec::new(),
            told: 0,
            heard: 0,
            tried: BTreeSet::new(),
            parts: Parts::default(),
            actions,
        }
    }

    /// Takes in what happened. Drain [`Self::poll_action`] afterwards.
    ///
    /// # Errors
    /// When there will be no connection.
    pub fn handle(&mut self, now: Mono, happened: Happened<'_>) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Usable | Phase::Failed) {
            return Ok(());
        }
        let outcome = self.take_in(now, happened);
        if outcome.is_err() {
            self.phase = Phase::Failed;
            self.actions.clear();
        }
        outcome
    }

    /// What is to be done next, or `None` until something happens.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let is_over = matches!(self.phase, Phase::Usable | Phase::Failed);
        (!is_over).then(|| self.began + DEADLINE_MILLIS)
    }

    /// Gives up when it is time to. Calling it early is harmless.
    ///
    /// # Errors
    /// When it took too long.
    pub fn handle_timeout(&mut self, now: Mono) -> Result<(), SessionError> {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.phase = Phase::Failed;
            self.actions.clear();
            return Err(SessionError::TimedOut);
        }
        Ok(())
    }

    /// Whether the connection can be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.phase == Phase::Usable
    }

    /// How long its parts took.
    #[must_use]
    pub const fn parts(&self) -> Parts {
        self.parts
    }

    fn take_in(&mut self, now: Mono, happened: Happened<'_>) -> Result<(), SessionError> {
        match happened {
            Happened::Received(mut bytes) => {
                // What comes after the connection stands is not needed any more.
                while matches!(self.phase, Phase::Describing | Phase::Connecting)
                    && let Some(message) = self.stream.next(&mut bytes)?
                {
                    self.heard(now, Message::decode(&message)?)?;
                }
            }
            Happened::Ended => {
                self.ended = true;
                // Whoever sees the connection first ends the stream, so from here on no more is needed.
                if self.theirs.is_none() {
                    return Err(SessionError::Ended);
                }
            }
            Happened::Described(sdp) => self.described(now, sdp)?,
            Happened::Candidate(candidate) if self.phase == Phase::Describing && self.own.is_none() => {
                if self.untold.len() < MAX_CANDIDATES {
                    self.untold.push(candidate);
                }
            }
            Happened::Candidate(candidate) => self.tell(candidate),
            Happened::Connected => {
                if self.phase == Phase::Connecting {
                    self.parts.connected = Some(now - self.began);
                    match self.side {
                        Side::Offerer => self.phase = Phase::Opening,
                        Side::Answerer => self.usable(now),
                    }
                    self.close_init();
                }
            }
            Happened::Unreachable => return Err(SessionError::Unreachable),
            Happened::Refused(why) => return Err(SessionError::Browser(why)),
            Happened::InitOpened => {
                self.init_open = true;
                self.close_init();
            }
            Happened::InitClosed => match (self.side, self.phase) {
                (Side::Offerer, Phase::Opening | Phase::Closing) => self.usable(now),
                (Side::Offerer, _) => return Err(SessionError::Unreachable),
                (Side::Answerer, _) => {}
            },
        }
        Ok(())
    }

    fn heard(&mut self, now: Mono, message: Message) -> Result<(), SessionError> {
        let Message { kind, data } = message;
        match (kind, self.side) {
            (Kind::Offer, Side::Answerer) | (Kind::Answer, Side::Offerer) if self.theirs.is_none() => {
                // No answer is due before the offer is made.
                if self.side == Side::Offerer && self.own.is_none() {
                    return Err(SessionError::OutOfTurn(kind));
                }
                let sdp = Sdp::check(&data)?;
                if self.own.as_ref().is_some_and(|own| !own.fingerprints.is_disjoint(&sdp.fingerprints)) {
                    return Err(SessionError::Reflected);
                }
                self.heard = sdp.candidates;
                if self.heard > MAX_CANDIDATES {
                    return Err(SessionError::TooManyCandidates);
                }
                self.theirs = Some(sdp);
                self.actions.push_back(Action::Do(match self.side {
                    Side::Offerer => Step::Accept(data),
                    Side::Answerer => Step::Answer(data),
                }));
                self.agreed(now);
            }
            (Kind::Candidate, _) if self.theirs.is_some() => {
                self.heard += 1;
                if self.heard > MAX_CANDIDATES || data.len() > MAX_CANDIDATE_BYTES {
                    return Err(SessionError::TooManyCandidates);
                }
                // With nothing in it, it says that there are no more.
                let is_end = matches!(data.as_str(), "" | "null" | "\"\"");
                if !is_end && self.tried.insert(data.clone()) {
                    self.actions.push_back(Action::Do(Step::Try(data)));
                }
            }
            _ => return Err(SessionError::OutOfTurn(kind)),
        }
        Ok(())
    }

    fn described(&mut self, now: Mono, sdp: String) -> Result<(), SessionError> {
        let own = Sdp::check(&sdp).map_err(|error| SessionError::Browser(error.to_string()))?;
        if self.own.is_some() {
            return Ok(());
        }
        let kind = match self.side {
            Side::Offerer => Kind::Offer,
            Side::Answerer => Kind::Answer,
        };
        if self.theirs.as_ref().is_some_and(|theirs| !own.fingerprints.is_disjoint(&theirs.fingerprints)) {
            return Err(SessionError::Reflected);
        }
        self.own = Some(own);
        self.send(kind, sdp);
        for candidate in std::mem::take(&mut self.untold) {
            self.tell(candidate);
        }
        self.agreed(now);
        Ok(())
    }

    fn tell(&mut self, candidate: String) {
        let is_wanted = matches!(self.phase, Phase::Describing | Phase::Connecting) && !self.ended;
        if is_wanted && self.told < MAX_CANDIDATES && candidate.len() <= MAX_CANDIDATE_BYTES {
            self.told += 1;
            self.send(Kind::Candidate, candidate);
        }
    }

    fn send(&mut self, kind: Kind, data: String) {
        self.actions.push_back(Action::Send(Message { kind, data }.encode()));
    }

    fn agreed(&mut self, now: Mono) {
        if self.own.is_some() && self.theirs.is_some() {
            self.phase = Phase::Connecting;
            self.parts.described = Some(now - self.began);
        }
    }

    fn close_init(&mut self) {
        if self.phase == Phase::Opening && self.init_open {
            self.phase = Phase::Closing;
            self.actions.push_back(Action::Do(Step::CloseInit));
        }
    }

    fn usable(&mut self, now: Mono) {
        self.phase = Phase::Usable;
        self.parts.usable = Some(now - self.began);
        self.actions.push_back(Action::Finish);
    }
}
