//! A name server for tests, on loopback: over UDP for programs, and over HTTPS' plain sister for tabs, whose loopback pages may
//! ask it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use simple_dns::{
    CLASS, CharacterString, Packet, QTYPE, RCODE, ResourceRecord, TYPE, rdata::RData, rdata::TXT,
};

use super::LiveError;

/// How long a page may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may be kept: not at all.
const TTL: u32 = 0;

type Records = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// A running name server. Its threads end with the program.
#[derive(Debug)]
pub struct NameServer {
    records: Records,
    address: SocketAddr,
    web: SocketAddr,
}

impl NameServer {
    /// Starts one that knows no names.
    ///
    /// # Errors
    /// When the system gives it no ports.
    pub fn start() -> Result<Self, LiveError> {
        let failed = |error| LiveError::System { what: "starting a name server".to_owned(), error };
        let records = Records::default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let (address, web) = (socket.local_addr().map_err(failed)?, listener.local_addr().map_err(failed)?);
        let known = records.clone();
        thread::spawn(move || {
            let mut question = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length], &known) {
                    // Whoever asked may have left.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let known = records.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A page that asks for nonsense is not this server's concern.
                let _ = serve(stream, &known);
            }
        });
        Ok(Self { records, address, web })
    }

    /// What the TXT records of a name say from now on.
    pub fn set(&self, name: &str, records: Vec<String>) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), records);
    }

    /// Where programs ask it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where pages ask it (RFC 8484, but for the encryption).
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/dns-query", self.web)
    }
}

fn answer(question: &[u8], records: &Records) -> Option<Vec<u8>> {
    let asked = Packet::parse(question).ok()?;
    let question = asked.questions.first()?;
    let mut reply = Packet::new_reply(asked.id());
    reply.questions.push(question.clone());
    let known = records.lock().unwrap_or_else(PoisonError::into_inner);
    match known.get(&question.qname.to_string().to_ascii_lowercase()) {
        None => *reply.rcode_mut() = RCODE::NameError,
        Some(texts) if question.qtype == QTYPE::TYPE(TYPE::TXT) => {
            for text in texts {
                // A string of a record has at most 255 bytes.
                let mut txt = TXT::new();
                for part in text.as_bytes().chunks(255) {
                    txt.add_char_string(CharacterString::new(part).ok()?.into_owned());
                }
                let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, RData::TXT(txt));
                reply.answers.push(record);
            }
        }
        Some(_) => {}
    }
    reply.build_bytes_vec().ok()
}

fn serve(mut stream: TcpStream, records: &Records) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut asked = Vec::new();
    let mut chunk = [0; 1024];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") && asked.len() < 16 << 10 {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        asked.extend_from_slice(&chunk[..read]);
    }
    let asked = String::from_utf8_lossy(&asked);
    let question = asked.split_once("?dns=").and_then(|(_, rest)| from_base64url(rest.split(' ').next()?));
    let (status, body) = match question.and_then(|question| answer(&question, records)) {
        Some(answer) => ("200 OK", answer),
        None => ("400 Bad Request", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/dns-message\r\ncontent-length: {}\r\n\
         access-control-allow-origin: *\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}
