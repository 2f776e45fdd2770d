//! Golden values of what every peer must hash alike. They were computed apart, from the definitions.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::primitives::{Address, Amount, Hash, Height, PublicKey, SecretKey, SignatureBatch, Slot, encode};

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn genesis() -> Genesis {
    Genesis {
        name: "golden".into(),
        time: 1_700_000_000_000,
        slot_millis: 2000,
        min_fee_per_byte: 1,
        authorities: vec![Authority { key: key().public(), fee_address: Address([7; 32]) }],
        grants: vec![Grant { address: Address([2; 32]), amount: Amount(1000) }],
    }
}

fn genesis_header() -> Header {
    let state_root = "cb0c9b192a24e61587e4c23a3fb988aaa472cc2621ee466784f3c37db2b776dd".parse().unwrap();
    genesis().header(state_root)
}

fn first_header() -> Header {
    let mmr_root = Mmr::default().with(&genesis_header().hash()).root();
    let roots = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32]), Hash([4; 32]), Hash([5; 32]), mmr_root];
    UnsignedHeader::new(Height(1), Slot(3), genesis_header().hash(), roots, 0, key().public())
        .sign(&key(), &genesis().hash())
}

#[test]
fn headers_are_linked_when_each_names_the_one_before_it() {
    let (genesis, first) = (genesis_header(), first_header());
    let hashes = vec![genesis.hash(), first.hash()];
    assert_eq!(Header::linked(&[genesis.clone(), first.clone()]), Some(hashes));
    assert_eq!(Header::linked(&[first.clone(), genesis]), None);
    assert_eq!(Header::linked(&[first.clone(), first]), None);
    assert_eq!(Header::linked(&[]), Some(Vec::new()));
}

#[test]
fn golden_genesis() {
    assert_eq!(
        genesis().hash().to_string(),
        "eb0cf2dbfff443df313903cead0a0f20dbd043298f95ff6628e65c6def26cfb1"
    );
    assert_eq!(
        ConsensusRecord::of_genesis(&genesis()).root().to_string(),
        "b6e6fe4020da1ad99b9452f30e6fd03852a23f5b99b90c792ac730a97f53454d"
    );
    assert_eq!(
        genesis_header().hash().to_string(),
        "0529e0e33fa95cec8476f6647433a63a994f3045bbb7c989a8571326b998486b"
    );
}

#[test]
fn golden_header() {
    let header = first_header();
    assert_eq!(
        hex::encode(encode(&header)),
        "01010000000000000003000000000000000529e0e33fa95cec8476f6647433a63a994f3045bbb7c989a8571326b99848\
             6b0101010101010101010101010101010101010101010101010101010101010101020202020202020202020202020202\
             020202020202020202020202020202020203030303030303030303030303030303030303030303030303030303030303\
             030404040404040404040404040404040404040404040404040404040404040404050505050505050505050505050505\
             0505050505050505050505050505050505e3b54cc737e50f158eeef8a0cd6fe0c432340b06c21a3d17d6dab354f2a857\
             7b00000000000000008a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5cdef9a552a7b232\
             56c51c4cca74907404896b7579edbbd7388b16e5ddbf820646558f9493a9813499514d895306fab287f7e3bebd4e0992\
             1ff19520b3c08c6d0a"
    );
    assert_eq!(encode(&header).len(), Header::LEN);
    assert_eq!(header.hash().to_string(), "8e052349a431bd2bc0e37d56112de1a7e3fbb4b4c241b43beab546ae9914ec75");
}

#[test]
fn golden_roots() {
    let mmr_root = |count| {
        let mut mmr = Mmr::default();
        (0..count).for_each(|byte| mmr.push(&Hash([byte; 32])));
        mmr.root().to_string()
    };
    assert_eq!(mmr_root(0), "c837765444815de6db1a10b88c56b546eb45d640b9323beb30f37038174a2c97");
    assert_eq!(mmr_root(1), "d9e33b7879e4089ed3bd4ad66973e5e0ff45f2f7873e9b41c39940ae375574fe");
    assert_eq!(mmr_root(7), "f8f4288ebfada83737703e4fa8ea3348b100b5b451e3a9e30e6ca3036b31cf53");
    let nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(Body::default().tx_root().to_string(), nothing);
    assert_eq!(Body::default().system_root().to_string(), nothing);
}

#[test]
fn a_header_is_judged_by_its_parent_and_the_set() {
    let (genesis, parent, good) = (genesis(), genesis_header(), first_header());
    let set = ConsensusRecord::of_genesis(&genesis).set;
    let mmr_root = good.content.mmr_root;
    let judge = |change: fn(&mut UnsignedHeader)| {
        let mut header = good.clone();
        change(&mut header.content);
        header.check_after(&parent, &set, &mmr_root)
    };
    assert_eq!(judge(|_| ()), Ok(()));
    let height = |got| HeaderError::Height { got: Height(got), parent: Height(0) };
    assert_eq!(judge(|header| header.height = Height(2)), Err(height(2)));
    assert_eq!(judge(|header| header.height = Height(0)), Err(height(0)));
    let slot = HeaderError::Slot { got: Slot(0), parent: Slot(0) };
    assert_eq!(judge(|header| header.slot = Slot(0)), Err(slot));
    let proposer = Err(HeaderError::Proposer(Slot(3)));
    assert_eq!(judge(|header| header.proposer = PublicKey([9; 32])), proposer);
    assert_eq!(judge(|header| header.set_id = 1), proposer);
    assert_eq!(judge(|header| header.mmr_root = Hash::ZERO), Err(HeaderError::Mmr));
}

#[test]
fn no_height_follows_the_last() {
    let set = ConsensusRecord::of_genesis(&genesis()).set;
    let (mut parent, header) = (genesis_header(), first_header());
    parent.content.height = Height(u64::MAX);
    assert!(matches!(
        header.check_after(&parent, &set, &header.content.mmr_root),
        Err(HeaderError::Height { .. })
    ));
}

#[test]
fn authorities_take_turns() {
    let authority = |byte| Authority { key: PublicKey([byte; 32]), fee_address: Address([0; 32]) };
    let set = AuthoritySet { id: 0, authorities: vec![authority(0), authority(1), authority(2)] };
    let turns: Vec<_> = (0..5).map(|slot| set.proposer(Slot(slot)).key.0[0]).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1]);
    assert_eq!(set.proposer(Slot(u64::MAX)).key.0[0], 0);
}

#[test]
fn a_header_signature_holds_for_its_chain_only() {
    let holds = |header: &Header, chain| {
        let mut batch = SignatureBatch::default();
        header.add_to_batch(&chain, &mut batch);
        batch.verify()
    };
    assert!(holds(&first_header(), genesis().hash()));
    assert!(!holds(&first_header(), Hash::ZERO));
    let mut changed = first_header();
    changed.content.slot = Slot(4);
    assert!(!holds(&changed, genesis().hash()));
}
