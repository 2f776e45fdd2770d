//! Fetching a signed list of peers: a small file over HTTP, with or without TLS, or from this machine's disk.
//!
//! What comes is believed for its signature, so plain HTTP will do. No redirection is followed: whoever names a place
//! means that one.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use weft_core::{node::Input, peers::MAX_NODE_LIST_BYTES, swarm::InputSender};

/// How long a list may take, from the question to its last byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fetches lists, and tells the driver what came.
pub(crate) struct ListFetcher {
    tls: Arc<ClientConfig>,
    inputs: InputSender,
}

impl ListFetcher {
    pub(crate) fn new(inputs: &InputSender) -> Self {
        Self::trusting(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(), inputs)
    }

    fn trusting(roots: RootCertStore, inputs: &InputSender) -> Self {
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().expect("ring speaks TLS 1.3");
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        Self { tls: Arc::new(tls), inputs: inputs.clone() }
    }

    /// Fetches a list; what came is an input for the driver. Does not block.
    pub(crate) fn fetch(&self, url: String) {
        let (tls, inputs) = (self.tls.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let late = || Err(format!("no answer within {} seconds", PATIENCE.as_secs()));
            let outcome = timeout(PATIENCE, bytes(&url, tls)).await.unwrap_or_else(|_| late());
            inputs.send(Input::ListFetched { url, outcome });
        });
    }
}

async fn bytes(url: &str, tls: Arc<ClientConfig>) -> Result<Vec<u8>, String> {
    if let Some(path) = url.strip_prefix("file://") {
        return read(path).await.map_err(|error| error.to_string());
    }
    let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
    let authority = uri.authority().ok_or("the URL names no server")?;
    let secure = uri.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    // IPv6 addresses have brackets around them here.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, "application/json")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    if secure {
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream =
            TlsConnector::from(tls).connect(name, stream).await.map_err(|error| error.to_string())?;
        ask(stream, request).await
    } else {
        ask(stream, request).await
    }
}

async fn ask<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Vec<u8>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let no_http = |error: hyper::Error| format!("the server does not speak HTTP ({error})");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let work = async move {
        let response = sender.send_request(request).await.map_err(no_http)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_NODE_LIST_BYTES).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| {
            match error.downcast::<LengthLimitError>() {
                Ok(_) => format!("it has more than {MAX_NODE_LIST_BYTES} bytes"),
                Err(error) => error.to_string(),
            }
        })
    };
    tokio::pin!(work, connection);
    // The connection has to be driven for as long as the answer takes, and ends with it.
    tokio::select! {
        outcome = &mut work => outcome,
        _ = &mut connection => work.await,
    }
}

async fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).await?;
    // One more than allowed is enough to be refused.
    file.take(MAX_NODE_LIST_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tempfile::TempDir;
    use tokio::{io::AsyncWriteExt, net::TcpListener};
    use tokio_rustls::TlsAcceptor;
    use weft_core::swarm::inputs;

    use super::*;

    async fn fetched(roots: RootCertStore, url: &str) -> Result<Vec<u8>, String> {
        let (sender, mut inbox) = inputs();
        ListFetcher::trusting(roots, &sender).fetch(url.to_owned());
        match inbox.next().await {
            Some(Input::ListFetched { url: told, outcome }) if told == url => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Reads one question and answers it.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Vec<u8>) {
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            question.push(stream.read_u8().await.unwrap());
        }
        assert!(
            question.starts_with(b"GET /list.json?a=b HTTP/1.1\r\n"),
            "{}",
            String::from_utf8_lossy(&question)
        );
        // Whoever has read enough is gone.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }

    /// Fetches from a server that answers this.
    async fn from_server(text: Vec<u8>) -> Result<Vec<u8>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/list.json?a=b", listener.local_addr().unwrap());
        let served = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, text).await });
        let outcome = fetched(RootCertStore::empty(), &url).await;
        served.await.unwrap();
        outcome
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }

    #[tokio::test]
    async fn a_list_comes_whole_or_with_a_reason_why_not() {
        assert_eq!(from_server(ok(b"{}")).await.unwrap(), b"{}");
        let long = from_server(ok(&vec![b' '; MAX_NODE_LIST_BYTES + 1])).await.unwrap_err();
        assert!(long.contains("more than 65536 bytes"), "{long}");
        let moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
        assert!(from_server(moved.to_vec()).await.unwrap_err().contains("302"));
        assert!(
            from_server(b"SSH-2.0-nobody\r\n".to_vec()).await.unwrap_err().contains("does not speak HTTP")
        );
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec();
        assert!(from_server(cut).await.is_err());
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_what_a_list_may_have() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("list.json");
        let url = format!("file://{}", path.display());
        assert!(fetched(RootCertStore::empty(), &url).await.is_err());
        std::fs::write(&path, b"{}").unwrap();
        assert_eq!(fetched(RootCertStore::empty(), &url).await.unwrap(), b"{}");
        std::fs::write(&path, vec![b' '; 2 * MAX_NODE_LIST_BYTES]).unwrap();
        assert_eq!(fetched(RootCertStore::empty(), &url).await.unwrap().len(), MAX_NODE_LIST_BYTES + 1);
    }

    #[tokio::test]
    async fn over_tls_the_server_must_show_a_certificate_of_an_authority_that_is_trusted() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let acceptor =
            TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate.clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/list.json?a=b", listener.local_addr().unwrap().port());
        let served = tokio::spawn(async move {
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, ok(b"{}")).await;
                }
            }
        });
        let refused = fetched(RootCertStore::empty(), &url).await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        assert_eq!(fetched(roots, &url).await.unwrap(), b"{}");
        served.await.unwrap();
    }
}
