//! Transactions: from peers and from our own people into the mempool.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libp2p::PeerId;

use super::{Chain, Promise, Purpose, gather::Pushed};
use crate::{
    chain::Transaction,
    mempool::{self, AdmissionError, Source, Weighed},
    node::{CommandError, CommandId, Event, Reply, effects::Effects, told, work::Job},
    peers::{Offence, Service},
    primitives::{Address, Hash, Slot, encode},
    state::{Account, TransferError},
    store::Batch,
};

/// The most own transactions that are written down at once.
pub(super) const MAX_OWN: usize = 1024;
/// The least time between two mempool events.
const EVENT_MILLIS: u64 = 1_000;

/// Transactions whose signatures are being checked, and where they come from.
pub(super) enum Candidates {
    /// Peers pushed them.
    Pushed(Vec<Pushed>),
    /// A person submitted one.
    Submitted(CommandId, Box<Transaction>, Account),
}

impl Chain {
    /// The earliest slot that the next block can have.
    pub(super) fn next_slot(&self, fx: &Effects) -> Slot {
        Slot((self.tree.head_slot().0 + 1).max(self.slot(fx).0))
    }

    /// The account at the head; the default one while the state is not there yet.
    pub(super) fn account(&self, address: &Address) -> Account {
        let trie = self.tries.get(&self.tree.head());
        trie.and_then(|trie| trie.get(&address.trie_key()).ok()).unwrap_or_default()
    }

    /// The accounts with these keys at the head, likewise.
    fn accounts(&self, keys: &[Hash]) -> Vec<Account> {
        let trie = self.tries.get(&self.tree.head());
        trie.and_then(|trie| trie.get_all(keys).ok()).unwrap_or_else(|| vec![Account::default(); keys.len()])
    }

    /// Transactions that a peer sent: those that could be taken have their signatures checked.
    pub(super) fn consider(&mut self, fx: &mut Effects, peer: PeerId, transactions: Vec<Transaction>) {
        // Most messages bring none.
        if transactions.is_empty() {
            return;
        }
        let (slot, head) = (self.next_slot(fx), self.tree.head());
        let weighed: Vec<_> = transactions.into_iter().map(Weighed::new).collect();
        let keys: Vec<_> = weighed.iter().map(Weighed::key).collect();
        let accounts = self.accounts(&keys);
        let mut next_nonces = BTreeMap::new();
        for (weighed, account) in weighed.into_iter().zip(accounts) {
            let (key, nonce) = (weighed.key(), weighed.transaction().content.nonce);
            let next = next_nonces.entry(key).or_insert_with(|| self.mempool.next_nonce(&key, &account));
            // What follows another of the same message is not queued once that is here, so it is accounted to nobody.
            let source = if nonce <= *next { Source::Own } else { Source::Peer(peer) };
            match self.mempool.would_take(&weighed, &account, slot, source) {
                Ok(()) => {
                    *next += u64::from(nonce == *next);
                    self.gatherer.add(Pushed { peer, weighed, account: (head, account) });
                }
                Err(error) => self.refused(fx, &weighed.id(), &error),
            }
        }
        self.check_gathered(fx);
    }

    /// Starts to check the signatures of what has gathered.
    fn check_gathered(&mut self, fx: &mut Effects) {
        while let Some(gathered) = self.gatherer.next() {
            let transactions = gathered.iter().map(|pushed| pushed.weighed.transaction().clone()).collect();
            let job = Job::VerifyTransactions { genesis: self.id, transactions: Arc::new(transactions) };
            self.jobs.add(fx, Purpose::Pool(Candidates::Pushed(gathered)), job);
        }
    }

    fn refused(&mut self, fx: &mut Effects, id: &Hash, error: &AdmissionError) {
        tracing::debug!(%id, %error, "a transaction was refused");
        fx.refuse(error.kind());
        if !error.is_final() {
            self.relay.dropped(id, fx.now.mono);
            return;
        }
        let senders = self.relay.refused(id, fx.now.mono);
        let offence = match error {
            AdmissionError::Signature => Offence::BadSignature,
            AdmissionError::Invalid(TransferError::Never(_)) => Offence::InvalidTransaction,
            _ => return,
        };
        senders.into_iter().for_each(|sender| fx.offend(sender, offence));
    }

