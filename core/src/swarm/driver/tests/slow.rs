//! Somebody who says a byte now and then, and never all of it: requests, and answers to ours.

use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::{
    StreamProtocol,
    request_response::{Behaviour as Requests, Codec, Event, Message},
};

use super::*;

/// More than one connection may have open.
const STREAMS: usize = 100;

/// Announces a frame of 16,000 bytes, says one of them every 200 ms, and never ends.
#[derive(Clone, Copy)]
struct Trickle;

async fn trickle(io: &mut (impl AsyncWrite + Unpin + Send)) -> io::Result<()> {
    io.write_all(&[0x80, 0x7d]).await?;
    loop {
        io.flush().await?;
        Delay::new(Duration::from_millis(200)).await;
        io.write_all(&[7]).await?;
    }
}

impl Codec for Trickle {
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
        trickle(io).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (): (),
    ) -> io::Result<()> {
        trickle(io).await
    }
}

/// Opens all its streams at a peer, and answers what it is asked as slowly; tells when the last of its own was cut off.
async fn besiege(mut swarm: Swarm<Requests<Trickle>>, at: Multiaddr, over: oneshot::Sender<()>) {
    swarm.dial(at).unwrap();
    let (mut cut_off, mut over) = (0, Some(over));
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                (0..STREAMS).for_each(|_| {
                    swarm.behaviour_mut().send_request(&peer_id, ());
                });
            }
            SwarmEvent::Behaviour(Event::OutboundFailure { .. }) => cut_off += 1,
            SwarmEvent::Behaviour(Event::Message { message: Message::Request { channel, .. }, .. }) => {
                let _ = swarm.behaviour_mut().send_response(channel, ());
            }
            _ => {}
        }
        if cut_off == STREAMS
            && let Some(over) = over.take()
        {
            let _ = over.send(());
        }
    }
}

#[test]
fn who_says_a_byte_now_and_then_is_cut_off_in_time_and_holds_up_nobody() {
    run(|spawner| async move {
        let [mut victim, mut honest] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        honest.dial(&mut victim).await;
        let name = Protocol::Transactions.name(Some(&chain("ours").hash())).unwrap();
        let (slow, stranger) = stranger(Trickle, name, 2 * STREAMS);
        let (over, all_cut_off) = oneshot::channel();
        let besieger = besiege(stranger, victim.address.clone().with(Part::P2p(victim.id)), over);
        spawner.spawn_local(besieger).unwrap();
        victim
            .told(|input| matches!(input, Input::Connected { peer, .. } if peer == slow).then_some(()))
            .await;
        victim.react(|input| match input {
            Input::Request { id, body, .. } => Some(Output::Respond { id: *id, body: body.clone() }),
            _ => None,
        });

        let (id, body) = (OutboundId(1), b"ask".to_vec());
        victim.put_out(Output::Request { id, peer: slow, protocol: Protocol::Transactions, body });
        for id in 2..50 {
            let answer = honest.request(victim.id, Protocol::Transactions, id).await;
            assert_eq!(answer, Ok(b"ask".to_vec()), "nobody else is held up");
        }
        let answer = victim.response(1).await;
        assert!(
            matches!(answer, Err(RequestFailure::Timeout | RequestFailure::ConnectionLost)),
            "an answer that never ends is none: {answer:?}"
        );
        all_cut_off.await.unwrap();
        let again = honest.request(victim.id, Protocol::Transactions, 50).await;
        assert_eq!(again, Ok(b"ask".to_vec()));
    });
}
