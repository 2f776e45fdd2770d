//! Against a live server, with bytes no client of ours would send.

use std::sync::{Arc, LazyLock, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use weft_core::{
    chain::UnsignedTransaction,
    mempool::AdmissionError,
    node::{BlockRef, ReachState, ReachView, Role, StatusView},
    primitives::{Address, Amount, Hash, SecretKey, Slot},
};

use super::*;

type Calls = Arc<Mutex<Vec<Command>>>;

/// The token of the servers here.
fn token() -> Token {
    static FILE: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().unwrap());
    Token::load_or_create(&FILE.path().join("rpc.token")).unwrap()
}

/// A server whose peer knows its status, says yes to chat, and no to everything else.
async fn server() -> (RpcServer, Calls) {
    server_within(LIMITS).await
}

async fn server_within(limits: Limits) -> (RpcServer, Calls) {
    let calls = Calls::default();
    let seen = calls.clone();
    let server =
        RpcServer::start_within(limits, ([127, 0, 0, 1], 0).into(), false, token(), move |command| {
            seen.lock().unwrap().push(command.clone());
            async move {
                match command {
                    Command::Status => Ok(Reply::Status(Box::new(status()))),
                    Command::Metrics => Ok(Reply::Metrics(Box::default())),
                    Command::Join(_) | Command::Say(..) => Ok(Reply::Done),
                    Command::Submit(_) => Err(AdmissionError::AccountFull.into()),
                    _ => Err(CommandError::NoChain),
                }
            }
        });
    (server.await.unwrap(), calls)
}

fn status() -> StatusView {
    StatusView {
        peer: "12D3".to_owned(),
        role: Role::Native,
        version: "1".to_owned(),
        peers: 2,
        addresses: vec![],
        reach: ReachView { state: ReachState::Unknown, proven: vec![], relays: vec![] },
        chain: None,
        alarms: vec![],
        refusals: Default::default(),
    }
}

/// Sends a request as bytes and answers with status code and body.
async fn raw(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may refuse before it has read all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (code, body)
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn without_the_token_a_peer_can_be_asked_and_not_commanded() {
    let (server, calls) = server().await;
    let room: weft_core::gossip::Room = "lobby".parse().unwrap();
    let methods: Vec<_> =
        api::methods(Arc::new(|_| Box::pin(async { Err(CommandError::NoChain) }))).method_names().collect();
    assert!(methods.len() > api::READS.len() && api::READS.iter().all(|name| methods.contains(name)));
    for said in ["", "Authorization: Bearer 00\r\n", "Authorization: Basic YTpi\r\n"] {
        for method in &methods {
            let body =
                json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": ["x", "y", "z"]}).to_string();
            let (_, answer) = raw(server.address(), &format!("{HEAD}{said}"), body.as_bytes()).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let refused = answer["error"]["code"] == guard::NEEDS_TOKEN;
            assert_eq!(refused, !api::READS.contains(method), "{method}: {answer}");
        }
    }
    assert!(!calls.lock().unwrap().iter().any(|command| matches!(command, Command::Say(..))));
    let said = format!("{HEAD}Authorization: {}\r\n", token().header());
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "weft_say", "params": [room, "hello"]}).to_string();
    let (_, answer) = raw(server.address(), &said, body.as_bytes()).await;
    assert!(answer.contains("\"result\":null"), "{answer}");
}

