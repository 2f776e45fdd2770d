//! JSON-RPC over HTTP, as small as it gets: one request a connection.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use weft::rpc::Token;

use super::LiveError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Posts `body` to `path` at `address` and returns the status and the body of the answer.
///
/// # Errors
/// When nobody listens, or what answers is not HTTP.
pub fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, String), LiveError> {
    post_with(address, path, content_type, "", body)
}

/// The same with further lines in the head.
fn post_with(
    address: &str,
    path: &str,
    content_type: &str,
    extra: &str,
    body: &[u8],
) -> Result<(u16, String), LiveError> {
    let system = || LiveError::system(format!("asking {address}"));
    let mut stream = TcpStream::connect(address).map_err(system())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(system())?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{extra}\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(system())?;
    let (status, _, body) = read_answer(stream).map_err(system())?;
    Ok((status, body))
}

/// Gets `path` at `address` and returns the status, the head and the body of the answer.
///
/// # Errors
/// When nobody listens, or what answers is not HTTP.
pub fn get(address: &str, path: &str) -> Result<(u16, String, String), LiveError> {
    let system = || LiveError::system(format!("asking {address}"));
    let mut stream = TcpStream::connect(address).map_err(system())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(system())?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(system())?;
    read_answer(stream).map_err(system())
}

/// The status, the head and the body of an HTTP answer. Not every server closes the connection when asked to, so what the head
/// says of the length counts; without a word of it, the end does.
fn read_answer(stream: impl Read) -> io::Result<(u16, String, String)> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("half an answer: {head}")));
        }
    }
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {head}")))?;
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok());
    let mut body = Vec::new();
    stream.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    Ok((status, head, String::from_utf8_lossy(&body).into_owned()))
}

/// Calls a method of the JSON-RPC server at `address`.
///
/// # Errors
/// When nobody listens, or the answer is an error.
pub fn rpc(address: &str, method: &str, params: Value) -> Result<Value, LiveError> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let token = Token::path(None).and_then(|path| Token::load(&path)).ok();
    let said = token.map(|token| format!("Authorization: {}\r\n", token.header())).unwrap_or_default();
    let (_, body) = post_with(address, "/", "application/json", &said, request.to_string().as_bytes())?;
    let mut answer: Value = serde_json::from_str(&body)
        .map_err(|error| LiveError::Answer(format!("{method} was answered with `{body}`: {error}")))?;
    match answer.get("error") {
        Some(error) => Err(LiveError::Answer(format!("{method} was answered with the error {error}"))),
        None => Ok(answer["result"].take()),
    }
}