    pub(super) fn pool_verified(&mut self, fx: &mut Effects, candidates: Candidates, valid: &[bool]) {
        match candidates {
            Candidates::Pushed(gathered) => {
                self.gatherer.checked();
                self.check_gathered(fx);
                let head = self.tree.head();
                for (Pushed { peer, weighed, account: (of, account) }, valid) in
                    gathered.into_iter().zip(valid)
                {
                    let id = weighed.id();
                    let moved = of != head;
                    let account = if moved { self.account(&weighed.transaction().sender()) } else { account };
                    let admitted = match valid {
                        true => self.admit_weighed(fx, weighed, &account, Source::Peer(peer)),
                        false => Err(AdmissionError::Signature),
                    };
                    match admitted {
                        Ok(()) => fx.services.push((peer, Service::Transaction)),
                        Err(error) => self.refused(fx, &id, &error),
                    }
                }
            }
            Candidates::Submitted(command, transaction, proven) => {
                let account = if self.is_light() { proven } else { self.account(&transaction.sender()) };
                let admitted = match valid {
                    [true] => {
                        self.admit_weighed(fx, Weighed::new((*transaction).clone()), &account, Source::Own)
                    }
                    _ => Err(AdmissionError::Signature),
                };
                match admitted {
                    Ok(()) => self.write_own(fx, command, *transaction),
                    Err(error) => fx.reply(command, Err(error.into())),
                }
            }
        }
    }

    /// The check could not be made: nobody is to blame, and a later push is welcome.
    pub(super) fn pool_lost(&mut self, fx: &mut Effects, candidates: Candidates) {
        match candidates {
            Candidates::Pushed(gathered) => {
                self.gatherer.checked();
                for pushed in gathered {
                    self.relay.dropped(&pushed.weighed.id(), fx.now.mono);
                }
                self.check_gathered(fx);
            }
            Candidates::Submitted(command, ..) => fx.reply(command, Err(CommandError::Starting)),
        }
    }

    /// Takes a transaction into the pool, and passes it on unless it must wait for another: what can be in no block yet would
    /// be accounted to us.
    pub(super) fn admit(
        &mut self,
        fx: &mut Effects,
        transaction: &Transaction,
        source: Source,
    ) -> Result<(), AdmissionError> {
        let account = self.account(&transaction.sender());
        self.admit_weighed(fx, Weighed::new(transaction.clone()), &account, source)
    }

    fn admit_weighed(
        &mut self,
        fx: &mut Effects,
        weighed: Weighed,
        account: &Account,
        source: Source,
    ) -> Result<(), AdmissionError> {
        let slot = self.next_slot(fx);
        let transaction = weighed.transaction().clone();
        let admitted = self.mempool.take(weighed, account, slot, source)?;
        told::transaction(&admitted.id);
        self.relay.accepted(&admitted.id);
        // Our own leave when they are durable.
        if admitted.pending && source != Source::Own {
            self.relay.forward_known(admitted.id, &transaction, fx.now.mono);
        }
        self.compact.entered(admitted.id, transaction, fx.now.mono);
        self.pass_on(fx, &admitted.promoted);
        self.notify_mempool(fx);
        Ok(())
    }

    /// Passes on what no longer waits for an earlier one; what a person submitted, once it would survive a crash.
    fn pass_on(&mut self, fx: &Effects, promoted: &[Hash]) {
        let promised = |id: &Hash| {
            self.promises.iter().any(|(_, promise)| match promise {
                Promise::Accepted(_, transaction) => transaction.id() == *id,
                _ => false,
            })
        };
        let promoted: Vec<_> = promoted.iter().filter(|id| !promised(id)).collect();
        for id in promoted {
            if let Some(transaction) = self.mempool.get(id) {
                self.relay.forward_known(*id, transaction, fx.now.mono);
            }
        }
    }

    /// Tells the pool of another head.
    fn move_pool(&mut self, fx: &Effects, changes: impl IntoIterator<Item = (Hash, Account)>) {
        let slot = self.next_slot(fx);
        let moved = self.mempool.on_head(changes, slot);
        self.pass_on(fx, &moved.promoted);
    }

    pub(super) fn notify_mempool(&mut self, fx: &mut Effects) {
        if self.last_mempool_event + EVENT_MILLIS <= fx.now.mono || self.last_mempool_event.0 == 0 {
            self.last_mempool_event = fx.now.mono;
            fx.notify(Event::Mempool);
        }
    }

    /// A person submits a transaction.
    pub(in crate::node) fn submit(&mut self, fx: &mut Effects, command: CommandId, transaction: Transaction) {
        if let Some(reason) = fx.storage_failed.clone() {
            fx.reply(command, Err(CommandError::Storage(reason)));
            return;
        }
        if self.is_light() {
            self.look_up_sender(fx, command, transaction);
        } else if self.starting {
            fx.reply(command, Err(CommandError::Starting));
        } else {
            let account = self.account(&transaction.sender());
            self.submit_from(fx, command, transaction, account);
        }
    }

