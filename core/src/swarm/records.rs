//! What peers write down at a rendezvous is what libp2p would.

use libp2p::{
    Multiaddr,
    core::{PeerRecord, SignedEnvelope},
    identity::Keypair,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    node::rendezvous::{sign, verify},
    primitives::{SecretKey, Wall},
};

fn keypair() -> Keypair {
    Keypair::ed25519_from_bytes([7; 32]).unwrap()
}

fn addresses() -> Vec<Multiaddr> {
    ["/ip4/8.8.8.8/tcp/4100", "/dns4/example.org/tcp/443/wss"].map(|text| text.parse().unwrap()).to_vec()
}

#[test]
fn libp2p_reads_our_records() {
    let local = keypair().public().to_peer_id();
    let record = sign(&SecretKey::from_seed([7; 32]), &local, Wall(1_700_000_000_000), &addresses());
    let envelope = SignedEnvelope::from_protobuf_encoding(&record).unwrap();
    let read = PeerRecord::from_signed_envelope_interop(envelope).unwrap();
    assert_eq!((read.peer_id(), read.seq()), (local, 1_700_000_000));
    assert_eq!(read.addresses(), addresses());
}

#[test]
fn we_read_records_of_libp2p_in_both_of_its_forms() {
    for record in [PeerRecord::new(&keypair(), addresses()), PeerRecord::new_interop(&keypair(), addresses())]
    {
        let bytes = record.unwrap().into_signed_envelope().into_protobuf_encoding();
        assert_eq!(verify(&bytes), Ok((keypair().public().to_peer_id(), addresses())));
    }
}
