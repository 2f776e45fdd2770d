//! What the relay did, in numbers.

use super::{TxRequest, TxResponse};

/// Bytes of messages, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxBytes {
    /// `Hello`.
    pub hello: u64,
    /// `Push`.
    pub push: u64,
    /// `Announce`.
    pub announce: u64,
    /// `Fetch`.
    pub fetch: u64,
    /// `Sketch`.
    pub sketch: u64,
    /// `FeeFilter`.
    pub fee_filter: u64,
    /// `Done` and `Refused`.
    pub done: u64,
    /// `Transactions`.
    pub transactions: u64,
    /// `Symbols`.
    pub symbols: u64,
}

impl TxBytes {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each kind by its name in metrics.
    #[must_use]
    pub const fn by_kind(&self) -> [(&'static str, u64); 9] {
        [
            ("hello", self.hello),
            ("push", self.push),
            ("announce", self.announce),
            ("fetch", self.fetch),
            ("sketch", self.sketch),
            ("fee-filter", self.fee_filter),
            ("done", self.done),
            ("transactions", self.transactions),
            ("symbols", self.symbols),
        ]
    }

    pub(super) const fn request(&mut self, request: &TxRequest, bytes: usize) {
        *match request {
            TxRequest::Hello { .. } => &mut self.hello,
            TxRequest::Push(_) => &mut self.push,
            TxRequest::Announce(_) => &mut self.announce,
            TxRequest::Fetch(_) => &mut self.fetch,
            TxRequest::Sketch { .. } => &mut self.sketch,
            TxRequest::FeeFilter(_) => &mut self.fee_filter,
        } += bytes as u64;
    }

    pub(super) const fn response(&mut self, response: &TxResponse, bytes: usize) {
        *match response {
            TxResponse::Done | TxResponse::Refused(_) => &mut self.done,
            TxResponse::Transactions(_) => &mut self.transactions,
            TxResponse::Symbols(_) => &mut self.symbols,
        } += bytes as u64;
    }
}

/// What went by, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// Transactions that arrived, pushed or fetched.
    pub received: u64,
    /// Of those, the ones that were here, in check or refused already.
    pub duplicates: u64,
    /// Transactions pushed, counted for each peer.
    pub pushed: u64,
    /// Transactions announced, counted for each peer.
    pub announced: u64,
    /// Transactions that were not pushed or announced to a peer because its queue was full or requests to it failed.
    pub unsent: u64,
    /// Announcements heard.
    pub heard: u64,
    /// Of those, the ones of transactions that were here, in check or refused already, or announced before.
    pub heard_before: u64,
    /// Transactions asked for.
    pub asked: u64,
    /// Transactions that came because they were asked for.
    pub fetched: u64,
    /// Transactions asked for that did not come.
    pub undelivered: u64,
    /// Transactions of another size than announced.
    pub false_sizes: u64,
    /// Transactions sent because they were asked for.
    pub served: u64,
    /// Sketches that were compared to the end.
    pub sketches_decoded: u64,
    /// Sketches that were not: they would not decode, or nobody sent them.
    pub sketches_failed: u64,
    /// Transactions that only the other had, found by sketches.
    pub found: u64,
    /// Requests answered with a refusal.
    pub requests_refused: u64,
    /// Bytes sent.
    pub bytes_sent: TxBytes,
    /// Bytes received.
    pub bytes_received: TxBytes,
}
