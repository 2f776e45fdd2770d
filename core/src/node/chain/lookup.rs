//! What a person asks for that is not here: it is asked of peers, with a proof.
//!
//! A light peer has no accounts and no blocks, and a peer that joined by proof no blocks from before it did. Both know a
//! finalised checkpoint, under whose roots an account or a transaction can be proven. One peer is asked after the other; a proof
//! that does not hold is an offence, and having none is not.

use libp2p::PeerId;

use super::{
    Chain,
    light::read,
    queries::{in_block, waiting},
};
use crate::{
    chain::{Header, Transaction},
    node::{
        AccountView, CommandError, CommandId, InBlock, Protocol, Reply, RequestFailure, TransactionStatus,
        Verified,
        effects::{Ask, Effects},
    },
    peers::Offence,
    primitives::{Address, Hash, Height, encode},
    state::Account,
    sync::{SyncRequest, SyncResponse, TransactionProof},
};

/// So many peers are asked for one thing, one after the other.
const MAX_TRIES: usize = 4;

/// What is to be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// What an account holds.
    Account(Address),
    /// That a transaction is in a final block.
    Transaction(Hash),
    /// What the sender holds of a transaction that a person submits.
    Payment(Box<Transaction>),
}

/// A person's question that peers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct Lookup {
    command: CommandId,
    subject: Subject,
    /// The finalised checkpoint under whose roots the answer is proven.
    checkpoint: Header,
    /// Who was asked for it.
    asked: Vec<PeerId>,
}

impl Chain {
    /// What does this account hold?
    pub(in crate::node) fn show_account(&mut self, fx: &mut Effects, command: CommandId, address: Address) {
        if self.is_light() {
            self.look_up(fx, command, Subject::Account(address));
        } else {
            let view = self.account_view(address).map(Reply::Account);
            fx.reply(command, view);
        }
    }

    /// Where is this transaction? What is not here is asked of peers by whoever has not all blocks.
    pub(super) fn look_up_transaction(&mut self, fx: &mut Effects, command: CommandId, id: Hash) {
        if self.is_light() || self.oldest() > Height(0) {
            self.look_up(fx, command, Subject::Transaction(id));
        } else {
            let own = self.own.get(&id).map(waiting).ok_or(CommandError::NoSuchTransaction);
            fx.reply(command, own.map(|status| Reply::Transaction(Box::new(status))));
        }
    }

    /// A person of a light peer submits a transaction: what the sender holds is asked for first.
    pub(super) fn look_up_sender(&mut self, fx: &mut Effects, command: CommandId, transaction: Transaction) {
        self.look_up(fx, command, Subject::Payment(Box::new(transaction)));
    }

    /// The newest checkpoint that proofs are asked under.
    fn proven_checkpoint(&self) -> Option<&Header> {
        let header = match &self.light {
            Some(light) => light.believed(),
            None => self.pivots.newest(),
        };
        header.filter(|header| header.height().0 > 0)
    }

    fn look_up(&mut self, fx: &mut Effects, command: CommandId, subject: Subject) {
        match self.proven_checkpoint().cloned() {
            Some(checkpoint) => {
                if let Some(light) = &mut self.light {
                    light.act();
                }
                self.ask_next(fx, Lookup { command, subject, checkpoint, asked: Vec::new() });
            }
            None => fx.reply(command, Err(CommandError::Starting)),
        }
    }

    /// A peer that may know, and was not asked yet.
    fn server_for(&self, fx: &Effects, lookup: &Lookup) -> Option<PeerId> {
        if lookup.asked.len() >= MAX_TRIES {
            return None;
        }
        let height = lookup.checkpoint.height();
        match &self.light {
            Some(light) => light.prover(height, &lookup.asked, fx.now.mono),
            None => {
                let able = |peer: &&PeerId| self.height_of(peer).is_some_and(|at| at >= height);
                self.download.peers().filter(able).find(|peer| !lookup.asked.contains(peer)).copied()
            }
        }
    }

