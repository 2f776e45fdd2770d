use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::Poll,
};

use futures::{StreamExt, future::join};
use libp2p::{
    core::{
        Endpoint,
        muxing::StreamMuxerExt,
        transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent},
    },
    multiaddr::Protocol,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Goes on until the connection is of no use any more; returns how many streams were had. Each says one byte.
async fn streams_had(mut muxer: StreamMuxerBox, opens: bool) -> usize {
    let mut had = Vec::new();
    poll_fn(|cx| {
        loop {
            let next = if opens { muxer.poll_outbound_unpin(cx) } else { muxer.poll_inbound_unpin(cx) };
            match next {
                Poll::Ready(Ok(mut stream)) => {
                    assert!(matches!(Pin::new(&mut stream).poll_write(cx, &[7]), Poll::Ready(Ok(1))));
                    had.push(stream);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(had.len()),
                Poll::Pending => break,
            }
        }
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(had.len()),
            _ => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn who_opens_more_streams_than_a_connection_may_have_loses_it() {
    let key = Keypair::generate_ed25519();
    let mut victim = secured(MemoryTransport::default(), Secure::new(&key, Security::Noise).unwrap());
    victim.listen_on(ListenerId::next(), "/memory/0".parse().unwrap()).unwrap();
    let Some(TransportEvent::NewAddress { listen_addr, .. }) = victim.next().await else {
        panic!("it listens")
    };
    let mut boundless = yamux::Config::default();
    boundless.set_max_num_streams(1024);
    let mut greedy = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&Keypair::generate_ed25519()).unwrap())
        .multiplex(boundless)
        .boxed();
    let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dial = greedy.dial(listen_addr, how).unwrap();
    let accept = async {
        let Some(TransportEvent::Incoming { upgrade, .. }) = victim.next().await else {
            panic!("somebody comes")
        };
        upgrade.await.unwrap()
    };
    let ((_, ours), dialled) = join(accept, dial).await;
    let (_, theirs) = dialled.unwrap();
    let both = join(streams_had(ours, false), streams_had(StreamMuxerBox::new(theirs), true));
    let (taken, _) = timeout(PATIENCE, both).await.expect("the connection ends");
    assert_eq!(taken, 512);
}

/// What a listener says to a frame of so many bytes that begins as a connection does.
async fn said_to_frame(at: SocketAddr, length: usize) -> Vec<u8> {
    let mut client = TcpStream::connect(at).await.unwrap();
    let asks = "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(asks.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    // Binary and whole, with a mask that changes nothing.
    let mut frame = vec![0x82, 0xff];
    frame.extend((length as u64).to_be_bytes());
    frame.extend([0; 4]);
    let from = frame.len();
    frame.extend(b"\x13/multistream/1.0.0\n");
    frame.resize(from + length, 0xff);
    // It may close before it has read all, or any of it.
    let _ = client.write_all(&frame).await;
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, client.read_to_end(&mut said)).await.expect("it closes");
    said
}

#[tokio::test]
async fn the_largest_frame_is_read_and_a_larger_one_is_not_waited_for() {
    let key = Keypair::generate_ed25519();
    let (relayed, _) = relay::client::new(key.public().to_peer_id());
    let dns = Dns::new(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    let mut transport = transport(&key, Security::Any, &dns, (None, None), relayed).unwrap();
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()).unwrap();
    let Some(TransportEvent::NewAddress { listen_addr, .. }) = transport.next().await else {
        panic!("it listens")
    };
    let port =
        listen_addr.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap()));
    tokio::spawn(async move {
        while let Some(event) = transport.next().await {
            if let TransportEvent::Incoming { upgrade, .. } = event {
                // It fails: nobody goes on as a peer would.
                let _ = upgrade.await;
            }
        }
    });
    let greeted = |said: Vec<u8>| said.windows(18).any(|part| part == b"/multistream/1.0.0");
    assert!(greeted(said_to_frame(at, 1 << 20).await));
    assert!(!greeted(said_to_frame(at, (1 << 20) + 1).await));
}
