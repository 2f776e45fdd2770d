//! Bare libp2p swarms that hand over as many bytes as they are asked for, over TCP with noise and yamux, directly or through a relay: what
//! benchmarks compare with, and load relays with.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport,
    core::upgrade::Version,
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay,
    request_response::{self, Message, OutboundRequestId, ProtocolSupport},
    swarm::{self, NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::sync::{mpsc, oneshot};

/// What has not come in so long does not come.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much is written and read at once.
const PIECE: usize = 64 << 10;

/// A request is how many bytes are wanted, and the response is those.
#[derive(Clone, Default)]
struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = u64;
    /// Their number: nobody keeps them.
    type Response = u64;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<u64>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut count = [0; 8];
        io.read_exact(&mut count).await?;
        Ok(u64::from_be_bytes(count))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<u64>
    where
        T: AsyncRead + Unpin + Send,
    {
        let (mut piece, mut count) = (vec![0; PIECE], 0);
        loop {
            match io.read(&mut piece).await? {
                0 => return Ok(count),
                read => count += read as u64,
            }
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: u64) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request.to_be_bytes()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: u64) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let piece = vec![7; PIECE];
        let mut left = response as usize;
        while left > 0 {
            let count = left.min(PIECE);
            io.write_all(&piece[..count]).await?;
            left -= count;
        }
        Ok(())
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    bytes: request_response::Behaviour<Codec>,
}

enum Ask {
    Listen(Multiaddr, oneshot::Sender<Multiaddr>),
    Bytes { from: Multiaddr, count: u64, done: oneshot::Sender<()> },
}

/// A swarm that runs until this is dropped.
pub(crate) struct Bare {
    pub(crate) id: PeerId,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Bare {
    /// Starts one that listens nowhere.
    pub(crate) fn start() -> Self {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let (relayed, relay) = relay::client::new(id);
        let transport = relayed
            .or_transport(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)))
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let config = request_response::Config::default().with_request_timeout(PATIENCE);
        let protocol = [(StreamProtocol::new("/weft-bench/bytes/1"), ProtocolSupport::Full)];
        let behaviour =
            Behaviour { relay, bytes: request_response::Behaviour::with_codec(Codec, protocol, config) };
        let idle = swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE);
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(run(Swarm::new(transport, behaviour, id, idle), asked));
        Self { id, asks }
    }

    /// Listens; through a relay once it has a slot there. Answers with the first address where others dial it.
    pub(crate) async fn listen(&self, address: Multiaddr) -> Multiaddr {
        let (done, listening) = oneshot::channel();
        assert!(self.asks.send(Ask::Listen(address, done)).is_ok());
        listening.await.unwrap().with_p2p(self.id).unwrap()
    }

    /// Gets so many bytes from whoever listens there, over the connection there is or a new one.
    pub(crate) async fn get(&self, from: Multiaddr, count: u64) {
        let (done, all_here) = oneshot::channel();
        assert!(self.asks.send(Ask::Bytes { from, count, done }).is_ok());
        all_here.await.unwrap();
    }
}

async fn run(mut swarm: Swarm<Behaviour>, mut asks: mpsc::UnboundedReceiver<Ask>) {
    let mut listening = Vec::new();
    let mut wanted: Vec<(OutboundRequestId, u64, oneshot::Sender<()>)> = Vec::new();
    loop {
        let event = tokio::select! {
            ask = asks.recv() => {
                match ask {
                    None => return,
                    Some(Ask::Listen(address, done)) => {
                        swarm.listen_on(address).unwrap();
                        listening.push(done);
                    }
                    Some(Ask::Bytes { from, count, done }) => {
                        let Some(Protocol::P2p(peer)) = from.iter().last() else { panic!("{from} names nobody") };
                        let bytes = &mut swarm.behaviour_mut().bytes;
                        wanted.push((bytes.send_request_with_addresses(&peer, count, vec![from]), count, done));
                    }
                }
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        match event {
            // Through a relay, only once it has given the slot.
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(done) = listening.pop() {
                    let _ = done.send(address);
                }
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => panic!("it listens no longer: {error}"),
            SwarmEvent::Behaviour(BehaviourEvent::Bytes(request_response::Event::Message {
                message,
                ..
            })) => match message {
                Message::Request { request, channel, .. } => {
                    let _ = swarm.behaviour_mut().bytes.send_response(channel, request);
                }
                Message::Response { request_id, response } => {
                    let at = wanted.iter().position(|(id, ..)| *id == request_id).unwrap();
                    let (_, count, done) = wanted.swap_remove(at);
                    assert_eq!(response, count, "not all came");
                    let _ = done.send(());
                }
            },
            SwarmEvent::Behaviour(BehaviourEvent::Bytes(request_response::Event::OutboundFailure {
                error,
                ..
            })) => panic!("nothing came: {error}"),
            _ => {}
        }
    }
}
