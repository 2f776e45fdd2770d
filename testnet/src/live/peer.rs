//! What a running peer says when asked, in the types that it answers with.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weft_core::{
    chain::Transaction,
    node::{
        AccountView, AuthoritiesView, BlockSummary, BlockView, ChainView, ChatView, PeerView, StatusView,
    },
    primitives::{Address, Hash, encode},
};

use super::{LiveError, PATIENCE, Process, rpc, wait_for};

impl Process {
    /// Asks its JSON-RPC server.
    ///
    /// # Errors
    /// When it does not answer, with an error, or with something else than was asked for.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, LiveError> {
        let answer = rpc(self.rpc_address(), method, params)?;
        serde_json::from_value(answer).map_err(|error| {
            LiveError::Answer(format!("{} answered {method} with nonsense: {error}", self.name()))
        })
    }

    /// Its state.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn status(&self) -> Result<StatusView, LiveError> {
        self.ask("weft_status", json!([]))
    }

    /// The chain as it sees it.
    ///
    /// # Errors
    /// See [`Self::ask`]; also when it follows none.
    pub fn chain(&self) -> Result<ChainView, LiveError> {
        self.status()?.chain.ok_or_else(|| LiveError::Answer(format!("{} follows no chain", self.name())))
    }

    /// The height of its head.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn height(&self) -> Result<u64, LiveError> {
        Ok(self.chain()?.height.0)
    }

    /// Its peers.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn peers(&self) -> Result<Vec<PeerView>, LiveError> {
        self.ask("weft_peers", json!([]))
    }

    /// An account.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn account(&self, address: &Address) -> Result<AccountView, LiveError> {
        self.ask("weft_account", json!([address]))
    }

    /// Who proposes and votes, and what is being decided.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn authorities(&self) -> Result<AuthoritiesView, LiveError> {
        self.ask("weft_authorities", json!([]))
    }

    /// The last blocks of its best chain, newest first.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn blocks(&self, count: usize) -> Result<Vec<BlockSummary>, LiveError> {
        self.ask("weft_recentBlocks", json!([count]))
    }

    /// The block at a height of its best chain.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn block(&self, height: u64) -> Result<BlockView, LiveError> {
        self.ask("weft_block", json!([height]))
    }

    /// Hands it a transaction, and returns the id once it promises to keep it.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn submit(&self, transaction: &Transaction) -> Result<Hash, LiveError> {
        self.ask("weft_submit", json!([hex::encode(encode(transaction))]))
    }

    /// Says something in a room.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn say(&self, room: &str, text: &str) -> Result<(), LiveError> {
        self.ask("weft_say", json!([room, text]))
    }

    /// What it has heard in a room; it takes part in the room from then on.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn heard(&self, room: &str) -> Result<Vec<ChatView>, LiveError> {
        self.ask::<()>("weft_join", json!([room]))?;
        self.ask("weft_history", json!([room]))
    }

    /// Waits until its head is at `height` or above.
    ///
    /// # Errors
    /// When it does not get there in time, or ends.
    pub fn reach(&mut self, height: u64) -> Result<(), LiveError> {
        wait_for(&format!("{} is at height {height}", self.name()), PATIENCE, || {
            self.check()?;
            Ok((self.height()? >= height).then_some(()))
        })
    }

    /// Waits until it knows the block at `height`, or one above, to be final.
    ///
    /// # Errors
    /// When that does not happen in time, or it ends.
    pub fn finalise(&mut self, height: u64) -> Result<(), LiveError> {
        wait_for(&format!("{} has height {height} final", self.name()), PATIENCE, || {
            self.check()?;
            Ok((self.chain()?.finalised.0 >= height).then_some(()))
        })
    }

    /// Waits until its best chain has the transaction in one of its last 64 blocks, and says in which.
    ///
    /// # Errors
    /// When that does not happen in time, or it ends.
    pub fn block_with(&mut self, id: &Hash) -> Result<BlockSummary, LiveError> {
        wait_for(&format!("{} has the transaction {id} in a block", self.name()), PATIENCE, || {
            self.check()?;
            for block in self.blocks(64)?.into_iter().filter(|block| block.transactions > 0) {
                let view: BlockView = self.ask("weft_block", json!([block.hash]))?;
                if view.transactions.iter().any(|transaction| transaction.id == *id) {
                    return Ok(Some(block));
                }
            }
            Ok(None)
        })
    }

    /// Waits until it has heard `text` in a room.
    ///
    /// # Errors
    /// When that does not happen in time, or it ends.
    pub fn hears(&mut self, room: &str, text: &str) -> Result<ChatView, LiveError> {
        wait_for(&format!("{} hears `{text}`", self.name()), PATIENCE, || {
            self.check()?;
            Ok(self.heard(room)?.into_iter().find(|message| message.text == text))
        })
    }
}
