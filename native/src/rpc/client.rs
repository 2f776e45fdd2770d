//! The commands' side of the RPC.

use std::{fmt, net::SocketAddr, time::Duration};

use jsonrpsee::core::{BoxError, client::Error};
use jsonrpsee_http_client::{HeaderMap, HeaderValue, HttpClient, HttpClientBuilder, transport};
use libp2p::PeerId;
use weft_core::{
    chain::{Change, Transaction},
    content::{Cid, Manifest},
    node::{
        AccountView, AuthoritiesView, BansView, BlockView, BucketView, FileView, MempoolView, PeerView,
        StandingCommand, StatusView, TraceView, TransactionStatus,
    },
    peers::Whom,
    primitives::{Address, Hash, encode},
};

use super::{
    MAX_REQUEST, MAX_RESPONSE, Token,
    api::{ApiClient, BlockParam},
    guard::TOO_MANY,
};

/// The code of [`RpcFailure::Refused`] for whoever asked too much.
const TOO_MANY_CODE: i32 = -32031;

/// How long an answer may take; a submitted transaction is answered once it is on disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a question to a peer has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcFailure {
    /// The peer was reached and said no.
    #[error("{message}")]
    Refused {
        /// The JSON-RPC error code.
        code: i32,
        /// Why, in the peer's words.
        message: String,
    },
    /// Nobody answered, or not as a peer does.
    #[error("cannot reach a peer's RPC at {address}: {reason}; is `weft node` running there?")]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
}

/// A running peer, asked over its RPC.
pub struct RpcClient {
    address: SocketAddr,
    /// For what changes nothing and asks no strangers.
    http: HttpClient,
    /// For the rest: says the token, which is nobody's business who only answers questions.
    commands: HttpClient,
}

impl RpcClient {
    /// A client of the peer whose RPC listens on `address`. Without the token it can only ask. Nothing is sent yet.
    ///
    /// # Errors
    /// When no client can be made for the address.
    pub fn new(address: SocketAddr, token: Option<&Token>) -> Result<Self, RpcFailure> {
        let said = token.and_then(|token| HeaderValue::from_str(&token.header()).ok());
        let mut headers = HeaderMap::new();
        if let Some(said) = said {
            headers.insert("authorization", said);
        }
        let client = |headers| {
            HttpClientBuilder::default()
                .max_request_size(MAX_REQUEST)
                .max_response_size(MAX_RESPONSE)
                .request_timeout(PATIENCE)
                .set_headers(headers)
                .build(format!("http://{address}"))
                .map_err(|error| RpcFailure::Unreachable { address, reason: words(&error) })
        };
        Ok(Self { address, http: client(HeaderMap::new())?, commands: client(headers)? })
    }

    /// The state of the peer.
    ///
    /// # Errors
    /// As every question here: when the peer refuses or cannot be reached.
    pub async fn status(&self) -> Result<StatusView, RpcFailure> {
        self.answer(ApiClient::status(&self.http).await)
    }