async fn call(server: &RpcServer, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let head = format!("{HEAD}Authorization: {}\r\n", token().header());
    let (code, body) = raw(server.address(), &head, body.as_bytes()).await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn methods_map_onto_commands_and_back() {
    let (server, calls) = server().await;
    let client = RpcClient::new(server.address(), Some(&token())).unwrap();
    assert_eq!(client.status().await.unwrap(), status());
    let error = client.account(Address([1; 32])).await.unwrap_err();
    assert!(matches!(&error, RpcFailure::Refused { code: -32001, message } if message.contains("no chain")));
    assert!(client.block(BlockParam::Height(7)).await.is_err());
    assert!(client.block(BlockParam::Hash(Hash([5; 32]))).await.is_err());
    assert!(client.transaction(Hash([6; 32])).await.is_err());
    let key = SecretKey::from_seed([1; 32]);
    let transaction =
        UnsignedTransaction::transfer(key.public(), Address([2; 32]), Amount(1), Amount(2), 3, Slot(4))
            .sign(&key, &Hash([9; 32]));
    let error = client.submit(&transaction).await.unwrap_err();
    assert!(matches!(&error, RpcFailure::Refused { code: -32004, message } if message.contains("as it may")));
    assert_eq!(call(&server, "weft_say", json!(["lobby", "hello"])).await["result"], Value::Null);
    assert_eq!(call(&server, "weft_mempool", json!([])).await["error"]["code"], -32001);
    let room: weft_core::gossip::Room = "lobby".parse().unwrap();
    assert_eq!(
        *calls.lock().unwrap(),
        [
            Command::Status,
            Command::Account(Address([1; 32])),
            Command::Block(BlockRef::Height(7)),
            Command::Block(BlockRef::Hash(Hash([5; 32]))),
            Command::Transaction(Hash([6; 32])),
            Command::Submit(transaction),
            Command::Say(room, "hello".to_owned()),
            Command::Mempool(20),
        ]
    );
}

#[tokio::test]
async fn metrics_are_for_this_machine_too_and_only_to_be_read() {
    let (server, calls) = server().await;
    let (code, text) = raw(server.address(), "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"").await;
    assert_eq!(code, 200);
    assert!(text.contains("weft_connected_peers{link=\"direct\"} 0"), "{text}");
    for head in [
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n",
        "GET /metrics HTTP/1.1\r\nHost: example.com\r\n",
        "GET /metrics/ HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    ] {
        let (code, text) = raw(server.address(), head, b"").await;
        assert!(code >= 400 && !text.contains("weft_"), "{head} {code} {text}");
    }
    assert_eq!(*calls.lock().unwrap(), [Command::Metrics]);
}

#[tokio::test]
async fn who_has_no_token_asks_only_so_much_and_who_has_it_is_not_held_back() {
    let (server, calls) =
        server_within(Limits { asks: Allowance { per_second: 0, burst: 3 }, ..LIMITS }).await;
    let client = RpcClient::new(server.address(), Some(&token())).unwrap();
    for _ in 0..3 {
        client.status().await.unwrap();
    }
    let error = client.status().await.unwrap_err();
    assert!(
        matches!(&error, RpcFailure::Refused { message, .. } if message.contains("too many")),
        "{error:?}"
    );
    let (code, _) = raw(server.address(), "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"").await;
    assert_eq!(code, 429);
    assert_eq!(calls.lock().unwrap().len(), 3);
    assert!(call(&server, "weft_status", json!([])).await["result"].is_object());
}

const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// Asks over a connection, and takes the answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(ASK).await.unwrap();
    hear(stream).await;
}

/// Takes an answer, whose head says how long it is.
async fn hear(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    let (begin, length) = loop {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "it is shown out");
        let text = String::from_utf8_lossy(&heard);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        break (head.len() + 4, length.parse::<usize>().unwrap());
    };
    while heard.len() < begin + length {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "it is shown out");
    }
}

/// Asks once over a connection that it keeps open, and returns what comes until the other side closes it.
async fn until_closed(address: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text).await.unwrap();
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    closed.expect("it is shown out").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_says_nothing_or_stays_for_ever_is_shown_out() {
    let soon = Duration::from_millis(200);
    let (server, _) = server_within(Limits { idle: soon, ..LIMITS }).await;
    for silent in [b"".as_slice(), b"GET /metrics HTTP/1.1\r\nHost: 127."] {
        until_closed(server.address(), silent).await;
    }
    assert!(until_closed(server.address(), ASK).await.contains("weft_connected_peers"));
    let (server, _) = server_within(Limits { stay: soon, ..LIMITS }).await;
    assert!(until_closed(server.address(), ASK).await.contains("weft_connected_peers"));
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_waits_for_one() {
    let (server, _) = server().await;
    let mut guests = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut guest = TcpStream::connect(server.address()).await.unwrap();
        let answered = timeout(Duration::from_secs(20), ask(&mut guest)).await;
        answered.expect("there is a place");
        guests.push(guest);
    }
    let mut late = TcpStream::connect(server.address()).await.unwrap();
    late.write_all(ASK).await.unwrap();
    for guest in &mut guests {
        ask(guest).await;
    }
    let nothing = late.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    guests.pop();
    let answered = timeout(Duration::from_secs(20), hear(&mut late)).await;
    answered.expect("there is a place now");
}

