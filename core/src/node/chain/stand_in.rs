//! Stands in for the transaction relay until it lands.
#![allow(missing_docs, unreachable_pub, clippy::all)]
use crate::{chain::Transaction, primitives::*};
use borsh::*;
use libp2p::PeerId;
#[derive(BorshSerialize, BorshDeserialize)]
pub enum TxRequest {
    A,
    Push(Vec<Transaction>),
}
#[derive(BorshSerialize, BorshDeserialize)]
pub enum TxResponse {
    Done,
    Refused(Refusal),
    Other,
}
#[derive(BorshSerialize, BorshDeserialize)]
pub enum Refusal {
    NotInThisMode,
}
#[derive(Default)]
pub struct TransactionRelay;
impl TransactionRelay {
    pub fn peer_connected(&mut self, _: PeerId) {}
    pub fn peer_disconnected(&mut self, _: &PeerId) {}
    pub fn received(&mut self, _: PeerId, t: Vec<Transaction>, _: Mono) -> Vec<Transaction> {
        t
    }
    pub fn accepted(&mut self, _: &Hash) {}
    pub fn refused(&mut self, _: Hash, _: Mono) {}
    pub fn forget(&mut self, _: &Hash) {}
    pub fn forward(&mut self, _: &Transaction, _: Mono) {}
    pub fn poll(&mut self, _: Mono) -> Option<(PeerId, Vec<u8>)> {
        None
    }
    pub fn request_done(&mut self, _: &PeerId, _: bool) {}
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }
}
