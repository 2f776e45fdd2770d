//! JSON-RPC over HTTP, as small as it gets: one request a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::LiveError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Posts `body` to `/` at `address` and returns the status and the body of the answer.
///
/// # Errors
/// When nobody listens, or what answers is not HTTP.
pub fn post(address: &str, content_type: &str, body: &[u8]) -> Result<(u16, String), LiveError> {
    let system = || LiveError::system(format!("asking {address}"));
    let mut stream = TcpStream::connect(address).map_err(system())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(system())?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(system())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(system())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| LiveError::Answer(format!("{address} answered `{head}`")))?;
    Ok((status, body.to_owned()))
}

/// Calls a method of the JSON-RPC server at `address`.
///
/// # Errors
/// When nobody listens, or the answer is an error.
pub fn rpc(address: &str, method: &str, params: Value) -> Result<Value, LiveError> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (_, body) = post(address, "application/json", request.to_string().as_bytes())?;
    let mut answer: Value = serde_json::from_str(&body)
        .map_err(|error| LiveError::Answer(format!("{method} was answered with `{body}`: {error}")))?;
    match answer.get("error") {
        Some(error) => Err(LiveError::Answer(format!("{method} was answered with the error {error}"))),
        None => Ok(answer["result"].take()),
    }
}
