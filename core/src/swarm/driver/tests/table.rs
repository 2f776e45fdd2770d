//! Who answers others' questions of the distributed hash table, and who only asks.

use super::*;

/// The table, as a person sees it.
async fn known(peer: &Peer) -> Vec<String> {
    peer.react(|input| match input {
        Input::Command(id, _) => Some(Output::Reply(*id, Box::new(Ok(Reply::RoutingTable(Vec::new()))))),
        _ => None,
    });
    let Ok(Reply::RoutingTable(buckets)) = peer.handle.call(Command::RoutingTable).await else {
        panic!("a table was asked for")
    };
    buckets.into_iter().flat_map(|bucket| bucket.peers).collect()
}

/// Whether a peer says that it answers such questions.
async fn serves(to: &mut Peer, from: PeerId) -> bool {
    let name = crate::node::dht_protocol(&chain("ours").hash());
    to.told(|input| match input {
        Input::Identified { peer, protocols, .. } if peer == from => Some(protocols.contains(&name)),
        _ => None,
    })
    .await
}

#[test]
fn who_serves_says_so_and_who_does_no_longer_takes_it_back() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        assert!(!serves(&mut a, b.id).await, "nobody serves who was not told to");
        b.put_out(Output::ServeDht(true));
        while !serves(&mut a, b.id).await {}
        b.put_out(Output::ServeDht(false));
        while serves(&mut a, b.id).await {}
    });
}

#[test]
fn who_serves_is_in_the_table_of_those_who_ask_and_they_in_nobodys() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        b.put_out(Output::ServeDht(true));
        while !serves(&mut a, b.id).await {}
        a.told(|input| match input {
            Input::Discovered { peer, found: Found::Dht, .. } => (peer == b.id).then_some(()),
            _ => None,
        })
        .await;
        assert_eq!(known(&a).await, [b.id.to_string()]);
        assert!(known(&b).await.is_empty());
    });
}
