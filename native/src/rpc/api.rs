//! The methods, and how they map onto the peer's commands.

// The macro's trait and client carry no documentation of their own.
#![allow(missing_docs)]

use std::{future::Future, pin::Pin};

use jsonrpsee::{
    core::{RpcResult, async_trait},
    proc_macros::rpc,
    server::RpcModule,
    types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE},
};
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use weft_core::{
    chain::{Change, Transaction},
    content::{CHUNK_BYTES, Cid, MAX_MANIFEST_BYTES, Manifest},
    gossip::Room,
    node::{
        AccountView, AuthoritiesView, BansView, BlockRef, BlockSummary, BlockView, BucketView, ChatView,
        Command, CommandError, ContentCommand, DhtQuery, DhtTarget, FileView, MempoolView, PeerView, Reply,
        StandingCommand, StatusView, TraceView, TransactionStatus,
    },
    peers::Whom,
    primitives::{Address, Hash, decode},
};

use super::metrics::Call;

/// A block's name: its height as a number, or its hash as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BlockParam {
    /// On the best chain.
    Height(u64),
    /// Anywhere.
    Hash(Hash),
}

/// The blocks or transactions answered when no number is given.
const DEFAULT_COUNT: usize = 20;

/// The methods that change nothing and look nothing up at strangers, which anybody on this machine may call. All others need the token.
pub(super) const READS: &[&str] = &[
    "weft_status",
    "weft_peers",
    "weft_account",
    "weft_block",
    "weft_transaction",
    "weft_recentBlocks",
    "weft_mempool",
    "weft_authorities",
    "weft_bans",
    "weft_routingTable",
    "weft_file",
    "weft_files",
    "weft_readChunk",
    "weft_history",
    "weft_rooms",
];

#[rpc(server, client, namespace = "weft")]
pub(super) trait Api {
    #[method(name = "status")]
    async fn status(&self) -> RpcResult<StatusView>;

    #[method(name = "peers")]
    async fn peers(&self) -> RpcResult<Vec<PeerView>>;

    #[method(name = "dial")]
    async fn dial(&self, address: String) -> RpcResult<()>;

    #[method(name = "account")]
    async fn account(&self, address: Address) -> RpcResult<AccountView>;

    #[method(name = "block")]
    async fn block(&self, block: BlockParam) -> RpcResult<BlockView>;

    #[method(name = "transaction")]
    async fn transaction(&self, id: Hash) -> RpcResult<TransactionStatus>;

    #[method(name = "recentBlocks")]
    async fn recent_blocks(&self, count: Option<usize>) -> RpcResult<Vec<BlockSummary>>;

    #[method(name = "mempool")]
    async fn mempool(&self, count: Option<usize>) -> RpcResult<MempoolView>;

    #[method(name = "submit")]
    async fn submit(&self, transaction: String) -> RpcResult<Hash>;

    #[method(name = "authorities")]
    async fn authorities(&self) -> RpcResult<AuthoritiesView>;

    #[method(name = "propose")]
    async fn propose(&self, change: Change) -> RpcResult<()>;

    #[method(name = "ban")]
    async fn ban(&self, whom: String, millis: u64) -> RpcResult<()>;

    #[method(name = "unban")]
    async fn unban(&self, whom: String) -> RpcResult<()>;

    #[method(name = "trust")]
    async fn trust(&self, peer: String, trust: bool) -> RpcResult<()>;

    #[method(name = "bans")]
    async fn bans(&self) -> RpcResult<BansView>;

    #[method(name = "findPeer")]
    async fn find_peer(&self, peer: String) -> RpcResult<Vec<String>>;

    #[method(name = "provide")]
    async fn provide(&self, key: Hash) -> RpcResult<()>;

    #[method(name = "providers")]
    async fn providers(&self, key: Hash) -> RpcResult<Vec<String>>;

    #[method(name = "trace")]
    async fn trace(&self, target: String) -> RpcResult<TraceView>;

    #[method(name = "routingTable")]
    async fn routing_table(&self) -> RpcResult<Vec<BucketView>>;

    #[method(name = "offerFile")]
    async fn offer_file(&self, manifest: String) -> RpcResult<Vec<u32>>;

    #[method(name = "putChunk")]
    async fn put_chunk(&self, cid: Cid, index: u32, bytes: String) -> RpcResult<()>;

    #[method(name = "fetchFile")]
    async fn fetch_file(&self, cid: Cid, offer: Option<bool>) -> RpcResult<FileView>;

    #[method(name = "file")]
    async fn file(&self, cid: Cid) -> RpcResult<FileView>;

    #[method(name = "files")]
    async fn files(&self) -> RpcResult<Vec<FileView>>;

    #[method(name = "readChunk")]
    async fn read_chunk(&self, cid: Cid, index: u32) -> RpcResult<String>;

    #[method(name = "dropFile")]
    async fn drop_file(&self, cid: Cid) -> RpcResult<()>;

    #[method(name = "join")]
    async fn join(&self, room: Room) -> RpcResult<()>;

    #[method(name = "leave")]
    async fn leave(&self, room: Room) -> RpcResult<()>;

