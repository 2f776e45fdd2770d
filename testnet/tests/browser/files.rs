//! Files that tabs put and get, from natives and from each other.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use weft_core::{
    content::{CHUNK_BYTES, Maker},
    node::Way,
};
use weft_testnet::live::{PATIENCE, Process, answer, in_namespace, rpc, wait_for};

use super::{Network, Tab, begin::native};

/// A file of a few chunks on this machine, its name by its content, and its bytes.
fn file(network: &Network, name: &str, seed: usize) -> (PathBuf, String, Vec<u8>) {
    let bytes: Vec<u8> = (0..3 * CHUNK_BYTES - 77).map(|at| ((at * at + seed) >> 9) as u8).collect();
    let mut maker = Maker::default();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    let path = network.chain.dir().join(name);
    fs::write(&path, &bytes).unwrap();
    (path, maker.finish(name).cid().to_string(), bytes)
}

/// `weft dht ...`, asked of a native.
pub(crate) fn dht(network: &Network, native: &Process, arguments: &[&str]) -> Value {
    let rpc = native.rpc_address().trim_start_matches("http://").to_owned();
    answer(network.chain.weft().args(["--json", "dht"]).args(arguments).args(["--rpc", &rpc])).unwrap()
}

/// A person chooses a file on this machine.
pub(crate) async fn put(tab: &Tab, path: &std::path::Path, cid: &str) {
    tab.shows("[data-testid=\"file-put\"]").await.send_keys(path.to_str().unwrap()).await.unwrap();
    tab.shows("[data-testid=\"file-result\"][data-state=\"put\"]").await;
    here(tab, cid).await;
}

/// A person types the name of a file.
async fn get(tab: &Tab, cid: &str) {
    tab.fill("file-cid", cid).await;
    tab.click("file-get").await;
    tab.shows("[data-testid=\"file-result\"][data-state=\"here\"]").await;
    here(tab, cid).await;
}

