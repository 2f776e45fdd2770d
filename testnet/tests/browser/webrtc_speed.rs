//! How long it takes until two tabs can use a direct connection, and how fast bytes go over it, against js-libp2p's, against what the browser
//! itself needs, and against a WebSocket to a native. Prints numbers, and only where there is time for long tests.

use std::{env, fs};

use serde_json::{Value, json};
use weft_core::content::{CHUNK_BYTES, Maker};
use weft_testnet::live::{answer, in_namespace};

use super::{
    Network,
    direct::only_direct,
    files::put,
    invite::silent,
    js_page::{happens, open},
    tab::Tab,
};

const ROUNDS: usize = 5;
const BYTES: usize = 8 << 20;

/// Two connection objects in one page come together: milliseconds from the first word to an open data channel, and from there until
/// `BYTES` have gone over it in messages of 16 KiB, of which as many wait as ours let wait.
const FLOOR: &str = r#"(async () => {
    const begun = performance.now();
    const [one, two] = [new RTCPeerConnection(), new RTCPeerConnection()];
    for (const [from, to] of [[one, two], [two, one]]) {
        from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
    }
    const sends = one.createDataChannel('');
    const opened = new Promise((done) => { sends.onopen = done; });
    const arrived = new Promise((done) => { two.ondatachannel = ({ channel }) => done(channel); });
    await one.setLocalDescription(await one.createOffer());
    await two.setRemoteDescription(one.localDescription);
    await two.setLocalDescription(await two.createAnswer());
    await one.setRemoteDescription(two.localDescription);
    await opened;
    const usable = performance.now() - begun;
    const hears = await arrived;
    let left = BYTES;
    const all = new Promise((done) => { hears.onmessage = ({ data }) => { left -= data.byteLength; if (left <= 0) done(); }; });
    hears.binaryType = 'arraybuffer';
    sends.bufferedAmountLowThreshold = 64 << 10;
    const sending = performance.now();
    for (let at = 0; at < BYTES; at += 16 << 10) {
        if (sends.bufferedAmount > 256 << 10) {
            await new Promise((done) => { sends.onbufferedamountlow = done; });
        }
        sends.send(new Uint8Array(16 << 10));
    }
    await all;
    const millis = performance.now() - sending;
    one.close();
    two.close();
    return [usable, millis];
})()"#;

fn rate(millis: f64) -> f64 {
    BYTES as f64 / 1e3 / millis
}

fn summary(what: &str, unit: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("{what}: median {median:.1} {unit} ({least:.1} to {most:.1})");
}

