//! What every peer speaks, whatever its transports are.
#![expect(missing_docs, reason = "the derive writes the event's variants without")]

use std::time::Duration;

use libp2p::{
    PeerId, StreamProtocol, Swarm, Transport,
    allow_block_list::{self, BlockedPeers},
    core::{muxing::StreamMuxerBox, transport::Boxed},
    identify,
    identity::Keypair,
    ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour},
};

use super::{
    barred::Barred,
    closing::Closing,
    codec::Codec,
    dht::{Kademlia, kademlia},
    direct_only::DirectOnly,
    gossip::{Gossipsub, Meshing, gossipsub},
    limits::Limits,
    meter::Meter,
    pending::Pending,
    places::Places,
    trace::{Tracer, tracer},
    traffic::GossipCounter,
};
use crate::{
    chain::Genesis,
    node::{Protocol, Role, Without},
};

/// How long a request may take, the answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests of one protocol that may be open on one connection, both directions together: what a node has in flight to
/// a peer at most, and as much from it, with room to spare.
const MAX_STREAMS: usize = 64;

/// How long a connection stays open that no protocol uses. Which connections are worth keeping is the node's business;
/// this ends only those that everybody has forgotten.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

pub(super) type Requesting = DirectOnly<request_response::Behaviour<Codec>>;

/// The libp2p behaviours of a peer, with those that only its shell has as `extra`.
#[derive(NetworkBehaviour)]
pub struct Behaviour<X: NetworkBehaviour> {
    // Those that refuse connections come first: the others take for open what none before them has refused.
    pub(super) barred: Barred,
    pub(super) banned: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) pending: Pending,
    places: Places,
    pub(super) meter: Meter,
    /// The shell's own.
    pub extra: X,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) kademlia: Kademlia,
    pub(super) tracer: Tracer,
    pub(super) gossipsub: DirectOnly<Gossipsub, GossipCounter>,
    pub(super) sync: Requesting,
    pub(super) archive: Requesting,
    pub(super) transactions: Requesting,
    pub(super) chat: Requesting,
    pub(super) peers: Requesting,
    pub(super) content: Requesting,
    pub(super) rendezvous: Requesting,
}

impl<X: NetworkBehaviour> Behaviour<X> {
    /// The behaviours of the peer with this key. Without a genesis it speaks only the protocols that need no chain.
    #[must_use]
    pub fn new(key: &Keypair, role: Role, genesis: Option<&Genesis>, extra: X) -> Self {
        Self::with_mesh(key, role, genesis, &Meshing::of(role, Without::default()), extra)
    }

    /// The same, where gossip chooses its neighbours in another way.
    #[must_use]
    pub fn with_mesh(
        key: &Keypair,
        role: Role,
        genesis: Option<&Genesis>,
        meshing: &Meshing,
        extra: X,
    ) -> Self {
        let kind = match role {
            Role::Native => "native",
            Role::Relay => "relay",
            Role::Browser => "browser",
        };
        let agent = format!("weft/{} ({kind})", env!("CARGO_PKG_VERSION"));
        let chain = genesis.map(Genesis::hash);
        let counter = GossipCounter::new(chain.as_ref());
        let requests = |protocol: Protocol| {
            let name =
                protocol.name(chain.as_ref()).and_then(|name| StreamProtocol::try_from_owned(name).ok());
            // Whoever says that it speaks this keeps a place where others register, which relays do.
            let support = match protocol {
                Protocol::Rendezvous if role != Role::Relay => ProtocolSupport::Outbound,
                _ => ProtocolSupport::Full,
            };
            DirectOnly::new(
                role,
                request_response::Behaviour::with_codec(
                    Codec::new(protocol),
                    name.map(|name| (name, support.clone())),
                    request_response::Config::default()
                        .with_request_timeout(REQUEST_TIMEOUT)
                        .with_max_concurrent_streams(MAX_STREAMS),
                ),
                (),
            )
        };
        Self {
            barred: Barred::default(),
            banned: allow_block_list::Behaviour::default(),
            pending: Limits::of(role).pending(),
            places: Limits::of(role).places(),
            meter: Meter::default(),
            extra,
            identify: identify::Behaviour::new(
                identify::Config::new("/weft/1".to_owned(), key.public())
                    .with_agent_version(agent)
                    .with_push_listen_addr_updates(true)
                    // What others say of where they are goes to the node, and is dialled only if that finds it worth it.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::default(),
            kademlia: kademlia((key.public().to_peer_id(), role), chain.as_ref()),
            tracer: tracer(
                role,
                chain.as_ref(),
                request_response::Config::default().with_request_timeout(REQUEST_TIMEOUT),
            ),
            gossipsub: DirectOnly::new(role, gossipsub(key, genesis, meshing, counter.clone()), counter),
            sync: requests(Protocol::Sync),
            archive: requests(Protocol::Archive),
            transactions: requests(Protocol::Transactions),
            chat: requests(Protocol::Chat),
            peers: requests(Protocol::Peers),
            content: requests(Protocol::Content),
            rendezvous: requests(Protocol::Rendezvous),
        }
    }

    pub(super) fn requests(&mut self, protocol: Protocol) -> &mut Requesting {
        match protocol {
            Protocol::Sync => &mut self.sync,
            Protocol::Archive => &mut self.archive,
            Protocol::Transactions => &mut self.transactions,
            Protocol::Chat => &mut self.chat,
            Protocol::Peers => &mut self.peers,
            Protocol::Content => &mut self.content,
            Protocol::Rendezvous => &mut self.rendezvous,
        }
    }
}

/// A swarm over the shell's transport. `config` brings the shell's executor; what all peers have in common is set here.
#[must_use]
pub fn swarm<X: NetworkBehaviour>(
    transport: Boxed<(PeerId, StreamMuxerBox)>,
    behaviour: Behaviour<X>,
    local: PeerId,
    config: swarm::Config,
) -> Swarm<Behaviour<X>> {
    let metering = behaviour.meter.metering();
    let transport = transport
        .map(move |(peer, muxer), endpoint| {
            let muxer = Closing::new(metering.metered(peer, endpoint, muxer));
            (peer, StreamMuxerBox::new(muxer))
        })
        .boxed();
    Swarm::new(transport, behaviour, local, config.with_idle_connection_timeout(IDLE_TIMEOUT))
}
