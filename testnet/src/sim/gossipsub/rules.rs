//! The numbers that the model of gossipsub runs on: those that the swarm gives to the library.

use weft_core::{
    gossip::{MeshParameters, ScoreParameters},
    node::Role,
};

/// How often one peer is sent one message that it asks for, as in the library.
pub(super) const RETRANSMISSIONS: u8 = 3;
/// The most IHAVE that are heeded of one peer between heartbeats, as in the library.
pub(super) const MAX_IHAVES: u32 = 10;
/// The most ids that are asked of one peer between heartbeats, as in the library.
pub(super) const MAX_ASKED: usize = 5_000;

/// The defaults of rust-libp2p's gossipsub 0.50, which scores nobody.
#[must_use]
pub const fn library() -> MeshParameters {
    MeshParameters {
        target: 6,
        low: 5,
        high: 12,
        outbound: 2,
        best: 4,
        lazy: 6,
        gossip_factor: 0.25,
        heartbeat_millis: 1_000,
        history: 5,
        history_told: 3,
        seen_millis: 60_000,
        promise_millis: 3_000,
        idontwant_bytes: 1_000,
        flood_publish: true,
        prune_backoff_millis: 60_000,
        leave_backoff_millis: 10_000,
        opportunity_heartbeats: 60,
        opportunity_peers: 2,
    }
}

/// What peers of one role run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) mesh: MeshParameters,
    /// How neighbours are scored, if they are.
    pub(super) scores: Option<ScoreParameters>,
}

/// What the peers of a world run.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    relay: Part,
    native: Part,
    browser: Part,
    /// What scripted peers run, if not what those of their role do.
    scripted: Option<Part>,
}

impl Rules {
    /// Weft's, on a chain with slots of so many milliseconds and so many authorities.
    #[must_use]
    pub fn weft(slot_millis: u64, authorities: usize) -> Self {
        let part = |role| {
            let mesh = MeshParameters::for_role(role);
            let scores = Some(ScoreParameters::derive(slot_millis, authorities, &mesh));
            Part { mesh, scores }
        };
        let [relay, native, browser] = [Role::Relay, Role::Native, Role::Browser].map(part);
        Self { relay, native, browser, scripted: None }
    }

    /// Changes what the peers of every role run.
    pub fn change(&mut self, mut change: impl FnMut(&mut MeshParameters, &mut Option<ScoreParameters>)) {
        for part in [&mut self.relay, &mut self.native, &mut self.browser] {
            change(&mut part.mesh, &mut part.scores);
        }
    }

    /// Gives scripted peers a mesh of their own, in which they score nobody.
    pub fn set_scripted(&mut self, mesh: MeshParameters) {
        self.scripted = Some(Part { mesh, scores: None });
    }

    /// The same for everybody.
    #[must_use]
    pub fn plain(mesh: MeshParameters, scores: Option<ScoreParameters>) -> Self {
        let part = Part { mesh, scores };
        Self { relay: part.clone(), native: part.clone(), browser: part, scripted: None }
    }

    pub(super) const fn of(&self, role: Role, is_scripted: bool) -> &Part {
        if is_scripted && let Some(part) = &self.scripted {
            return part;
        }
        match role {
            Role::Relay => &self.relay,
            Role::Native => &self.native,
            Role::Browser => &self.browser,
        }
    }
}
