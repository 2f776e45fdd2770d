//! What a test asks of peers, as a person would.

use std::fmt::Write;

use weft_core::{
    chain::Transaction,
    gossip::RelayCounts,
    node::{
        AccountView, ChainView, Command, CommandError, CommandId, Input, Node, Reply, StatusView, SyncPhase,
    },
    primitives::{Address, Hash, Height},
};

use super::{
    peer::{Actor, PeerIx, Seen},
    scripts::Scripts,
    world::World,
};

/// How long a command may take, in milliseconds.
const PATIENCE: u64 = 60_000;

impl<S: Scripts> World<S> {
    /// Hands a command to a peer without waiting for the reply.
    pub fn send_command(&mut self, ix: PeerIx, command: Command) -> CommandId {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.deliver(ix, Input::Command(id, command));
        id
    }

    /// The reply to a command, once it is there.
    pub fn take_reply(&mut self, id: CommandId) -> Option<Result<Reply, CommandError>> {
        self.replies.remove(&id)
    }

    /// Hands a command to a peer and runs the world until it replies.
    ///
    /// # Errors
    /// When the peer refuses the command.
    ///
    /// # Panics
    /// When there is no reply within a minute.
    pub fn command(&mut self, ix: PeerIx, command: Command) -> Result<Reply, CommandError> {
        let what = format!("{command:?}");
        let id = self.send_command(ix, command);
        let limit = self.now + PATIENCE * 1000;
        loop {
            if let Some(reply) = self.take_reply(id) {
                return reply;
            }
            assert!(self.step(limit), "{ix:?} never replied to {what}");
        }
    }

    /// What a peer's transaction relay did in this life; nothing of a peer that is none, or down.
    #[must_use]
    pub fn relay_counts(&self, ix: PeerIx) -> RelayCounts {
        match &self.peers[ix.0].actor {
            Actor::Node(node) => node.relay_counts().unwrap_or_default(),
            Actor::Scripted | Actor::Down => RelayCounts::default(),
        }
    }

    /// How a peer is doing.
    ///
    /// # Panics
    /// When it does not say.
    pub fn status(&mut self, ix: PeerIx) -> StatusView {
        match self.command(ix, Command::Status) {
            Ok(Reply::Status(status)) => *status,
            other => panic!("{ix:?} answered {other:?} when asked for its status"),
        }
    }

    /// The chain as a peer sees it.
    ///
    /// # Panics
    /// When it follows none.
    pub fn chain(&mut self, ix: PeerIx) -> ChainView {
        self.status(ix).chain.unwrap_or_else(|| panic!("{ix:?} follows no chain"))
    }

    /// An account as a peer sees it.
    ///
    /// # Panics
    /// When it does not say.
    pub fn account(&mut self, ix: PeerIx, address: Address) -> AccountView {
        match self.command(ix, Command::Account(address)) {
            Ok(Reply::Account(account)) => account,
            other => panic!("{ix:?} answered {other:?} when asked for an account"),
        }
    }

    /// Submits a transaction at a peer.
    ///
    /// # Errors
    /// When the peer refuses it.
    ///
    /// # Panics
    /// When it answers something else.
    pub fn submit(&mut self, ix: PeerIx, transaction: Transaction) -> Result<Hash, CommandError> {
        match self.command(ix, Command::Submit(transaction))? {
            Reply::Submitted(id) => Ok(id),
            other => panic!("{ix:?} answered {other:?} to a transaction"),
        }
    }

    /// A peer's node, if it is a real one and up.
    #[must_use]
    pub fn node(&self, ix: PeerIx) -> Option<&Node> {
        match &self.peers[ix.0].actor {
            Actor::Node(node) => Some(node),
            Actor::Scripted | Actor::Down => None,
        }
    }

    /// What a peer told and what happened to it.
    #[must_use]
    pub fn seen(&self, ix: PeerIx) -> &Seen {
        &self.peers[ix.0].seen
    }

    /// Whether these peers follow the chain with one head, at `height` or above.
    pub fn have_converged(&mut self, peers: &[PeerIx], height: u64) -> bool {
        let mut first = None;
        peers.iter().all(|&ix| {
            let chain = self.chain(ix);
            let same = *first.get_or_insert((chain.head, chain.state_root)) == (chain.head, chain.state_root);
            same && chain.height >= Height(height) && chain.sync.phase == SyncPhase::Following
        })
    }

    /// Where everyone is, a line each.
    pub fn summary(&mut self) -> String {
        let mut text = format!("seed {}, after {} ms\n", self.seed, self.now / 1000);
        for ix in self.nodes().collect::<Vec<_>>() {
            let status = self.status(ix);
            let peers = status.peers;
            let _ = match status.chain {
                Some(chain) => writeln!(
                    text,
                    "  {:>3}: {peers} peers, height {} {:?}, slot {}, {:?} {}/{}, pool {}+{}, alarms {:?}",
                    ix.0,
                    chain.height,
                    chain.head,
                    chain.slot,
                    chain.sync.phase,
                    chain.sync.done,
                    chain.sync.total,
                    chain.pending,
                    chain.queued,
                    status.alarms
                ),
                None => writeln!(text, "  {:>3}: {peers} peers, no chain", ix.0),
            };
        }
        text
    }
}
