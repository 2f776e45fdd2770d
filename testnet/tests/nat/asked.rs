//! A router that opens ports when it is asked: as little of an Internet gateway device (UPnP IGD 1, WANIPConnection) as a peer needs. It is
//! found by multicast (SSDP), tells over HTTP what can be asked, and passes on what comes to the port that was asked for.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    thread,
};

use weft_testnet::live::{PATIENCE, Process, wait_for};

use super::street::Space;

/// Set for the run of [`router`] that is one.
const IS_ROUTER: &str = "WEFT_TEST_IS_ROUTER";
/// Of the first router in a street: to its house, and to the street.
const INNER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const OUTER: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 10);
/// Where routers are asked for.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const PORT: u16 = 1900;
const HTTP: u16 = 5000;

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
const ARGUMENTS: [&str; 8] = [
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];

/// Lets the first router of a street be asked.
pub(super) fn start(space: &Space, dir: &Path) -> Process {
    let mut command = space.inside(&Command::new(env::current_exe().unwrap()));
    command.args(["--exact", "asked::router", "--nocapture"]).env(IS_ROUTER, "1");
    let mut router = Process::start("router", command, dir).unwrap();
    wait_for("the router listens", PATIENCE, || {
        router.check()?;
        Ok(router.lines().iter().any(|line| line.contains("listening")).then_some(()))
    })
    .unwrap();
    router
}

/// The ports that it has opened.
pub(super) fn opened(router: &mut Process) -> Vec<String> {
    let lines = router.lines();
    lines.iter().filter_map(|line| line.strip_prefix("opened ")).map(str::to_owned).collect()
}

/// Not a test but the router, in the process that is one.
#[test]
fn router() {
    if env::var_os(IS_ROUTER).is_none() {
        return;
    }
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    asked.join_multicast_v4(&GROUP, &INNER).unwrap();
    let pages = TcpListener::bind((INNER, HTTP)).unwrap();
    thread::spawn(move || {
        for connection in pages.incoming() {
            answer(connection.unwrap());
        }
    });
    println!("\nlistening");
    let mut packet = [0; 2048];
    loop {
        let (len, from) = asked.recv_from(&mut packet).unwrap();
        if packet[..len].starts_with(b"M-SEARCH ") {
            let here = format!(
                "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: http://{INNER}:{HTTP}/root.xml\r\n\r\n"
            );
            asked.send_to(here.as_bytes(), from).unwrap();
        }
    }
}

/// Answers one request.
fn answer(mut connection: TcpStream) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut head, mut len) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begin = head.len();
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
        if let Some(value) = head[begin..].to_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let page = page(head.split(' ').nth(1).unwrap(), &String::from_utf8(body).unwrap());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    connection.write_all((head + &page).as_bytes()).unwrap();
}

fn page(path: &str, body: &str) -> String {
    let answered = |action: &str, with: &str| {
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <u:{action}Response xmlns:u=\"{SERVICE}\">{with}</u:{action}Response></s:Body></s:Envelope>"
        )
    };
    match path {
        "/root.xml" => format!(
            "<root><device><serviceList><service><serviceType>{SERVICE}</serviceType>\
             <SCPDURL>/actions.xml</SCPDURL><controlURL>/control</controlURL>\
             </service></serviceList></device></root>"
        ),
        "/actions.xml" => {
            let argument =
                |name| format!("<argument><name>{name}</name><direction>in</direction></argument>");
            format!(
                "<scpd><actionList><action><name>AddPortMapping</name><argumentList>{}</argumentList>\
                 </action></actionList></scpd>",
                ARGUMENTS.map(argument).concat()
            )
        }
        _ if body.contains("GetExternalIPAddress") => {
            answered("GetExternalIPAddress", &format!("<NewExternalIPAddress>{OUTER}</NewExternalIPAddress>"))
        }
        _ => {
            assert!(body.contains("AddPortMapping"), "{path}: {body}");
            open(body);
            answered("AddPortMapping", "")
        }
    }
}

/// Passes on what comes to a port.
fn open(asked: &str) {
    let of = |name: &str| {
        let (_, rest) = asked.split_once(&format!("<{name}>")).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let (protocol, port) = (of("NewProtocol"), of("NewExternalPort"));
    let to = format!("{}:{}", of("NewInternalClient"), of("NewInternalPort"));
    let rules = format!(
        "add rule ip router before iifname street {} dport {port} dnat to {to}; \
         add rule ip router through ct status dnat accept",
        protocol.to_lowercase()
    );
    assert!(Command::new("nft").arg(rules).status().unwrap().success());
    println!("opened {protocol} {port} to {to}");
}