    #[method(name = "say")]
    async fn say(&self, room: Room, text: String) -> RpcResult<()>;

    #[method(name = "history")]
    async fn history(&self, room: Room) -> RpcResult<Vec<ChatView>>;

    #[method(name = "rooms")]
    async fn rooms(&self) -> RpcResult<Vec<Room>>;
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Reply, CommandError>> + Send>>;

struct Peer {
    call: Call,
}

/// The methods over `call`.
pub(super) fn methods(call: Call) -> RpcModule<impl Send + Sync + 'static> {
    Peer { call }.into_rpc()
}

impl Peer {
    async fn ask(&self, command: Command) -> RpcResult<Reply> {
        (self.call)(command).await.map_err(|error| error_object(code(&error), error.to_string()))
    }

    async fn done(&self, command: Command) -> RpcResult<()> {
        self.ask(command).await.map(|_| ())
    }
}

/// The JSON-RPC error code of a refusal: stable, for programs.
#[must_use]
pub const fn code(error: &CommandError) -> i32 {
    match error {
        CommandError::NoChain => -32001,
        CommandError::Starting => -32002,
        CommandError::NoSuchBlock => -32003,
        CommandError::Refused(_) => -32004,
        CommandError::Say(_) => -32005,
        CommandError::TooManyRooms(_) => -32006,
        CommandError::Storage(_) => -32007,
        CommandError::Busy => -32008,
        CommandError::Stopped => -32009,
        CommandError::NoAuthority => -32010,
        CommandError::NoSuchChange => -32011,
        CommandError::Unproven => -32012,
        CommandError::NoSuchTransaction => -32013,
        CommandError::Dht(_) => -32014,
        CommandError::Name(_) => -32015,
        CommandError::Content(_) => -32016,
        CommandError::NotBanned => -32020,
        CommandError::Oneself => -32021,
        CommandError::TooManyDecisions(_) => -32022,
    }
}

fn error_object(code: i32, words: String) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, words, None::<()>)
}

fn invalid(words: impl Into<String>) -> ErrorObjectOwned {
    error_object(INVALID_PARAMS_CODE, words.into())
}

/// Bytes as hex digits, of which there may be so many.
fn from_hex(text: &str, max: usize) -> RpcResult<Vec<u8>> {
    if text.len() > 2 * max {
        return Err(invalid(format!("at most {max} bytes")));
    }
    hex::decode(text).map_err(|error| invalid(format!("not hex: {error}")))
}

fn peer_id(text: &str) -> RpcResult<PeerId> {
    text.parse().map_err(|error| invalid(format!("not a peer id: {error}")))
}

/// A peer's id, or a range of addresses.
fn from_text(whom: &str) -> RpcResult<Whom> {
    match whom.parse() {
        Ok(peer) => Ok(Whom::Peer(peer)),
        Err(_) => {
            whom.parse().map(Whom::Range).map_err(|error| invalid(format!("not a peer id, and {error}")))
        }
    }
}

/// Takes the wanted kind out of a reply.
macro_rules! expect {
    ($reply:expr, $kind:ident) => {
        match $reply {
            Reply::$kind(value) => Ok(value),
            _ => Err(error_object(INTERNAL_ERROR_CODE, "the peer answered another question".to_owned())),
        }
    };
}

#[async_trait]
impl ApiServer for Peer {
    async fn status(&self) -> RpcResult<StatusView> {
        expect!(self.ask(Command::Status).await?, Status).map(|status| *status)
    }

    async fn peers(&self) -> RpcResult<Vec<PeerView>> {
        expect!(self.ask(Command::Peers).await?, Peers)
    }

    async fn dial(&self, address: String) -> RpcResult<()> {
        let address: Multiaddr =
            address.parse().map_err(|error| invalid(format!("not a multiaddress: {error}")))?;
        self.done(Command::Dial(address)).await
    }

    async fn account(&self, address: Address) -> RpcResult<AccountView> {
        expect!(self.ask(Command::Account(address)).await?, Account)
    }

    async fn block(&self, block: BlockParam) -> RpcResult<BlockView> {
        let block = match block {
            BlockParam::Height(height) => BlockRef::Height(height),
            BlockParam::Hash(hash) => BlockRef::Hash(hash),
        };
        expect!(self.ask(Command::Block(block)).await?, Block)
    }

    async fn transaction(&self, id: Hash) -> RpcResult<TransactionStatus> {
        expect!(self.ask(Command::Transaction(id)).await?, Transaction).map(|status| *status)
    }

    async fn recent_blocks(&self, count: Option<usize>) -> RpcResult<Vec<BlockSummary>> {
        expect!(self.ask(Command::RecentBlocks(count.unwrap_or(DEFAULT_COUNT))).await?, Blocks)
    }

    async fn mempool(&self, count: Option<usize>) -> RpcResult<MempoolView> {
        expect!(self.ask(Command::Mempool(count.unwrap_or(DEFAULT_COUNT))).await?, Mempool)
    }

