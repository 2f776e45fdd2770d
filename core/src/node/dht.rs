//! The distributed hash table (Kademlia, Maymounkov and Mazières 2002), of which the shell has the machinery: who is in it, what is asked
//! of it, and what becomes of the answers.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};

use super::{CommandError, CommandId, Output, Reply, TraceView, effects::Effects};
use crate::{
    peers::{Role, Scope, can_dial, is_believable},
    primitives::{Hash, Held, Mono},
};

/// How long after the first other server is known the table is filled, and how often it is refreshed.
const FIRST_REFRESH_MILLIS: u64 = 1_000;
const REFRESH_MILLIS: u64 = 5 * 60 * 1000;
/// The most addresses of a peer that go into the table.
const MAX_ADDRESSES: usize = 8;
/// The most lookups at once.
const MAX_LOOKUPS: usize = 64;

/// A lookup, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhtId(pub u64);

/// What can be asked of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhtQuery {
    /// Fill the table: look for ourselves, and in each distance.
    Refresh,
    /// Where is this peer?
    FindPeer(PeerId),
    /// Tell those nearest to this key that we have what it names, and go on telling them.
    Provide(Hash),
    /// Tell it no longer. Those who know it forget it in time.
    Withdraw(Hash),
    /// Who has what this key names?
    Providers(Hash),
    /// How does one get to those nearest to this, step by step?
    Trace(DhtTarget),
}

