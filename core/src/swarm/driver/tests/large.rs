//! Somebody who says that a request, or an answer, is larger than any may be.

use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response::Codec};

use super::*;

/// A length of 200 MB.
const LENGTH: [u8; 4] = [0xff, 0xff, 0xff, 0x5f];

/// Announces so much, and says nothing more.
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
        io.write_all(&LENGTH).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (): (),
    ) -> io::Result<()> {
        io.write_all(&LENGTH).await
    }
}

/// Somebody who boasts comes to a peer, asks it at once, and answers whatever it asks.
fn besiege(spawner: &LocalSpawner, victim: &Peer) -> PeerId {
    let name = Protocol::Transactions.name(Some(&chain("ours").hash())).unwrap();
    let (boaster, mut swarm) = stranger(Boast, name, 8);
    swarm.dial(victim.address.clone().with(Part::P2p(victim.id))).unwrap();
    let besieger = async move {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    swarm.behaviour_mut().send_request(&peer_id, ());
                }
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Request { channel, .. },
                    ..
                }) => _ = swarm.behaviour_mut().send_response(channel, ()),
                _ => {}
            }
        }
    };
    spawner.spawn_local(besieger).unwrap();
    boaster
}

#[test]
fn who_sends_what_is_too_large_to_be_read_is_told_by_name() {
    run(|spawner| async move {
        let mut victim = Peer::start(&spawner, Some(chain("ours")));
        let boaster = besiege(&spawner, &victim);
        let told = victim.told(|input| match input {
            Input::Oversized { peer, protocol } => Some((peer, protocol)),
            _ => None,
        });
        assert_eq!(told.await, (boaster, Protocol::Transactions));
    });
}

#[test]
fn an_answer_that_is_too_large_is_not_read_and_is_counted() {
    run(|spawner| async move {
        let mut victim = Peer::start(&spawner, Some(chain("ours")));
        let boaster = besiege(&spawner, &victim);
        victim.told(|input| matches!(input, Input::Connected { .. }).then_some(())).await;
        let (id, body) = (OutboundId(1), b"ask".to_vec());
        victim.put_out(Output::Request { id, peer: boaster, protocol: Protocol::Transactions, body });
        victim.told(|input| matches!(input, Input::Refused(Refused::AnswerOversized)).then_some(())).await;
        assert_eq!(victim.response(1).await, Err(RequestFailure::TooLarge));
    });
}