async fn here(tab: &Tab, cid: &str) {
    tab.shows(&format!("[data-testid=\"file\"][data-cid=\"{cid}\"][data-state=\"here\"]")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_gets_what_a_native_put_and_a_native_gets_what_a_tab_put() {
    let network = Network::start();
    let tab = network.tab().await;
    let (path, cid, _) = file(&network, "native.bin", 1);
    let put_there = dht(&network, &network.relay, &["put", path.to_str().unwrap()]);
    assert_eq!(put_there["cid"], cid.as_str());
    get(&tab, &cid).await;

    let (path, cid, bytes) = file(&network, "tab.bin", 2);
    put(&tab, &path, &cid).await;
    let to = network.chain.dir().join("from-the-tab.bin");
    dht(&network, &network.relay, &["get", &cid, "-o", to.to_str().unwrap()]);
    assert!(fs::read(&to).unwrap() == bytes, "other bytes came");

    // What names no file is refused at once.
    tab.fill("file-cid", "bafkr4inofile").await;
    tab.click("file-get").await;
    tab.shows("[data-testid=\"file-result\"][data-state=\"refused\"]").await;

    tab.shows(&format!("[data-testid=\"file\"][data-cid=\"{cid}\"][data-told=\"true\"]")).await;
    // Whom it knows in the table, who says that they have the file, and what nobody has.
    tab.fill("table-text", &cid).await;
    tab.click("table-ask").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"found\"]").await;
    let found = tab.text("table-found").await;
    assert!(found.contains(&tab.peer().await), "{found}");
    tab.click("table-trace").await;
    let steps = "[...document.querySelectorAll(\"[data-testid=table-found] li\")].map(it => it.textContent).join(\" \")";
    let told = format!("{steps}.includes(\"bits away\") && {steps}.includes(\"told of\")");
    tab.until("each step is shown", &told).await;
    tab.fill("table-text", "silence").await;
    tab.click("table-ask").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"nobody\"]").await;
    tab.click("table-show").await;
    let known = format!("[data-testid=\"table-buckets\"] [data-full=\"{}\"]", network.relay.peer());
    tab.shows(&known).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_gets_what_another_put_without_the_relay() {
    if !in_namespace("files::a_tab_gets_what_another_put_without_the_relay") {
        return;
    }
    let mut network = Network::start();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    let first = one.peer().await;
    let direct = format!(
        "[data-testid=\"peer\"][data-peer=\"{first}\"] [data-testid=\"link\"][data-state=\"direct\"][data-transport=\"webrtc\"]"
    );
    two.shows(&direct).await;
    let (path, cid, _) = file(&network, "tab.bin", 3);
    put(&one, &path, &cid).await;
    network.relay.kill();
    get(&two, &cid).await;
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_finds_in_the_table_which_tab_has_a_file_and_fetches_it_directly() {
    if !in_namespace("files::a_tab_finds_in_the_table_which_tab_has_a_file_and_fetches_it_directly") {
        return;
    }
    let network = Network::start();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    // Nobody tells them of each other.
    let only = [Way::Bootstrap, Way::Dht];
    for tab in [&one, &two] {
        tab.only(&only).await;
        tab.starts_with(&network, &only).await;
        tab.follows(network.relay.height().unwrap()).await;
    }
    let (path, cid, _) = file(&network, "tab.bin", 4);
    put(&one, &path, &cid).await;
    one.shows(&format!("[data-testid=\"file\"][data-cid=\"{cid}\"][data-told=\"true\"]")).await;
    assert_eq!(two.peers().await, [network.relay.peer()]);
    let first = one.peer().await;
    let direct = format!(
        "[data-testid=\"peer\"][data-peer=\"{first}\"] [data-testid=\"link\"][data-state=\"direct\"][data-transport=\"webrtc\"]"
    );
    tokio::join!(get(&two, &cid), two.shows(&direct));
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_a_reload_interrupts_goes_on_by_itself_with_what_is_missing() {
    const CHUNKS: usize = 16;
    let network = Network::start();
    let bytes: Vec<u8> = (0..CHUNKS * CHUNK_BYTES).map(|at| ((at * at) >> 9) as u8).collect();
    let mut maker = Maker::default();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    let manifest = maker.finish("song.ogg");
    let cid = manifest.cid().to_string();
    // Each has one half of it, and says that it has the file.
    let give = |to: &Process, half: usize| {
        let call = |method, params| rpc(to.rpc_address(), method, params).unwrap();
        call("weft_offerFile", json!([hex::encode(manifest.to_bytes())]));
        for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate().filter(|(index, _)| index % 2 == half) {
            call("weft_putChunk", json!([manifest.cid(), index, hex::encode(chunk)]));
        }
        wait_for("it is said", PATIENCE, || {
            let rpc = to.rpc_address().trim_start_matches("http://").to_owned();
            Ok(answer(network.chain.weft().args(["--json", "dht", "provide", &cid, "--rpc", &rpc])).ok())
        })
        .unwrap();
    };
    let mut first = native(&network, "first", &[]);
    give(&first, 0);
    let tab = network.tab().await;
    tab.fill("file-cid", &cid).await;
    tab.click("file-get").await;
    let file = format!("[data-testid=\"file\"][data-cid=\"{cid}\"]");
    let half = format!("document.querySelector('{file}[data-state=\"coming\"] progress')?.value === 500");
    tab.until("one half of it has come", &half).await;
    // What was stored before a block is stored when that is.
    tab.follows(network.relay.height().unwrap() + 6).await;
    tab.client().goto("about:blank").await.unwrap();
    // Nobody has that half any more but the tab.
    first.kill();
    let second = native(&network, "second", &[]);
    give(&second, 1);
    tab.client().goto(&network.url()).await.unwrap();
    here(&tab, &cid).await;
    tab.close().await;
}