    async fn submit(&self, transaction: String) -> RpcResult<Hash> {
        if transaction.len() > 2 * Transaction::MAX_LEN {
            return Err(invalid(format!("a transaction has at most {} bytes", Transaction::MAX_LEN)));
        }
        let bytes = hex::decode(&transaction).map_err(|error| invalid(format!("not hex: {error}")))?;
        let transaction = decode(&bytes, Transaction::MAX_LEN)
            .map_err(|error| invalid(format!("not a transaction: {error}")))?;
        expect!(self.ask(Command::Submit(transaction)).await?, Submitted)
    }

    async fn authorities(&self) -> RpcResult<AuthoritiesView> {
        expect!(self.ask(Command::Authorities).await?, Authorities)
    }

    async fn propose(&self, change: Change) -> RpcResult<()> {
        self.done(Command::Propose(change)).await
    }

    async fn ban(&self, whom: String, millis: u64) -> RpcResult<()> {
        self.done(Command::Standing(StandingCommand::Ban { whom: from_text(&whom)?, millis })).await
    }

    async fn unban(&self, whom: String) -> RpcResult<()> {
        self.done(Command::Standing(StandingCommand::Unban(from_text(&whom)?))).await
    }

    async fn trust(&self, peer: String, trust: bool) -> RpcResult<()> {
        let peer = peer_id(&peer)?;
        self.done(Command::Standing(StandingCommand::Trust { peer, trust })).await
    }

    async fn bans(&self) -> RpcResult<BansView> {
        expect!(self.ask(Command::Bans).await?, Bans)
    }

    async fn find_peer(&self, peer: String) -> RpcResult<Vec<String>> {
        let peer = peer_id(&peer)?;
        expect!(self.ask(Command::Dht(DhtQuery::FindPeer(peer))).await?, Addresses)
    }

    async fn provide(&self, key: Hash) -> RpcResult<()> {
        self.done(Command::Dht(DhtQuery::Provide(key))).await
    }

    async fn providers(&self, key: Hash) -> RpcResult<Vec<String>> {
        expect!(self.ask(Command::Dht(DhtQuery::Providers(key))).await?, Providers)
    }

    async fn trace(&self, target: String) -> RpcResult<TraceView> {
        let target = match target.parse() {
            Ok(peer) => DhtTarget::Peer(peer),
            Err(_) => DhtTarget::Key(target.parse().map_err(|_| invalid("neither a peer id nor a hash"))?),
        };
        let reply = self.ask(Command::Dht(DhtQuery::Trace(target))).await?;
        expect!(reply, Trace).map(|trace| *trace)
    }

    async fn routing_table(&self) -> RpcResult<Vec<BucketView>> {
        expect!(self.ask(Command::RoutingTable).await?, RoutingTable)
    }

    async fn offer_file(&self, manifest: String) -> RpcResult<Vec<u32>> {
        let bytes = from_hex(&manifest, MAX_MANIFEST_BYTES)?;
        let manifest =
            Manifest::from_bytes(&bytes).map_err(|error| invalid(format!("not a manifest: {error}")))?;
        expect!(self.ask(Command::Content(ContentCommand::Offer(manifest))).await?, Missing)
    }

    async fn put_chunk(&self, cid: Cid, index: u32, bytes: String) -> RpcResult<()> {
        let bytes = from_hex(&bytes, CHUNK_BYTES)?;
        self.done(Command::Content(ContentCommand::Put { cid, index, bytes })).await
    }

    async fn fetch_file(&self, cid: Cid, offer: Option<bool>) -> RpcResult<FileView> {
        let fetch = ContentCommand::Fetch { cid, offer: offer.unwrap_or(true) };
        expect!(self.ask(Command::Content(fetch)).await?, File).map(|file| *file)
    }

    async fn file(&self, cid: Cid) -> RpcResult<FileView> {
        expect!(self.ask(Command::Content(ContentCommand::Show(cid))).await?, File).map(|file| *file)
    }

    async fn files(&self) -> RpcResult<Vec<FileView>> {
        expect!(self.ask(Command::Content(ContentCommand::List)).await?, Files)
    }

    async fn read_chunk(&self, cid: Cid, index: u32) -> RpcResult<String> {
        let reply = self.ask(Command::Content(ContentCommand::Read { cid, index })).await?;
        expect!(reply, Chunk).map(hex::encode)
    }

    async fn drop_file(&self, cid: Cid) -> RpcResult<()> {
        self.done(Command::Content(ContentCommand::Drop(cid))).await
    }

    async fn join(&self, room: Room) -> RpcResult<()> {
        self.done(Command::Join(room)).await
    }

    async fn leave(&self, room: Room) -> RpcResult<()> {
        self.done(Command::Leave(room)).await
    }

    async fn say(&self, room: Room, text: String) -> RpcResult<()> {
        self.done(Command::Say(room, text)).await
    }

    async fn history(&self, room: Room) -> RpcResult<Vec<ChatView>> {
        expect!(self.ask(Command::History(room)).await?, History)
    }

    async fn rooms(&self) -> RpcResult<Vec<Room>> {
        expect!(self.ask(Command::Rooms).await?, Rooms)
    }
}
