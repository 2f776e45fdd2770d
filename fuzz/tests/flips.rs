//! Every bit of every proof counts: flipped one by one, each makes its verifier refuse.

use weft_fuzz::{chain, gossip, peers, rendezvous, state, sync};

/// A verifier, an input that it takes, and how many bytes at its beginning are the question and not the answer.
type Verifier = (&'static str, fn(&[u8]) -> bool, Vec<u8>, usize);

fn verifiers() -> Vec<Verifier> {
    let first = |mut seeds: Vec<Vec<u8>>| seeds.swap_remove(0);
    let last = |mut seeds: Vec<Vec<u8>>| seeds.pop().unwrap_or_default();
    vec![
        ("header", chain::header, first(chain::header_seeds()), 0),
        ("body", chain::body, first(chain::body_seeds()), 0),
        ("body with a certificate", chain::body, chain::body_seeds().swap_remove(1), 0),
        ("transaction", chain::transaction, first(chain::transaction_seeds()), 0),
        ("compact block", gossip::compact_block, first(gossip::compact_block_seeds()), 0),
        ("vote", chain::vote, first(chain::vote_seeds()), 0),
        ("certificate", chain::certificate, first(chain::certificate_seeds()), 0),
        ("certificate of two sets", chain::certificate, chain::certificate_seeds().swap_remove(3), 0),
        ("evidence of headers", chain::evidence, first(chain::evidence_seeds()), 0),
        ("evidence of votes", chain::evidence, last(chain::evidence_seeds()), 0),
        ("ballot", chain::ballot, first(chain::ballot_seeds()), 0),
        ("place in the mountain range", chain::mmr_proof, first(chain::mmr_proof_seeds()), 0),
        ("account", state::account_proof, first(state::account_proof_seeds()), 0),
        ("no account", state::account_proof, last(state::account_proof_seeds()), 32),
        ("range", state::range_proof, state::range_proof_seeds().swap_remove(1), 64),
        ("empty range", state::range_proof, state::range_proof_seeds().swap_remove(2), 64),
        ("fragment", sync::fragments, sync::fragments_seeds().swap_remove(2), 0),
        ("peer's record", peers::exchange, first(peers::exchange_seeds()), 0),
        ("peer's record at a rendezvous", rendezvous::record, first(rendezvous::record_seeds()), 0),
        ("checkpoint", sync::checkpoint, first(sync::checkpoint_seeds()), 0),
        ("pivot", sync::pivot, first(sync::pivot_seeds()), 0),
        ("changes", sync::journey, first(sync::journey_seeds()), 1),
        ("transaction in a block", sync::transaction_proof, first(sync::transaction_proof_seeds()), 0),
        ("transaction in the checkpoint", sync::transaction_proof, last(sync::transaction_proof_seeds()), 0),
    ]
}

#[test]
fn no_verifier_takes_a_proof_with_any_bit_flipped() {
    for (name, verify, input, question) in verifiers() {
        assert!(verify(&input), "{name}");
        for bit in 8 * question..8 * input.len() {
            let mut flipped = input.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&flipped), "bit {bit} of {} in {name} does not matter", 8 * input.len());
        }
    }
}

/// The list of peers is text: digits of either case say the same, and there may be spaces. Everything else counts.
#[test]
fn a_list_of_peers_with_another_character_is_refused() {
    let list = gossip::node_list_seeds().swap_remove(0);
    for at in 0..list.len() {
        let mut other = list.clone();
        other[at] = if other[at] == b'1' { b'2' } else { b'1' };
        assert!(!gossip::node_list(&other), "character {at} does not matter");
    }
}