/// What can be looked for in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhtTarget {
    /// A peer.
    Peer(PeerId),
    /// What this key names.
    Key(Hash),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhtAnswer {
    /// It is done.
    Done,
    /// Where the peer is, as others say; nowhere if nobody knows.
    At(Vec<Multiaddr>),
    /// Who has it.
    Providers(Vec<PeerId>),
    /// The lookup, step by step.
    Trace(Box<TraceView>),
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DhtFailure {
    /// This peer takes no part.
    #[error("this peer takes no part in the distributed hash table")]
    Off,
    /// It knows nobody who does.
    #[error("this peer knows nobody in the distributed hash table yet; try again in a moment")]
    Alone,
    /// Nobody answered in time.
    #[error("the distributed hash table did not answer in time; try again")]
    Timeout,
    /// There is no room for more of our own keys.
    #[error("this peer provides as much as it may")]
    Full,
}

enum Waiting {
    Refresh,
    Command(CommandId),
    /// Somebody has to hear that we have this.
    Offer(Hash),
    /// Nothing: it is only to be done.
    Nothing,
    /// Who has this?
    Providers(Hash),
    /// Where is this peer?
    Addresses(PeerId),
}

/// What an answer is to the node's other parts.
#[derive(Debug)]
pub(super) enum Told {
    /// That we have this was heard, or by nobody.
    Offered(Hash, bool),
    /// These have it.
    Providers(Hash, Vec<PeerId>),
    /// The peer is there.
    Addresses(PeerId, Vec<Multiaddr>),
}

pub(super) struct Dht {
    local: PeerId,
    role: Role,
    on: bool,
    serving: bool,
    refresh: Option<Mono>,
    waiting: BTreeMap<DhtId, Waiting>,
    /// The lookup that is watched.
    traced: Option<DhtId>,
    next: u64,
}

impl Dht {
    /// Of lookups for which somebody waits. What is only told to the table is as much as this peer offers.
    pub(super) fn held(&self) -> Held {
        let awaited = |waiting: &&Waiting| !matches!(waiting, Waiting::Nothing | Waiting::Refresh);
        let count = self.waiting.values().filter(awaited).count();
        Held::new("lookups under way", count, MAX_LOOKUPS)
    }

    pub(super) const fn new((local, role): (PeerId, Role), on: bool) -> Self {
        Self {
            local,
            role,
            on,
            serving: false,
            refresh: None,
            waiting: BTreeMap::new(),
            traced: None,
            next: 0,
        }
    }

    /// The addresses at which others reach us have changed. Who can be dialled answers others' questions; a tab never is, so it
    /// only asks. libp2p would turn a peer into a server for a mere slot on a relay.
    pub(super) fn reachable(&mut self, fx: &mut Effects, addresses: &[Multiaddr]) {
        let native = self.role != Role::Browser;
        let serve = self.on && native && addresses.iter().any(|address| can_dial(self.role, address));
        if serve != self.serving {
            self.serving = serve;
            fx.push(Output::ServeDht(serve));
        }
    }

    /// A peer that answers questions is connected, and says that it is at these addresses.
    pub(super) fn met(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        reached_at: &Multiaddr,
        outbound: bool,
        said: &[Multiaddr],
    ) {
        if !self.on || peer == self.local {
            return;
        }
        let scope = Scope::of(reached_at).unwrap_or(Scope::World);
        let proven = outbound.then_some(reached_at);
        let believed = said.iter().filter(|address| is_believable(self.role, address, scope));
        let mut is_routable = false;
        for address in proven.into_iter().chain(believed).take(MAX_ADDRESSES) {
            if can_dial(self.role, address) {
                fx.push(Output::Routable { peer, address: address.clone() });
                self.refresh.get_or_insert(fx.now.mono + FIRST_REFRESH_MILLIS);
                is_routable = true;
            }
        }
        // Most peers say some addresses that nobody else can use, so only a peer without any other counts.
        if !is_routable && !said.is_empty() {
            fx.refuse("address-without-use");
        }
    }

    /// Asks the table what a person wants to know.
    pub(super) fn command(&mut self, fx: &mut Effects, command: CommandId, query: DhtQuery) {
        if !self.on {
            fx.reply(command, Err(CommandError::Dht(DhtFailure::Off)));
        } else if self.waiting.len() >= MAX_LOOKUPS {
            fx.reply(command, Err(CommandError::Busy));
        } else if let DhtQuery::Trace(_) = query {
            // One at a time: each asks many.
            if self.traced.is_some() {
                fx.reply(command, Err(CommandError::Busy));
                return;
            }
            self.ask(fx, query, Waiting::Command(command));
            self.traced = Some(DhtId(self.next));
        } else {
            self.ask(fx, query, Waiting::Command(command));
        }
    }

    /// Whether this peer takes part.
    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether the table can be asked, and is not asked too much already.
    pub(super) fn has_room(&self) -> bool {
        self.on && self.waiting.len() < MAX_LOOKUPS
    }

    /// Tells those near to the key that we have what it names.
    pub(super) fn offer(&mut self, fx: &mut Effects, key: Hash) {
        self.ask(fx, DhtQuery::Provide(key), Waiting::Offer(key));
    }

    /// Asks who has what a key names.
    pub(super) fn look(&mut self, fx: &mut Effects, key: Hash) {
        self.ask(fx, DhtQuery::Providers(key), Waiting::Providers(key));
    }

    /// Asks where a peer is.
    pub(super) fn reach(&mut self, fx: &mut Effects, peer: PeerId) {
        self.ask(fx, DhtQuery::FindPeer(peer), Waiting::Addresses(peer));
    }

    /// Has something done of which nobody needs to hear.
    pub(super) fn say(&mut self, fx: &mut Effects, query: DhtQuery) {
        if self.on {
            self.ask(fx, query, Waiting::Nothing);
        }
    }

    fn ask(&mut self, fx: &mut Effects, query: DhtQuery, waiting: Waiting) {
        self.next += 1;
        self.waiting.insert(DhtId(self.next), waiting);
        fx.push(Output::Dht(DhtId(self.next), query));
    }

    /// A lookup has ended.
    pub(super) fn answered(
        &mut self,
        fx: &mut Effects,
        id: DhtId,
        outcome: Result<DhtAnswer, DhtFailure>,
    ) -> Option<Told> {
        self.traced.take_if(|traced| *traced == id);
        match (self.waiting.remove(&id)?, outcome) {
            (Waiting::Refresh, Err(failure)) => tracing::debug!(%failure, "the table was not refreshed"),
            (Waiting::Refresh, Ok(_)) | (Waiting::Nothing, _) => {}
            (Waiting::Offer(key), outcome) => return Some(Told::Offered(key, outcome.is_ok())),
            (Waiting::Providers(key), Ok(DhtAnswer::Providers(peers))) => {
                return Some(Told::Providers(key, peers));
            }
            (Waiting::Addresses(peer), Ok(DhtAnswer::At(addresses))) => {
                return Some(Told::Addresses(peer, addresses));
            }
            (Waiting::Providers(_) | Waiting::Addresses(_), _) => {}
            (Waiting::Command(command), outcome) => {
                let reply = outcome.map_err(CommandError::Dht).map(|answer| match answer {
                    DhtAnswer::Done => Reply::Done,
                    DhtAnswer::At(addresses) => {
                        Reply::Addresses(addresses.iter().map(ToString::to_string).collect())
                    }
                    DhtAnswer::Providers(peers) => {
                        Reply::Providers(peers.iter().map(ToString::to_string).collect())
                    }
                    DhtAnswer::Trace(view) => Reply::Trace(view),
                });
                fx.reply(command, reply);
            }
        }
        None
    }

    pub(super) const fn next_due(&self) -> Option<Mono> {
        self.refresh
    }

    pub(super) fn tick(&mut self, fx: &mut Effects) {
        if self.refresh.is_some_and(|at| at <= fx.now.mono) {
            self.refresh = Some(fx.now.mono + REFRESH_MILLIS);
            self.ask(fx, DhtQuery::Refresh, Waiting::Refresh);
        }
    }
}
