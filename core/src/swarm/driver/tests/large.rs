//! Somebody who says that a request is larger than any may be.

use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::{
    StreamProtocol,
    request_response::{Behaviour as Requests, Codec, Config, ProtocolSupport},
};

use super::*;

/// Announces a request of 200 MB, and says nothing more.
#[derive(Clone, Copy)]
struct Boast;

impl Codec for Boast {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = ();

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<()> {
        Ok(())
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<()> {
        Ok(())
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (): (),
    ) -> io::Result<()> {
        io.write_all(&[0xff, 0xff, 0xff, 0x5f]).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        (): (),
    ) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn who_sends_what_is_too_large_to_be_read_is_told_by_name() {
    run(|spawner| async move {
        let mut victim = Peer::start(&spawner, Some(chain("ours")));
        let key = Keypair::generate_ed25519();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let name = Protocol::Transactions.name(Some(&chain("ours").hash())).unwrap();
        let protocol = StreamProtocol::try_from_owned(name).unwrap();
        let behaviour = Requests::with_codec(Boast, [(protocol, ProtocolSupport::Full)], Config::default());
        let boaster = key.public().to_peer_id();
        let idle = swarm::Config::without_executor();
        let mut swarm = Swarm::new(transport, behaviour, boaster, idle);
        swarm.dial(victim.address.clone().with(Part::P2p(victim.id))).unwrap();
        let besieger = async move {
            loop {
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
                    swarm.behaviour_mut().send_request(&peer_id, ());
                }
            }
        };
        spawner.spawn_local(besieger).unwrap();
        let told = victim.told(|input| match input {
            Input::Oversized { peer, protocol } => Some((peer, protocol)),
            _ => None,
        });
        assert_eq!(told.await, (boaster, Protocol::Transactions));
    });
}