/// What a tab that dialled this peer says of the parts, in milliseconds: from the dial to the circuit; and from the signalling stream until
/// they are described, connected, and the connection is usable. That stream begins once the circuit is there and the two know each other.
pub(crate) async fn parts(tab: &Tab, peer: &str) -> [f64; 4] {
    let console = tab.console().await;
    let said = |words: &str| {
        let is_it = |line: &&String| line.contains(words) && line.contains(peer);
        console.iter().rev().find(is_it).unwrap()
    };
    let numbers = |line: &str, after: &str| -> Vec<f64> {
        let words = line.rsplit(after).next().unwrap().split(|c: char| !c.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let [circuit] = numbers(said("a circuit to a peer is open"), "millis=").try_into().unwrap();
    let [described, connected, usable] =
        numbers(said("a direct connection by WebRTC"), "Parts").try_into().unwrap();
    [circuit, described, connected, usable]
}

/// Lets a tab fetch a file; milliseconds from the click until all of it is there.
async fn fetch(tab: &Tab, cid: &str) -> f64 {
    tab.fill("file-cid", cid).await;
    let fetch = format!(
        "new Promise((done) => {{ \
            const begun = performance.now(); \
            document.querySelector('[data-testid=\"file-get\"]').click(); \
            const look = setInterval(() => {{ \
                if (document.querySelector('[data-testid=\"file\"][data-cid=\"{cid}\"][data-state=\"here\"]')) {{ \
                    clearInterval(look); \
                    done(performance.now() - begun); \
                }} \
            }}, 5); \
        }})"
    );
    tab.evaluate(&fetch).await.as_f64().unwrap()
}

/// A file that is unlike others, on this machine, and its name by its content.
fn file(network: &Network, number: usize) -> (std::path::PathBuf, String) {
    let bytes: Vec<u8> = (0..BYTES).map(|at| ((at * at + number * 7_919) >> 9) as u8).collect();
    let mut maker = Maker::default();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    let (name, path) = (format!("{number}.bin"), network.chain.dir().join(format!("{number}.bin")));
    fs::write(&path, &bytes).unwrap();
    (path, maker.finish(&name).cid().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_fast_a_direct_connection_comes_and_carries() {
    if env::var_os("WEFT_FULL").is_none()
        || !in_namespace("webrtc_speed::how_fast_a_direct_connection_comes_and_carries")
    {
        return;
    }
    dials().await;
    transfers().await;
}

/// The browser alone, js-libp2p to js-libp2p, js-libp2p to ours, in turn; then ours to ours.
async fn dials() {
    let network = silent();
    let relay = network.relay.addresses("/ws").remove(0);
    let dir = network.chain.dir();
    let (js, other) = (open(&network.driver, dir, &relay).await, open(&network.driver, dir, &relay).await);
    let mut slots = Vec::new();
    for page in [&js, &other] {
        slots.push(page.until("there is a slot", "window.peer.address()").await.as_str().unwrap().to_owned());
    }
    let host = network.tab().await;
    host.reserved().await;
    let ours = host.peer().await;
    let theirs = other.until("it has begun", "window.peer.id").await.as_str().unwrap().to_owned();
    let (mut floors, mut channels, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
    let (mut between, mut to_ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let floor = js.evaluate(&FLOOR.replace("BYTES", &BYTES.to_string())).await;
        floors.push(floor[0].as_f64().unwrap());
        channels.push(rate(floor[1].as_f64().unwrap()));
        let address = format!("{relay}/p2p-circuit/webrtc/p2p/{ours}");
        for (peer, address, times) in [(&theirs, &slots[1], &mut between), (&ours, &address, &mut to_ours)] {
            js.evaluate(&format!("(window.peer.events.length = 0, window.peer.dial('{address}'))")).await;
            // With itself js-libp2p does not always succeed.
            let went = "window.peer.events.find(it => it.event === 'dialled' || it.event === 'failed')";
            let went = js.until("the dial has ended", went).await;
            match went["millis"].as_f64() {
                Some(millis) => times.push(millis),
                None => println!("a dial of {address} failed: {went}"),
            }
            if *peer == theirs && went["direct"] == true {
                js.evaluate(&format!("window.peer.fetchBytes('{peer}', {BYTES})")).await;
                fetched.push(rate(happens(&js, "fetched", "true").await["millis"].as_f64().unwrap()));
            }
            js.evaluate(&format!("window.peer.hangUp('{peer}')")).await;
            js.until("nothing is left of it", &format!("window.peer.links('{peer}').length === 0")).await;
        }
        println!("round {round}: {floor}");
    }
    summary("two connections in one page, until a channel is open", "ms", floors);
    summary("js-libp2p dials js-libp2p, circuit and all", "ms", between);
    summary("js-libp2p dials ours, circuit and all", "ms", to_ours);
    summary("a channel between two connections in one page", "MB/s", channels);
    summary("a stream from js-libp2p to js-libp2p", "MB/s", fetched);
    let whats = [
        "from the dial to the circuit",
        "from the signalling stream until it is described",
        "from the signalling stream until it is connected",
        "from the signalling stream until it is usable",
        "the circuit, and from the signalling stream until it is usable",
    ];
    let mut times = whats.map(|_| Vec::new());
    let link = host.attribute("invite-link", "href").await;
    let go = format!("location.hash = {}", json!(link.split_once('#').unwrap().1));
    for _ in 0..ROUNDS {
        // As with the others, it is connected to the relay before it dials.
        let guest = network.tab().await;
        guest.evaluate(&go).await;
        only_direct(&guest, &ours).await;
        let [circuit, described, connected, usable] = parts(&guest, &ours).await;
        let all = [circuit, described, connected, usable, circuit + usable];
        times.iter_mut().zip(all).for_each(|(times, millis)| times.push(millis));
        guest.close().await;
    }
    for (what, times) in whats.into_iter().zip(times) {
        summary(&format!("ours dials ours, {what}"), "ms", times);
    }
    for tab in [js, other, host] {
        tab.close().await;
    }
}

/// A file from one tab to another, and from a native to a tab over WebSocket, in turn.
async fn transfers() {
    let network = Network::start();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    only_direct(&two, &one.peer().await).await;
    let rpc = network.relay.rpc_address().trim_start_matches("http://").to_owned();
    let (mut between, mut from_native) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (path, cid) = file(&network, 2 * round);
        put(&one, &path, &cid).await;
        between.push(rate(fetch(&two, &cid).await));
        let (path, cid) = file(&network, 2 * round + 1);
        let mut command = network.chain.weft();
        let put: Value =
            answer(command.args(["--json", "dht", "put"]).arg(&path).args(["--rpc", &rpc])).unwrap();
        assert_eq!(put["cid"], cid.as_str());
        from_native.push(rate(fetch(&two, &cid).await));
    }
    summary("a file from one of our tabs to another by `/webrtc`", "MB/s", between);
    summary("a file from a native to a tab over WebSocket", "MB/s", from_native);
    one.close().await;
    two.close().await;
}
