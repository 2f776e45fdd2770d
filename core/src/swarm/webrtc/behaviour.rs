//! Opens signalling streams, and takes those that others open: on relayed connections, and on no others.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    task::{Context, Poll},
};

use either::Either;
use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, Stream, StreamUpgradeError, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use super::super::direct_only::{is_circuit, is_relayed};
use super::Refusals;
use crate::{node::Refused, signalling::PROTOCOL};

/// Streams that others have opened on one connection and nobody has looked at.
const MAX_OPENED: usize = 2;

/// Where a stream that was asked for is handed over, or why there is none.
type Reply = oneshot::Sender<Result<Stream, String>>;

/// The transport wants a signalling stream to a peer.
pub(super) struct Ask {
    pub(super) peer: PeerId,
    pub(super) reply: Reply,
}

/// The part of `/webrtc` that is a behaviour. It tells what was refused.
pub struct Behaviour {
    asks: mpsc::Receiver<Ask>,
    opened: mpsc::Sender<(PeerId, Stream)>,
    relayed: BTreeMap<PeerId, Vec<ConnectionId>>,
    notices: VecDeque<(PeerId, ConnectionId, Open)>,
    refusals: Refusals,
    refused: mpsc::Receiver<Refused>,
}

impl Behaviour {
    pub(super) fn new(
        asks: mpsc::Receiver<Ask>,
        opened: mpsc::Sender<(PeerId, Stream)>,
        (refusals, refused): (Refusals, mpsc::Receiver<Refused>),
    ) -> Self {
        Self { asks, opened, relayed: BTreeMap::new(), notices: VecDeque::new(), refusals, refused }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Either<Handler, dummy::ConnectionHandler>;
    type ToSwarm = Refused;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(handler(local))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(handler(address))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) if is_relayed(event.endpoint) => {
                self.relayed.entry(event.peer_id).or_default().push(event.connection_id);
            }
            FromSwarm::ConnectionClosed(event) => {
                if let Some(open) = self.relayed.get_mut(&event.peer_id) {
                    open.retain(|id| *id != event.connection_id);
                    if open.is_empty() {
                        self.relayed.remove(&event.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            // One too many is dropped, and so reset.
            Either::Left(Opened(stream)) => {
                if self.opened.try_send((peer, stream)).is_err() {
                    tracing::debug!(%peer, "refused: too many peers want a direct connection");
                    self.refusals.tell(Refused::SignallingTooMany);
                }
            }
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(Ask { peer, reply })) = self.asks.poll_next_unpin(cx) {
            match self.relayed.get(&peer).and_then(|open| open.last()) {
                Some(id) => self.notices.push_back((peer, *id, Open(reply))),
                // Fails when nobody waits any more.
                None => drop(reply.send(Err("there is no relayed connection to the peer".to_owned()))),
            }
        }
        if let Poll::Ready(Some(refused)) = self.refused.poll_next_unpin(cx) {
            return Poll::Ready(ToSwarm::GenerateEvent(refused));
        }
        match self.notices.pop_front() {
            Some((peer_id, id, open)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event: Either::Left(open),
            }),
            None => Poll::Pending,
        }
    }
}

fn handler(address: &Multiaddr) -> Either<Handler, dummy::ConnectionHandler> {
    if is_circuit(address) {
        Either::Left(Handler::default())
    } else {
        Either::Right(dummy::ConnectionHandler)
    }
}

/// Open a stream.
pub struct Open(Reply);

/// The other side has opened a stream.
pub struct Opened(Stream);

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// The behaviour's part on one relayed connection.
#[derive(Default)]
pub struct Handler {
    to_open: VecDeque<Reply>,
    opened: VecDeque<Stream>,
}

fn protocol() -> ReadyUpgrade<StreamProtocol> {
    ReadyUpgrade::new(StreamProtocol::new(PROTOCOL))
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Opened;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        SubstreamProtocol::new(protocol(), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Reply, Opened>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Opened(stream)));
        }
        match self.to_open.pop_front() {
            Some(reply) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(protocol(), reply),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, Open(reply): Open) {
        self.to_open.push_back(reply);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.opened.len() < MAX_OPENED =>
            {
                self.opened.push_back(stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                // Fails when the dial was given up.
                drop(info.send(Ok(stream)));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let reason = match error.error {
                    StreamUpgradeError::NegotiationFailed => {
                        "the other side does not take direct connections by WebRTC".to_owned()
                    }
                    other => other.to_string(),
                };
                drop(error.info.send(Err(reason)));
            }
            _ => {}
        }
    }
}