    /// The same, when it is known what the sender holds.
    pub(super) fn submit_from(
        &mut self,
        fx: &mut Effects,
        command: CommandId,
        transaction: Transaction,
        account: Account,
    ) {
        match self.mempool.check(&transaction, &account, self.next_slot(fx), Source::Own) {
            Ok(()) if self.own.len() >= MAX_OWN => {
                fx.reply(command, Err(AdmissionError::AccountFull.into()));
            }
            Ok(()) => {
                let transactions = Arc::new(vec![transaction.clone()]);
                let job = Job::VerifyTransactions { genesis: self.id, transactions };
                let candidates = Candidates::Submitted(command, Box::new(transaction), account);
                self.jobs.urgent(fx, Purpose::Pool(candidates), job);
            }
            Err(error) => fx.reply(command, Err(error.into())),
        }
    }

    /// Our own transaction is acknowledged, and leaves, once it would survive a crash.
    fn write_own(&mut self, fx: &mut Effects, command: CommandId, transaction: Transaction) {
        let mut batch = Batch::default();
        batch.put(mempool::OWN, transaction.id().0, encode(&transaction));
        let seq = fx.apply_now(batch);
        self.own.insert(transaction.id(), transaction.clone());
        self.promises.push((seq, Promise::Accepted(command, Box::new(transaction))));
    }

    pub(super) fn own_accepted(&mut self, fx: &mut Effects, command: CommandId, transaction: Transaction) {
        self.offer_own(fx, &transaction);
        fx.reply(command, Ok(Reply::Submitted(transaction.id())));
    }

    /// Offers our own transaction to peers. A light peer does not know what others hold that comes before it.
    fn offer_own(&mut self, fx: &Effects, transaction: &Transaction) {
        if self.is_light() || self.mempool.is_pending(&transaction.id()) {
            self.relay.forward(transaction, fx.now.mono);
        }
    }

    /// Our own transactions that left the pool without being executed wait again, those that still can, and are offered to
    /// peers again: after a restart, and whenever the head moves.
    pub(super) fn reinsert_own(&mut self, fx: &mut Effects) {
        let gone = self.own.iter().filter(|(id, _)| !self.mempool.contains(id));
        let mut own: Vec<_> = gone.map(|(_, transaction)| transaction.clone()).collect();
        own.sort_by_key(|transaction| transaction.content.nonce);
        for transaction in own {
            if self.admit(fx, &transaction, Source::Own).is_ok() {
                self.offer_own(fx, &transaction);
            }
        }
    }

    /// A light peer learns what an account holds: its own transactions that are executed there need not be kept, and the
    /// others wait on.
    pub(super) fn follow_account(&mut self, fx: &mut Effects, address: &Address, account: &Account) {
        if !self.is_light() {
            return;
        }
        self.move_pool(fx, [(address.trie_key(), *account)]);
        self.forget_own(fx, |own| own.sender() == *address && own.content.nonce < account.nonce);
        let mut own: Vec<_> = self.own.values().filter(|own| own.sender() == *address).cloned().collect();
        own.sort_by_key(|transaction| transaction.content.nonce);
        let slot = self.next_slot(fx);
        for transaction in own {
            // One that cannot be executed from here waits for that all the same.
            let _ = self.mempool.insert(&transaction, account, slot, Source::Own);
        }
    }

    /// A light peer knows of a newer checkpoint: what had to be in a block before it is settled.
    pub(super) fn forget_expired(&mut self, fx: &mut Effects) {
        let Some(settled) = self.light.as_ref().map(|light| light.header().slot()) else { return };
        self.forget_own(fx, |own| own.content.valid_until < settled);
        self.move_pool(fx, []);
    }

    fn forget_own(&mut self, fx: &mut Effects, is_settled: impl Fn(&Transaction) -> bool) {
        let mut batch = Batch::default();
        self.own.retain(|id, own| {
            let settled = is_settled(own);
            if settled {
                batch.delete(mempool::OWN, id.0);
            }
            !settled
        });
        if !batch.is_empty() {
            fx.apply(batch);
        }
    }

    /// The peer has grown up: what it knew of accounts is replaced by what is at its head.
    pub(super) fn pool_grows_up(&mut self, fx: &mut Effects) {
        let senders: BTreeSet<Address> = self.own.values().map(Transaction::sender).collect();
        let accounts: Vec<_> =
            senders.iter().map(|sender| (sender.trie_key(), self.account(sender))).collect();
        self.move_pool(fx, accounts);
        self.reinsert_own(fx);
    }

    /// The head moved: what is in blocks leaves the pool, and what left the chain comes back.
    pub(super) fn pool_follows(&mut self, fx: &mut Effects, undone: &[Hash], done: &[Hash]) {
        undone.iter().for_each(|hash| self.estimator.undone(hash));
        for hash in done {
            if let Some(recent) = self.recent.get(hash) {
                self.estimator.done(*hash, &recent.body.transactions);
            }
        }
        let changes = self.changes_of(fx, undone, done).unwrap_or_default();
        self.move_pool(fx, changes);
        self.take_back(fx, undone, done);
        self.reinsert_own(fx);
        self.notify_mempool(fx);
    }
}
