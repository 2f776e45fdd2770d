//! libp2p's Kademlia as the node knows it: lookups by the node's names, and the table as a person sees it.

use std::{collections::BTreeSet, time::Duration};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    kad::{
        self, AddProviderError, BootstrapError, GetClosestPeersError, GetProvidersOk, InboundRequest, Mode,
        QueryId, QueryResult, RecordKey, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig},
    },
    swarm::behaviour::toggle::Toggle,
};

use super::{
    direct_only::DirectOnly,
    providers::{LAPSE_MILLIS, MAX_STRANGERS, Strangers},
};
use crate::{
    node::{BucketView, DhtAnswer, DhtFailure, DhtId, DhtQuery, Refused, dht_protocol},
    peers::Role,
    primitives::{Hash, Mono},
};

/// The most keys for which we are a provider ourselves.
const MAX_OWN: usize = 512;
/// The most providers of one key that are remembered.
pub(super) const MAX_PROVIDERS: usize = 20;
/// How often our own are told again.
const RENEWAL: Duration = Duration::from_secs(12 * 60 * 60);
/// The most bytes of a message: some hundred addresses.
const MAX_MESSAGE: usize = 16 << 10;

pub(super) type Kademlia = DirectOnly<Toggle<kad::Behaviour<MemoryStore>>>;

/// Kademlia on the chain with this genesis; without one there is none. It only asks until it is told to serve.
pub(super) fn kademlia((local, role): (PeerId, Role), genesis: Option<&Hash>) -> Kademlia {
    let behaviour = genesis.map(|genesis| {
        let mut behaviour = kad::Behaviour::with_config(local, memory_store(local), config(genesis));
        behaviour.set_mode(Some(Mode::Client));
        behaviour
    });
    DirectOnly::new(role, Toggle::from(behaviour), ())
}

fn config(genesis: &Hash) -> kad::Config {
    let name = StreamProtocol::try_from_owned(dht_protocol(genesis)).expect("it begins with a slash");
    let mut config = kad::Config::new(name);
    config
        .disjoint_query_paths(true)
        // Values are stored for nobody, and providers only by the rules in `handled`.
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_max_packet_size(MAX_MESSAGE)
        .set_provider_record_ttl(Some(Duration::from_millis(LAPSE_MILLIS)))
        .set_provider_publication_interval(Some(RENEWAL))
        // The node says when.
        .set_periodic_bootstrap_interval(None);
    config
}

/// Where provider records are held.
pub(super) fn memory_store(local: PeerId) -> MemoryStore {
    let config = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: MAX_PROVIDERS,
        max_provided_keys: MAX_STRANGERS + MAX_OWN,
    };
    MemoryStore::with_config(local, config)
}

/// What a key is in the table: the multihash of a BLAKE3 hash (code 0x1e, 32 bytes).
pub(super) fn record_key(key: &Hash) -> RecordKey {
    RecordKey::from([&[0x1e, 0x20], key.0.as_slice()].concat())
}

/// Lookups under way.
#[derive(Default)]
pub(super) struct Lookups(Vec<Lookup>);

struct Lookup {
    name: QueryId,
    id: DhtId,
    query: DhtQuery,
    providers: BTreeSet<PeerId>,
}

