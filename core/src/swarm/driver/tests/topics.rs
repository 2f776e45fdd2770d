//! Somebody who takes part in more topics than anybody needs.

use std::{collections::BTreeSet, io};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::Codec;

use super::*;

/// The most topics of a peer, and changes in a message.
const MOST: u16 = 256;

/// Says what it is given, and hears nothing.
#[derive(Clone, Copy)]
struct Says;

impl Codec for Says {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = ();

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<Vec<u8>> {
        std::future::pending().await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<()> {
        std::future::pending().await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        words: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&words).await
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

/// A message of gossip in which somebody takes part in topics, or no longer does. Its length comes first.
fn changes(changes: impl Iterator<Item = (bool, String)>) -> Vec<u8> {
    let mut message = Vec::new();
    for (joins, topic) in changes {
        let of_topic = u8::try_from(topic.len()).unwrap();
        message.extend([0x0a, of_topic + 4, 0x08, u8::from(joins), 0x12, of_topic]);
        message.extend(topic.as_bytes());
    }
    let [low, high] = [message.len() % 128, message.len() / 128].map(|it| u8::try_from(it).unwrap());
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [length, message].concat()
}

#[test]
fn a_peer_takes_part_in_so_many_topics_and_changes_no_more_in_a_message() {
    let topics = |of: &'static str| (0..MOST).map(move |number| format!("{of}{number}"));
    let join = |topic| (true, topic);
    let said = [
        // As many topics as there may be, but one is said twice.
        changes(topics("too long ").chain(["too long 0".to_owned()]).map(join)),
        changes(topics("right ").map(join)),
        changes([join("one more".to_owned())].into_iter()),
        changes([(false, "right 0".to_owned()), join("another".to_owned())].into_iter()),
    ];
    let right: BTreeSet<_> = topics("right ").chain(["another".to_owned()]).collect();

    run(|_| async move {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let behaviour = Behaviour::new(&key, Role::Native, None, dummy::Behaviour);
        let mut victim = crate::swarm::swarm(transport, behaviour, id, swarm::Config::without_executor());
        let (_, mut greedy) = stranger(Says, "/meshsub/1.1.0".to_owned(), 8);
        victim.listen_on("/memory/0".parse().unwrap()).unwrap();

        let mut heard = BTreeSet::new();
        while heard.len() < right.len() {
            let event = futures::select! {
                event = victim.select_next_some() => event,
                event = greedy.select_next_some() => {
                    if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                        greedy.behaviour_mut().send_request(&peer_id, said.concat());
                    }
                    continue;
                }
            };
            match event {
                SwarmEvent::NewListenAddr { address, .. } => greedy.dial(address).unwrap(),
                SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Subscribed {
                    topic,
                    ..
                })) => {
                    assert!(right.contains(topic.as_str()), "{topic}");
                    heard.insert(topic.into_string());
                }
                _ => {}
            }
        }
    });
}