    fn ask_next(&mut self, fx: &mut Effects, mut lookup: Lookup) {
        let Some(peer) = self.server_for(fx, &lookup) else {
            self.nobody_proves(fx, lookup);
            return;
        };
        let pivot = lookup.checkpoint.hash();
        let account = |address: &Address| SyncRequest::Account { pivot, key: address.trie_key() };
        let request = match &lookup.subject {
            Subject::Account(address) => account(address),
            Subject::Payment(transaction) => account(&transaction.sender()),
            Subject::Transaction(id) => SyncRequest::Transaction { pivot, id: *id },
        };
        lookup.asked.push(peer);
        fx.ask(peer, Protocol::Sync, Ask::Lookup(Box::new(lookup)), encode(&request));
    }

    fn nobody_proves(&self, fx: &mut Effects, lookup: Lookup) {
        let own = match &lookup.subject {
            Subject::Transaction(id) => self.own.get(id),
            Subject::Account(_) | Subject::Payment(_) => None,
        };
        let reply = match own {
            Some(transaction) => Ok(Reply::Transaction(Box::new(waiting(transaction)))),
            None => Err(CommandError::Unproven),
        };
        fx.reply(lookup.command, reply);
    }

    /// An answer with a proof.
    pub(in crate::node) fn looked_up(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        lookup: Lookup,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let response = read(fx, peer, outcome);
        let wrong = match (&lookup.subject, response) {
            (Subject::Transaction(id), Some(SyncResponse::Transaction(Some(proof)))) => {
                if proof.verify(&lookup.checkpoint, id).is_ok() {
                    let status = proven(&proof, &lookup.checkpoint);
                    fx.reply(lookup.command, Ok(Reply::Transaction(Box::new(status))));
                    return;
                }
                Some(Offence::BadProof)
            }
            (Subject::Account(address), Some(SyncResponse::Account(Some(proof)))) => {
                let address = *address;
                if let Ok(account) = proof.verify(&lookup.checkpoint.content.state_root, &address.trie_key())
                {
                    let view = self.proven_account(fx, address, account, &lookup.checkpoint);
                    fx.reply(lookup.command, view.map(Reply::Account));
                    return;
                }
                Some(Offence::BadProof)
            }
            (Subject::Payment(transaction), Some(SyncResponse::Account(Some(proof)))) => {
                let (root, sender) = (&lookup.checkpoint.content.state_root, transaction.sender());
                if let Ok(account) = proof.verify(root, &sender.trie_key()) {
                    let transaction = (**transaction).clone();
                    self.follow_account(fx, &sender, &account);
                    self.submit_from(fx, lookup.command, transaction, account);
                    return;
                }
                Some(Offence::BadProof)
            }
            // The checkpoint may be too old for it, or the transaction in no block that it remembers.
            (Subject::Transaction(_), Some(SyncResponse::Transaction(None)))
            | (Subject::Account(_) | Subject::Payment(_), Some(SyncResponse::Account(None))) => None,
            (_, Some(SyncResponse::Busy) | None) => {
                if let Some(light) = &mut self.light {
                    light.rest(&peer, fx.now.mono);
                }
                None
            }
            (_, Some(_)) => Some(Offence::Unrequested),
        };
        if let Some(offence) = wrong {
            fx.offend(peer, offence);
        }
        match lookup.subject {
            // The peer has grown up meanwhile.
            Subject::Account(address) if !self.is_light() => self.show_account(fx, lookup.command, address),
            Subject::Payment(transaction) if !self.is_light() => {
                self.submit(fx, lookup.command, *transaction);
            }
            _ => self.ask_next(fx, lookup),
        }
    }

    /// An account as a light peer knows it.
    fn proven_account(
        &mut self,
        fx: &mut Effects,
        address: Address,
        account: Account,
        checkpoint: &Header,
    ) -> Result<AccountView, CommandError> {
        if !self.is_light() {
            return self.account_view(address);
        }
        self.follow_account(fx, &address, &account);
        Ok(AccountView {
            address,
            balance: account.balance,
            nonce: account.nonce,
            next_nonce: self.mempool.next_nonce(&address.trie_key(), &account),
            pending_balance: self.mempool.pending_balance(&address.trie_key(), &account),
            height: checkpoint.height(),
            verified: Verified::Proven,
        })
    }
}

/// What a proof that holds says of a transaction.
fn proven(proof: &TransactionProof, checkpoint: &Header) -> TransactionStatus {
    let block = InBlock {
        height: proof.header.height(),
        hash: proof.header.hash(),
        finalised: true,
        verified: Verified::Proven,
        as_of: checkpoint.height(),
    };
    in_block(&proof.transaction, block)
}
