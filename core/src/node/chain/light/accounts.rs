//! Accounts for a light peer: each is asked for with a proof under the newest finalised state root.

use libp2p::PeerId;

use super::Light;
use crate::{
    chain::Header,
    node::{
        AccountView, CommandError, CommandId, Protocol, Reply, Verified,
        chain::Chain,
        effects::{Ask, Effects, LightAsk},
    },
    peers::Offence,
    primitives::{Address, Mono, encode},
    sync::{SyncRequest, SyncResponse},
};

/// So many peers are asked for one account, one after the other.
const MAX_TRIES: u32 = 4;

/// A person's question for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct AccountQuestion {
    command: CommandId,
    address: Address,
    /// The checkpoint under whose state root the answer is proven.
    header: Header,
    tries: u32,
}

impl Light {
    /// Whom to ask for an account: whoever has failed least.
    fn account_server(&self, now: Mono) -> Option<PeerId> {
        let height = self.header.height();
        let able = self
            .servers
            .iter()
            .filter(|(_, server)| server.finalised >= height && !server.other && server.resting_until <= now);
        able.min_by_key(|(_, server)| server.failures).map(|(peer, _)| *peer)
    }
}

impl Chain {
    /// Asks for an account that is not here.
    pub(in crate::node) fn light_account(&mut self, fx: &mut Effects, command: CommandId, address: Address) {
        let Some(light) = &self.light else { return };
        if light.header.height().0 == 0 {
            fx.reply(command, Err(CommandError::Starting));
            return;
        }
        let question = AccountQuestion { command, address, header: light.header.clone(), tries: 0 };
        self.ask_account(fx, question);
    }

    fn ask_account(&self, fx: &mut Effects, question: AccountQuestion) {
        let peer = self.light.as_ref().and_then(|light| light.account_server(fx.now.mono));
        let Some(peer) = peer.filter(|_| question.tries < MAX_TRIES) else {
            fx.reply(question.command, Err(CommandError::Unproven));
            return;
        };
        let request =
            SyncRequest::Account { pivot: question.header.hash(), key: question.address.trie_key() };
        fx.ask(peer, Protocol::Sync, Ask::Light(LightAsk::Account(Box::new(question))), encode(&request));
    }

    pub(super) fn account_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        mut question: AccountQuestion,
        response: Option<SyncResponse>,
    ) {
        question.tries += 1;
        let key = question.address.trie_key();
        match response {
            Some(SyncResponse::Account(Some(proof))) => {
                if let Ok(account) = proof.verify(&question.header.content.state_root, &key) {
                    let view = AccountView {
                        address: question.address,
                        balance: account.balance,
                        nonce: account.nonce,
                        next_nonce: account.nonce,
                        pending_balance: account.balance,
                        height: question.header.height(),
                        verified: Verified::Proven,
                    };
                    fx.reply(question.command, Ok(Reply::Account(view)));
                    return;
                }
                fx.offend(peer, Offence::BadProof);
            }
            // The checkpoint may be too old for it, or too new.
            Some(SyncResponse::Account(None) | SyncResponse::Busy) | None => {}
            Some(_) => fx.offend(peer, Offence::Unrequested),
        }
        match &mut self.light {
            Some(light) => {
                light.rest(&peer, fx.now.mono);
                question.header = light.header.clone();
                self.ask_account(fx, question);
            }
            // The peer has grown up meanwhile.
            None => {
                let view = self.account_view(question.address).map(Reply::Account);
                fx.reply(question.command, view);
            }
        }
    }
}