    /// Who is connected to it.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, RpcFailure> {
        self.answer(ApiClient::peers(&self.http).await)
    }

    /// An account, and how the peer knows.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn account(&self, address: Address) -> Result<AccountView, RpcFailure> {
        self.answer(ApiClient::account(&self.http, address).await)
    }

    /// A block with its transactions.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn block(&self, block: BlockParam) -> Result<BlockView, RpcFailure> {
        self.answer(ApiClient::block(&self.http, block).await)
    }

    /// Where a transaction is, and how the peer knows.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn transaction(&self, id: Hash) -> Result<TransactionStatus, RpcFailure> {
        self.answer(ApiClient::transaction(&self.http, id).await)
    }

    /// Who proposes and votes, and what is being decided.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn authorities(&self) -> Result<AuthoritiesView, RpcFailure> {
        self.answer(ApiClient::authorities(&self.http).await)
    }

    /// Lets the peer's authority ask for a change of the set; durable at the peer when this returns.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn propose(&self, change: &Change) -> Result<(), RpcFailure> {
        self.answer(ApiClient::propose(&self.commands, change.clone()).await)
    }

    /// Lets the peer think otherwise of another.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn decide(&self, command: StandingCommand) -> Result<(), RpcFailure> {
        let name = |whom| match whom {
            Whom::Peer(peer) => peer.to_string(),
            Whom::Range(range) => range.to_string(),
        };
        self.answer(match command {
            StandingCommand::Ban { whom, millis } => ApiClient::ban(&self.commands, name(whom), millis).await,
            StandingCommand::Unban(whom) => ApiClient::unban(&self.commands, name(whom)).await,
            StandingCommand::Trust { peer, trust } => {
                ApiClient::trust(&self.commands, peer.to_string(), trust).await
            }
        })
    }

    /// Whom the peer has banned, and whom it trusts.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn bans(&self) -> Result<BansView, RpcFailure> {
        self.answer(ApiClient::bans(&self.http).await)
    }

    /// Where a peer is, as the distributed hash table says; empty when nobody knows.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn find_peer(&self, peer: &PeerId) -> Result<Vec<String>, RpcFailure> {
        self.answer(ApiClient::find_peer(&self.commands, peer.to_string()).await)
    }

    /// Lets the peer tell the distributed hash table that it has what this key names, while it runs.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn provide(&self, key: Hash) -> Result<(), RpcFailure> {
        self.answer(ApiClient::provide(&self.commands, key).await)
    }

    /// The ids of those who say they have what this key names.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn providers(&self, key: Hash) -> Result<Vec<String>, RpcFailure> {
        self.answer(ApiClient::providers(&self.commands, key).await)
    }

    /// A lookup of a peer id or a key, step by step.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn trace(&self, target: String) -> Result<TraceView, RpcFailure> {
        self.answer(ApiClient::trace(&self.commands, target).await)
    }

    /// Whom the peer knows in the distributed hash table.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn routing_table(&self) -> Result<Vec<BucketView>, RpcFailure> {
        self.answer(ApiClient::routing_table(&self.http).await)
    }

    /// Makes a place for a file at the peer. Returns the chunks that are not there.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn offer_file(&self, manifest: &Manifest) -> Result<Vec<u32>, RpcFailure> {
        self.answer(ApiClient::offer_file(&self.commands, hex::encode(manifest.to_bytes())).await)
    }

    /// Hands over a chunk of a file that has a place.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn put_chunk(&self, cid: Cid, index: u32, bytes: &[u8]) -> Result<(), RpcFailure> {
        self.answer(ApiClient::put_chunk(&self.commands, cid, index, hex::encode(bytes)).await)
    }

    /// Lets the peer fetch a file in the background, and tell others that it has it unless `offer` is false.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn fetch_file(&self, cid: Cid, offer: bool) -> Result<FileView, RpcFailure> {
        self.answer(ApiClient::fetch_file(&self.commands, cid, Some(offer)).await)
    }

    /// How it is with a file.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn file(&self, cid: Cid) -> Result<FileView, RpcFailure> {
        self.answer(ApiClient::file(&self.http, cid).await)
    }

    /// The files that are at the peer, or coming.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn files(&self) -> Result<Vec<FileView>, RpcFailure> {
        self.answer(ApiClient::files(&self.http).await)
    }

    /// A chunk of a file.
    ///
    /// # Errors
    /// See [`Self::status`]; [`RpcFailure::Unreachable`] too when the peer answers something that is no bytes.
    pub async fn read_chunk(&self, cid: Cid, index: u32) -> Result<Vec<u8>, RpcFailure> {
        let text = self.answer(ApiClient::read_chunk(&self.http, cid, index).await)?;
        hex::decode(text)
            .map_err(|error| RpcFailure::Unreachable { address: self.address, reason: words(&error) })
    }

    /// Lets the peer let a file go.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn drop_file(&self, cid: Cid) -> Result<(), RpcFailure> {
        self.answer(ApiClient::drop_file(&self.commands, cid).await)
    }

    /// The mempool with its `count` best transactions.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn mempool(&self, count: usize) -> Result<MempoolView, RpcFailure> {
        self.answer(ApiClient::mempool(&self.http, Some(count)).await)
    }

    /// Hands over a signed transaction; it is durable at the peer when this returns its id.
    ///
    /// # Errors
    /// See [`Self::status`].
    pub async fn submit(&self, transaction: &Transaction) -> Result<Hash, RpcFailure> {
        self.answer(ApiClient::submit(&self.commands, hex::encode(encode(transaction))).await)
    }

    fn answer<T>(&self, outcome: Result<T, Error>) -> Result<T, RpcFailure> {
        outcome.map_err(|error| match error {
            Error::Call(error) => {
                RpcFailure::Refused { code: error.code(), message: error.message().to_owned() }
            }
            Error::Transport(error) if is_too_many(&error) => RpcFailure::Refused {
                code: TOO_MANY_CODE,
                message: "too many questions in a short time; ask again in a moment".to_owned(),
            },
            error => RpcFailure::Unreachable { address: self.address, reason: words(&error) },
        })
    }
}

fn is_too_many(error: &BoxError) -> bool {
    matches!(error.downcast_ref(), Some(transport::Error::Rejected { status_code: TOO_MANY }))
}

/// An error with its causes: what the outermost says is seldom enough.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient").field("address", &self.address).finish_non_exhaustive()
    }
}
