//! Tabs on chains that are longer than what they keep: where they end, and what they store.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weft_core::primitives::{Hash, encode};
use weft_testnet::{
    fixture::{Extent, LongChain, TestChain},
    live::NodeOptions,
};

use crate::{
    Network,
    storage::{CHAIN, indexed},
    tab::Tab,
};

/// How a tab joins unless its person chooses.
const USUAL: &str = "snap";
/// How long a tab may take to execute all of the long chain.
const PATIENCE: Duration = Duration::from_secs(1_800);
const SLOT_MILLIS: u64 = 1_000;

/// Chains that end now begin then.
fn beginning(blocks: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    now - blocks * SLOT_MILLIS
}

impl Tab {
    /// Waits until the tab shows this block as its last, in this phase.
    async fn ends_at(&self, phase: &str, head: Hash) {
        let shown = format!(
            "document.querySelector('[data-testid=\"sync-state\"]').dataset.phase === '{phase}' \
             && document.querySelector('[data-testid=\"head-hash\"]').dataset.full === '{head}'"
        );
        self.until_within(PATIENCE, &format!("the tab is {phase} at {head}"), &shown).await;
    }

    /// Waits until the bar shows that some blocks are executed and others are not, and the words beside it how fast.
    async fn is_part_of_the_way(&self) {
        let shown = "(() => { \
            const of = id => document.querySelector(`[data-testid=\"${id}\"]`); \
            const [state, bar] = [of('sync-state'), of('sync-progress')]; \
            const [done, total] = [+bar.dataset.done, +bar.dataset.total]; \
            const filled = parseFloat(bar.querySelector('i').style.width) / 100; \
            return state.dataset.phase === 'bodies' && 0 < done && done < total \
              && Math.abs(filled - done / total) < 0.002 && /\\d a second, \\d+ s left/.test(state.textContent); \
        })()";
        self.until("the bar is partly filled", shown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_joins_a_long_chain_where_natives_are_in_each_way() {
    let (blocks, accounts, hand_offs) = match env::var_os("WEFT_FULL") {
        Some(_) => (20_000, 100_000, 8),
        None => (2_000, 5_000, 4),
    };
    let time = beginning(blocks);
    let made = LongChain::growing(&Extent { time, slot_millis: SLOT_MILLIS, blocks, accounts, hand_offs });
    let network = Network::made(&made);
    let native = network.relay.chain().unwrap();
    let tab = network.driver.open(&network.url()).await;
    for (way, phase) in [("snap", "following"), ("light", "light"), ("full", "following")] {
        let begun = Instant::now();
        if way != USUAL {
            tab.choose(way, None).await;
        }
        if way == "full" {
            tab.is_part_of_the_way().await;
        }
        tab.ends_at(phase, native.head).await;
        println!("{way}: {} ms", begun.elapsed().as_millis());
        let (height, hash) = tab.finalised(native.finalised.0).await;
        assert_eq!((height, hash), (native.finalised.0, native.finalised_hash), "{way}");
        let root = tab.attribute("finalised", "data-state-root").await;
        assert_eq!(root, native.finalised_state_root.to_string(), "{way}");
    }
    tab.close().await;
}

/// What a tab has in IndexedDB.
#[derive(Debug)]
struct Stored {
    /// Blocks whose headers and bodies are kept.
    blocks: u64,
    /// The height of the lowest.
    lowest: u64,
    /// The bytes of all values, blocks and rows.
    bytes: u64,
}

async fn stored(tab: &Tab) -> Stored {
    let count = format!(
        "{CHAIN} const db = await open(name); const held = {{}}; \
         const all = db.transaction(db.objectStoreNames); \
         for (const store of db.objectStoreNames) {{ \
           const from = all.objectStore(store); \
           const [keys, values] = [await ended(from.getAllKeys()), await ended(from.getAll())]; \
           const bytes = values.reduce((sum, value) => sum + (value.byteLength ?? 0), 0); \
           const lowest = keys[0] instanceof ArrayBuffer ? Number(new DataView(keys[0]).getBigUint64(0)) : 0; \
           held[store] = {{ rows: keys.length, bytes, lowest }}; \
         }} \
         db.close(); return held;"
    );
    let held = indexed(tab, &count).await;
    let of = |store: &str, what: &str| held[store][what].as_u64().unwrap_or_else(|| panic!("{held}"));
    assert_eq!(of("headers", "rows"), of("bodies", "rows"), "each header has its body: {held}");
    Stored {
        blocks: of("bodies", "rows"),
        lowest: of("bodies", "lowest"),
        bytes: ["headers", "bodies", "journal", "pages"].map(|store| of(store, "bytes")).iter().sum(),
    }
}

/// The most blocks a tab keeps: 1,024 final ones, forgotten 64 at a time, and those that are not final.
const MOST: u64 = 1_024 + 64 + 48;

/// Waits until the tab has forgotten what it may of a chain of this height.
async fn settles(tab: &Tab, height: u64) -> Stored {
    let begun = Instant::now();
    loop {
        let stored = stored(tab).await;
        if stored.lowest + stored.blocks == height + 1 && stored.blocks <= MOST {
            return stored;
        }
        assert!(begun.elapsed() < PATIENCE, "of {height} blocks it stores {stored:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tab_stores_stays_as_it_is_while_the_chain_grows() {
    const SHORT: u64 = 1_500;
    const LONG: u64 = 4_000;
    let genesis = TestChain::new(beginning(LONG), SLOT_MILLIS, 4, 8);
    let (short, long) = (LongChain::paying(&genesis, SHORT), LongChain::paying(&genesis, LONG));
    let everything: u64 = long.blocks.iter().map(|block| encode(block).len() as u64).sum();
    for way in ["full", "snap"] {
        let network = Network::made(&short);
        long.write_data(&network.chain.data("longer")).unwrap();
        let tab = network.driver.open(&network.url()).await;
        let head = short.header(short.height()).hash();
        tab.ends_at("following", head).await;
        if way != USUAL {
            tab.choose(way, None).await;
            tab.ends_at("following", head).await;
        }
        let first = settles(&tab, SHORT).await;

        let bootstrap = network.relay.tcp_addresses();
        let _longer =
            network.chain.node("longer", &NodeOptions { bootstrap, ..NodeOptions::default() }).unwrap();
        tab.ends_at("following", long.header(long.height()).hash()).await;
        let last = settles(&tab, LONG).await;
        println!("{way}: {first:?}, then {last:?}");
        assert!(last.bytes < everything / 2, "{way}: {last:?}, and all blocks are {everything} bytes");
        tab.close().await;
    }
}