#[tokio::test]
async fn garbage_gets_an_error_and_reaches_nobody() {
    let (server, calls) = server().await;
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"null",
        b"\xff\xfe\x00",
        br#"{"jsonrpc":"1.0","id":1,"method":"weft_status"}"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"weft_status"}]"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"weft_nothing"}"#,
    ];
    for body in bodies {
        let (code, answer) = raw(server.address(), HEAD, body).await;
        assert!(
            code >= 400 || answer.contains("\"error\""),
            "{} {code} {answer}",
            String::from_utf8_lossy(body)
        );
    }
    let long = "00".repeat(1000);
    let deep = "[".repeat(30_000);
    for (method, params) in [
        ("weft_account", json!(["weft1nonsense"])),
        ("weft_account", json!([7])),
        ("weft_block", json!([-1])),
        ("weft_block", json!(["12"])),
        ("weft_transaction", json!([12])),
        ("weft_dial", json!(["/ip4/999.0.0.1"])),
        ("weft_submit", json!(["zz"])),
        ("weft_submit", json!(["00"])),
        ("weft_submit", json!([long])),
        ("weft_say", json!(["NO SUCH ROOM", "x"])),
        ("weft_recentBlocks", json!([-5])),
    ] {
        assert_eq!(call(&server, method, params.clone()).await["error"]["code"], -32602, "{method} {params}");
    }
    raw(server.address(), HEAD, deep.as_bytes()).await;
    raw(server.address(), "\0\0nonsense\r\n", b"").await;
    assert_eq!(*calls.lock().unwrap(), []);
    assert!(call(&server, "weft_status", json!([])).await["result"].is_object(), "still alive");
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused() {
    let (server, calls) = server().await;
    let text = "x".repeat(580 << 10);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "weft_say", "params": ["a", text]}).to_string();
    let (code, _) = raw(server.address(), HEAD, body.as_bytes()).await;
    assert_ne!(code, 200);
    assert_eq!(*calls.lock().unwrap(), []);
}

#[tokio::test]
async fn web_pages_and_other_names_are_refused() {
    let (server, calls) = server().await;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"weft_status","params":[]}"#;
    let json = "Content-Type: application/json\r\n";
    for head in [
        format!("POST / HTTP/1.1\r\nHost: rebound.example\r\n{json}"),
        format!("POST / HTTP/1.1\r\n{json}"),
        format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://example.com\r\n{json}"),
        format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n{json}"),
        format!("OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n{json}"),
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n".to_owned(),
    ] {
        let (code, answer) = raw(server.address(), &head, body).await;
        assert!((400..500).contains(&code), "{head} {code} {answer}");
        assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
    }
    assert_eq!(*calls.lock().unwrap(), []);
    let (code, _) =
        raw(server.address(), &format!("POST / HTTP/1.1\r\nHost: localhost:1\r\n{json}"), body).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn other_machines_are_let_in_only_when_told_so() {
    let call = |_| async { Err(CommandError::NoChain) };
    let error = RpcServer::start(([0, 0, 0, 0], 0).into(), false, token(), call).await.unwrap_err();
    assert!(matches!(error, RpcError::NotLoopback(_)), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_said_in_words() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let call = |_| async { Err(CommandError::NoChain) };
    let error = RpcServer::start(taken.local_addr().unwrap(), false, token(), call).await.unwrap_err();
    assert!(error.to_string().contains("choose another with --rpc"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let address = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = RpcClient::new(address, None).unwrap().status().await.unwrap_err();
    assert!(matches!(&error, RpcFailure::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("is `weft node` running there?"), "{error}");
}
