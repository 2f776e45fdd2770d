//! Signed lists of peers, had through the shell from wherever a person says: those in them go into the address book, and some are dialled.

use libp2p::PeerId;
use rand_core::Rng;

use super::{Output, connections::Connections, effects::Effects, finding::Finding};
use crate::{
    peers::{Believed, Found, ListSource, ListSources, NodeListError, Role, can_dial},
    primitives::{Hash, Mono, Wall},
    store::{Batch, Table},
};

/// When the newest list was signed that was seen of a signer: 8 bytes, little-endian, by the signer's peer id.
const NEWEST: Table = Table("peers/lists");

/// How many of the peers in a list are dialled when none of them is connected, and how often each.
const DIALLED: usize = 4;
const TRIES: u32 = 2;

/// What is said while no list can be used.
const NONE_USABLE: &str = "no list of peers can be used";

/// Where signed lists of peers can be had, and whose are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLists {
    /// The places.
    pub sources: Vec<ListSource>,
    /// Who is believed beside those that are named with the places, and those that are named to begin with.
    pub signers: Vec<PeerId>,
}

pub(super) struct Lists {
    role: Role,
    chain: Hash,
    sources: ListSources,
    /// When the last list that was believed expires.
    served_until: Wall,
}

impl Lists {
    /// Fetches from the places in `lists`, unless there is no chain that a list could be for.
    pub(super) fn new(
        role: Role,
        chain: Option<Hash>,
        lists: &NodeLists,
        known: &[PeerId],
        fx: &mut Effects,
    ) -> Self {
        let signers: Vec<_> = lists.signers.iter().chain(known).copied().collect();
        let mut sources = ListSources::new(&lists.sources, &signers, fx.now.mono);
        if chain.is_none() && !sources.is_empty() {
            fx.raise(format!("{NONE_USABLE}: a list is for one chain, and this peer follows none"));
            sources = ListSources::default();
        }
        let rows: Vec<_> =
            sources.signers().map(|signer| (*signer, fx.store.get(NEWEST, &signer.to_bytes()))).collect();
        for (signer, row) in rows {
            if let Some(issued) = row.and_then(|bytes| bytes.try_into().ok()) {
                sources.seen(signer, Wall(u64::from_le_bytes(issued)));
            }
        }
        Self { role, chain: chain.unwrap_or(Hash::ZERO), sources, served_until: Wall(0) }
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.sources.next_due()
    }

    pub(super) fn tick(&mut self, fx: &mut Effects) {
        for url in self.sources.due(fx.now.mono) {
            fx.push(Output::FetchList(url));
        }
    }

    /// Nobody is connected any more: whom lists name now may be somebody else.
    pub(super) fn alone(&mut self, fx: &Effects) {
        self.sources.hurry(fx.now.mono);
    }

    /// A place gave something, or says why not.
    pub(super) fn fetched(
        &mut self,
        fx: &mut Effects,
        connections: &mut Connections,
        finding: &mut Finding,
        url: &str,
        outcome: Result<Vec<u8>, String>,
    ) {
        let problem = format!("the list of peers at {url} is");
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(reason) => return self.is_of_no_use(fx, &problem, &format!("not to be had ({reason})")),
        };
        match self.sources.judge(url, &bytes, &self.chain, fx.now) {
            Ok(believed) => {
                fx.lower(&problem);
                self.believe(fx, connections, finding, believed);
            }
            Err(error) => {
                fx.refuse(error.name());
                tracing::warn!(url, %error, "a list of peers is refused");
                // A mirror that lags behind is none to worry about while another place has a newer list.
                if error.is_forgery() {
                    say(fx, &problem, format!("{problem} refused: {error}"));
                } else {
                    fx.lower(&problem);
                    self.is_of_no_use(fx, &problem, &format!("refused: {error}"));
                }
            }
        }
    }

    fn is_of_no_use(&self, fx: &mut Effects, problem: &str, why: &str) {
        if fx.now.wall >= self.served_until {
            let problem = format!("{NONE_USABLE}: {problem}");
            say(fx, &problem, format!("{problem} {why}; still trying"));
        }
    }

    fn believe(
        &mut self,
        fx: &mut Effects,
        connections: &mut Connections,
        finding: &mut Finding,
        list: Believed,
    ) {
        self.served_until = list.expires.max(self.served_until);
        fx.lower(NONE_USABLE);
        let mut batch = Batch::default();
        batch.put(NEWEST, list.signer.to_bytes(), list.issued.0.to_le_bytes());
        fx.apply(batch);
        let addresses = list
            .peers
            .into_iter()
            .flat_map(|(peer, addresses)| addresses.into_iter().map(move |address| (peer, address)));
        let mut found: Vec<_> = addresses.filter(|(_, address)| can_dial(self.role, address)).collect();
        for (peer, address) in &found {
            finding.discovered(fx, *peer, address, Found::NodeList);
        }
        if found.iter().any(|(peer, _)| connections.direct_address(peer).is_some()) {
            return;
        }
        // Not the first ones, which all would dial.
        for end in (1..found.len()).rev() {
            let other = fx.rng.next_u64() % (end as u64 + 1);
            found.swap(end, usize::try_from(other).expect("an index before `end`, which is one"));
        }
        for (peer, address) in found.into_iter().take(DIALLED) {
            connections.found(fx, peer, address, TRIES);
        }
    }
}

/// Tells the person, in place of what was told before under these first words.
fn say(fx: &mut Effects, first: &str, alarm: String) {
    if !fx.alarms().contains(&alarm) {
        fx.lower(first);
        fx.raise(alarm);
    }
}

impl NodeListError {
    /// Whether somebody passes off as a list what nobody who is known has signed.
    const fn is_forgery(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::OtherChain(_) | Self::Signature | Self::Stranger(_))
    }
}
