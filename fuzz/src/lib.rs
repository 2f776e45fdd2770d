//! Fuzz targets: every decoder and verifier that bytes from outside reach, and a whole peer.
//!
//! A target is a function from bytes to whether they were taken. It checks more than that nothing panics: what decodes
//! encodes to the same bytes again, and what a verifier takes is true of one sample chain, of which the target knows all that a proof
//! could tell. So a forgery that any mutation finds is a failure.
//!
//! `cargo test` runs each target on its seeds, on all their truncations and on many mutations of them, and holds it to a
//! bound of memory. `cargo xtask fuzz` runs libFuzzer on the same functions, from the same seeds.

mod mutate;
mod sample;
mod steps;
mod targets;

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
pub use mutate::Mutator;
pub use targets::{
    chain, content, fetch, gossip, mempool, node, peers, relay, rendezvous, signalling, state, store, stun,
    swarm, sync, text,
};
use weft_core::primitives::{decode, encode};

/// A target with valid inputs.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its binary.
    pub name: &'static str,
    /// Answers whether the input was valid.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are valid.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "header", run: chain::header, seeds: chain::header_seeds },
    Target { name: "body", run: chain::body, seeds: chain::body_seeds },
    Target { name: "block", run: chain::block, seeds: chain::block_seeds },
    Target { name: "transaction", run: chain::transaction, seeds: chain::transaction_seeds },
    Target { name: "system_items", run: chain::system_items, seeds: chain::system_items_seeds },
    Target { name: "vote", run: chain::vote, seeds: chain::vote_seeds },
    Target { name: "votes", run: chain::votes, seeds: chain::votes_seeds },
    Target { name: "certificate", run: chain::certificate, seeds: chain::certificate_seeds },
    Target { name: "evidence", run: chain::evidence, seeds: chain::evidence_seeds },
    Target { name: "ballot", run: chain::ballot, seeds: chain::ballot_seeds },
    Target { name: "record", run: chain::record, seeds: chain::record_seeds },
    Target { name: "genesis", run: chain::genesis, seeds: chain::genesis_seeds },
    Target { name: "mmr_proof", run: chain::mmr_proof, seeds: chain::mmr_proof_seeds },
    Target { name: "account_proof", run: state::account_proof, seeds: state::account_proof_seeds },
    Target { name: "range_proof", run: state::range_proof, seeds: state::range_proof_seeds },
    Target { name: "trie", run: state::trie, seeds: state::trie_seeds },
    Target { name: "execution", run: state::execution, seeds: state::execution_seeds },
    Target { name: "fragments", run: sync::fragments, seeds: sync::fragments_seeds },
    Target { name: "transaction_proof", run: sync::transaction_proof, seeds: sync::transaction_proof_seeds },
    Target { name: "checkpoint", run: sync::checkpoint, seeds: sync::checkpoint_seeds },
    Target { name: "pivot", run: sync::pivot, seeds: sync::pivot_seeds },
    Target { name: "journey", run: sync::journey, seeds: sync::journey_seeds },
    Target { name: "sync_request", run: sync::request, seeds: sync::request_seeds },
    Target { name: "sync_response", run: sync::response, seeds: sync::response_seeds },
    Target { name: "bodies", run: sync::bodies, seeds: sync::bodies_seeds },
    Target { name: "transaction_messages", run: gossip::transactions, seeds: gossip::transactions_seeds },
    Target { name: "transaction_relay", run: relay::relay, seeds: relay::relay_seeds },
    Target { name: "compact_block", run: gossip::compact_block, seeds: gossip::compact_block_seeds },
    Target { name: "chat", run: gossip::chat, seeds: gossip::chat_seeds },
    Target { name: "content", run: content::content, seeds: content::content_seeds },
    Target { name: "manifest", run: content::manifest, seeds: content::manifest_seeds },
    Target { name: "cid", run: content::cid, seeds: content::cid_seeds },
    Target { name: "node_list", run: gossip::node_list, seeds: gossip::node_list_seeds },
    Target { name: "journal", run: store::journal, seeds: store::journal_seeds },
    Target { name: "journal_values", run: store::journal_values, seeds: store::journal_values_seeds },
    Target { name: "stun", run: stun::stun, seeds: stun::stun_seeds },
    Target { name: "text", run: text::text, seeds: text::text_seeds },
    Target { name: "mempool", run: mempool::mempool, seeds: mempool::mempool_seeds },
    Target { name: "signalling", run: signalling::session, seeds: signalling::session_seeds },
    Target { name: "data_channel", run: signalling::channel, seeds: signalling::channel_seeds },
    Target { name: "meeting_message", run: rendezvous::message, seeds: rendezvous::message_seeds },
    Target { name: "meeting_record", run: rendezvous::record, seeds: rendezvous::record_seeds },
    Target { name: "meeting_place", run: rendezvous::place, seeds: rendezvous::place_seeds },
    Target { name: "meeting_guest", run: rendezvous::guest, seeds: rendezvous::guest_seeds },
    Target { name: "peer_exchange", run: peers::exchange, seeds: peers::exchange_seeds },
    Target { name: "address_book", run: peers::book, seeds: peers::book_seeds },
    Target { name: "invite", run: peers::invite, seeds: peers::invite_seeds },
    Target { name: "names", run: peers::names, seeds: peers::names_seeds },
    Target { name: "resolver", run: peers::resolver, seeds: peers::resolver_seeds },
    Target { name: "fetch", run: fetch::fetch, seeds: fetch::fetch_seeds },
    Target { name: "frame", run: swarm::frame, seeds: swarm::frame_seeds },
    Target { name: "find_node", run: swarm::find_node, seeds: swarm::find_node_seeds },
    Target { name: "agreement", run: signalling::agreement, seeds: signalling::agreement_seeds },
    Target { name: "node", run: node::node, seeds: node::node_seeds },
];

/// The value that these bytes encode, if they do: no value has two encodings.
fn canonical<T: BorshSerialize + BorshDeserialize>(data: &[u8], max: usize) -> Option<T> {
    let value: T = decode(data, max).ok()?;
    assert!(encode(&value) == data, "two encodings of one value");
    Some(value)
}