impl Lookups {
    /// Begins a lookup; answers at once when there is nothing to wait for.
    pub(super) fn begin(
        &mut self,
        kademlia: &mut Kademlia,
        id: DhtId,
        query: DhtQuery,
    ) -> Option<Result<DhtAnswer, DhtFailure>> {
        let Some(kademlia) = kademlia.as_mut() else { return Some(Err(DhtFailure::Off)) };
        let begun = match query {
            DhtQuery::Refresh => kademlia.bootstrap().map_err(|_| DhtFailure::Alone),
            // Not Kademlia's: `trace` does it.
            DhtQuery::Trace(_) => return None,
            DhtQuery::Withdraw(key) => {
                kademlia.stop_providing(&record_key(&key));
                return Some(Ok(DhtAnswer::Done));
            }
            _ if kademlia.kbuckets().next().is_none() => Err(DhtFailure::Alone),
            DhtQuery::FindPeer(peer) => Ok(kademlia.get_closest_peers(peer)),
            DhtQuery::Provide(key) => {
                kademlia.start_providing(record_key(&key)).map_err(|_| DhtFailure::Full)
            }
            DhtQuery::Providers(key) => Ok(kademlia.get_providers(record_key(&key))),
        };
        match begun {
            Ok(begun) => {
                self.0.push(Lookup { name: begun, id, query, providers: BTreeSet::new() });
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Takes in what came of a lookup so far; answers when it has ended.
    pub(super) fn went_on(
        &mut self,
        id: QueryId,
        result: QueryResult,
        last: bool,
    ) -> Option<(DhtId, Result<DhtAnswer, DhtFailure>)> {
        let at = self.0.iter().position(|lookup| lookup.name == id)?;
        let lookup = &mut self.0[at];
        let outcome = match result {
            QueryResult::Bootstrap(Ok(_)) => Ok(DhtAnswer::Done),
            QueryResult::Bootstrap(Err(BootstrapError::Timeout { .. })) => Err(DhtFailure::Timeout),
            QueryResult::GetClosestPeers(outcome) => {
                let peers = match outcome {
                    Ok(found) => found.peers,
                    Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let DhtQuery::FindPeer(wanted) = lookup.query else { return None };
                let found = peers.into_iter().find(|found| found.peer_id == wanted);
                Ok(DhtAnswer::At(found.map(|found| found.addrs).unwrap_or_default()))
            }
            QueryResult::StartProviding(Ok(_)) => Ok(DhtAnswer::Done),
            QueryResult::StartProviding(Err(AddProviderError::Timeout { .. })) => Err(DhtFailure::Timeout),
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                let room = MAX_PROVIDERS.saturating_sub(lookup.providers.len());
                lookup.providers.extend(providers.into_iter().take(room));
                Ok(DhtAnswer::Providers(lookup.providers.iter().copied().collect()))
            }
            QueryResult::GetProviders(_) => {
                Ok(DhtAnswer::Providers(lookup.providers.iter().copied().collect()))
            }
            // Not asked for by the node.
            _ => return None,
        };
        if !last {
            return None;
        }
        Some((self.0.swap_remove(at).id, outcome))
    }
}

/// Another peer asked or told something, and libp2p has answered; what is to be stored is up to us. Returns who told something, and what of
/// it is refused.
pub(super) fn handled(
    kademlia: &mut Kademlia,
    strangers: &mut Strangers,
    request: InboundRequest,
    now: Mono,
) -> Option<(PeerId, Option<Refused>)> {
    match request {
        InboundRequest::AddProvider { record: Some(record) } => {
            // libp2p passes on only what providers say of themselves.
            let provider = record.provider;
            let held = kademlia.as_mut().map(|kademlia| {
                let bucket = kademlia.kbucket(provider);
                let in_table =
                    bucket.is_some_and(|bucket| bucket.iter().any(|it| *it.node.key.preimage() == provider));
                strangers.add(kademlia.store_mut(), record, in_table, now)
            });
            let refused = held.and_then(Result::err).map(|refusal| {
                tracing::debug!(%provider, %refusal, "a provider is not remembered");
                Refused::DhtRecord
            });
            Some((provider, refused))
        }
        InboundRequest::PutRecord { source, .. } => {
            tracing::debug!(%source, "a value is not stored: nobody's are");
            Some((source, Some(Refused::DhtValue)))
        }
        _ => None,
    }
}

/// Everybody in the table, and where.
pub(super) fn everybody(kademlia: &mut Kademlia) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let Some(kademlia) = kademlia.as_mut() else { return Vec::new() };
    let of_bucket = |bucket: kad::KBucketRef<'_, kad::KBucketKey<PeerId>, kad::Addresses>| {
        let entry = |entry: kad::EntryView<kad::KBucketKey<PeerId>, kad::Addresses>| {
            (*entry.node.key.preimage(), entry.node.value.iter().cloned().collect())
        };
        bucket.iter().map(|reference| entry(reference.to_owned())).collect::<Vec<_>>()
    };
    kademlia.kbuckets().flat_map(of_bucket).collect()
}

/// The table, nearest bucket first.
pub(super) fn table(kademlia: &mut Kademlia) -> Vec<BucketView> {
    let Some(kademlia) = kademlia.as_mut() else { return Vec::new() };
    let view = |bucket: kad::KBucketRef<'_, kad::KBucketKey<PeerId>, kad::Addresses>| BucketView {
        // The distance of a bucket is a number of so many bits.
        distance_bits: bucket.range().1.ilog2().unwrap_or_default() + 1,
        peers: bucket.iter().map(|entry| entry.node.key.preimage().to_string()).collect(),
    };
    kademlia.kbuckets().map(view).collect()
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod churn;
