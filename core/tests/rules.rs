//! What core may not reach for, and which folder may name which.
//!
//! These are the rules that keep a peer the same in a tab, on a server and in the simulator: a peer that reads a clock,
//! draws entropy or walks a randomly keyed map does not replay from its seed.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "rules/paths.rs"]
mod paths;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use paths::named;

/// The folders of core, lowest first: each may name itself and those before it.
const FOLDERS: [&str; 13] = [
    "primitives",
    "store",
    "peers",
    "chain",
    "state",
    "finality",
    "mempool",
    "gossip",
    "sync",
    "content",
    "signalling",
    "node",
    "swarm",
];

/// The one folder that joins core to libp2p, whose behaviours read time and entropy themselves.
const EXEMPT: &str = "swarm";

/// Parts of the standard library that are the shell's business, or differ from run to run.
const STD: [&str; 10] = [
    "net",
    "fs",
    "thread",
    "env",
    "process",
    "os",
    "time",
    "random",
    "collections::hash_map",
    "collections::hash_set",
];

/// Crates that are the shell's business, or bring a clock or entropy of their own.
const CRATES: [&str; 12] = [
    "tokio",
    "async_std",
    "smol",
    "getrandom",
    "rand",
    "fastrand",
    "futures_timer",
    "chrono",
    "web_time",
    "instant",
    "hashbrown",
    "ahash",
];

/// Names that mean the same wherever they come from.
const WORDS: [&str; 9] = [
    "HashMap",
    "HashSet",
    "RandomState",
    "Instant",
    "SystemTime",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "thread_rng",
];

/// What `source`, the text of `module`, does that it may not: one line each.
fn broken(source: &str, module: &[&str]) -> Vec<String> {
    let module: Vec<String> = module.iter().map(|&name| name.to_owned()).collect();
    let folder = module.get(1).map(String::as_str);
    let rank = |name: &str| FOLDERS.iter().position(|folder| *folder == name);
    let mut broken = Vec::new();
    for path in named(source, &module) {
        let text = path.segments.join("::");
        let mut report = |why: &str| broken.push(format!("line {}: `{text}` {why}", path.line));
        // A test makes the keys of the peers it plays.
        let plays = path.module.iter().any(|name| name == "tests") && text.starts_with("libp2p::identity::");
        if folder != Some(EXEMPT)
            && !plays
            && let Some(why) = forbidden(&path.segments)
        {
            report(why);
        }
        let [first, named, ..] = path.segments.as_slice() else { continue };
        if first != "crate" {
            continue;
        }
        match (folder.and_then(rank), rank(named)) {
            (Some(own), Some(other)) if other > own => report("is a folder further down"),
            (Some(_), None) => report("is not in a folder"),
            _ => {}
        }
    }
    broken
}

/// Why core may not name this path, if it may not.
fn forbidden(segments: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    if words.iter().any(|word| WORDS.contains(word)) {
        return Some("is a clock, entropy, or ordered at random");
    }
    let begins = |path: &str| {
        let path: Vec<&str> = path.split("::").collect();
        words.get(1..=path.len()) == Some(path.as_slice())
    };
    match words.as_slice() {
        ["std", "time", "Duration", ..] => None,
        ["std"] => None,
        ["std", "*"] | ["std", "collections", "*"] => Some("brings in what it does not name"),
        ["std", ..] if STD.iter().any(|part| begins(part)) => Some("is the shell's business"),
        ["libp2p", "PeerId" | "Multiaddr" | "multiaddr", ..] => None,
        ["libp2p", _, ..] => Some("is libp2p beyond PeerId and Multiaddr"),
        [first, _, ..] if first.starts_with("libp2p_") => Some("is libp2p beyond PeerId and Multiaddr"),
        [first, _, ..] if CRATES.contains(first) => Some("is the shell's business"),
        _ => None,
    }
}

/// The module of a file under `src`: `chain/block.rs` is `crate::chain::block`.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let parts = parts.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    std::iter::once("crate".to_owned()).chain(parts.filter(|part| part != "lib")).collect()
}

/// Calls `visit` with every Rust file under `dir`, by its path under `root`.
fn each_file(root: &Path, dir: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(root, &path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(path.strip_prefix(root).unwrap(), &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn core_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut reports = Vec::new();
    let mut files = 0;
    each_file(&root, &root, &mut |file, source| {
        files += 1;
        let module = module_of(file);
        if module.get(1).is_some_and(|folder| !FOLDERS.contains(&folder.as_str())) {
            reports.push(format!("src/{}: is not in a folder of core", file.display()));
        }
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        reports
            .extend(broken(source, &module).into_iter().map(|why| format!("src/{}: {why}", file.display())));
    });
    assert!(files > 20, "only {files} files were read");
    assert!(reports.is_empty(), "core breaks its rules:\n{}", reports.join("\n"));
}

/// Two lines at the head of a test module make its `#[test]`s run as wasm as well.
#[test]
fn every_unit_test_also_runs_as_wasm() {
    let line = "use wasm_bindgen_test::wasm_bindgen_test as test;";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    each_file(&root, &root, &mut |file, source| {
        let swarm = file.starts_with(EXEMPT) || file == Path::new("swarm.rs");
        assert!(
            swarm || !source.contains("#[test]") || source.contains(line),
            "put at the head of the test module of src/{}:\n#[cfg(target_arch = \"wasm32\")]\n{line}",
            file.display()
        );
    });
}

#[test]
fn no_crate_of_ours_may_have_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    let (_, members) = workspace.split_once("members = [").unwrap();
    for member in members.split_once(']').unwrap().0.split(',').map(|name| name.trim().trim_matches('"')) {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        let (_, lints) = manifest.split_once("\n[lints").unwrap();
        // libFuzzer's entry point is a function with a fixed name, and its macro makes it: nothing is written by hand.
        let denied =
            member == "fuzz" && lints.starts_with(".rust]") && lints.contains("\nunsafe_code = \"deny\"");
        assert!(lints.starts_with("]\nworkspace = true") || denied, "{member} allows unsafe code");
        each_file(&root.join(member), &root.join(member), &mut |file, source| {
            assert!(!source.contains(concat!("allow(", "unsafe")), "{member}/{}", file.display());
        });
    }
}

/// The limits that the text of a file declares.
fn limits(source: &str) -> Vec<&str> {
    let declared = source.lines().filter_map(|line| {
        let (before, after) = line.trim_start().split_once("const ")?;
        let name = after.split_once(':')?.0;
        ((before.is_empty() || before.starts_with("pub")) && name.starts_with("MAX_")).then_some(name)
    });
    declared.collect()
}

#[test]
fn every_limit_is_in_the_list_of_limits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("../docs/SECURITY.md")).unwrap();
    let (_, list) = list.split_once("## Every limit in core").unwrap();
    let list = list.split("\n## ").next().unwrap();
    let mut listed = BTreeMap::new();
    for row in list.lines().filter(|line| line.starts_with("| `")) {
        let mut names = row.split('`').skip(1).step_by(2);
        let file = names.next().unwrap().to_owned();
        listed.insert(file, names.map(str::to_owned).collect::<BTreeSet<_>>());
    }
    let mut declared = BTreeMap::new();
    each_file(&root.join("src"), &root.join("src"), &mut |file, source| {
        let is_test = file.ends_with("tests.rs") || file.iter().any(|part| part == "tests");
        let limits: BTreeSet<_> = limits(source).into_iter().map(str::to_owned).collect();
        if !is_test && !limits.is_empty() {
            declared.insert(file.to_string_lossy().into_owned(), limits);
        }
    });
    assert!(declared.len() > 50, "only {} files have limits", declared.len());
    for (file, limits) in &declared {
        assert_eq!(listed.get(file), Some(limits), "docs/SECURITY.md does not list the limits of {file}");
    }
    let gone: Vec<_> = listed.keys().filter(|file| !declared.contains_key(*file)).collect();
    assert!(gone.is_empty(), "docs/SECURITY.md lists limits of {gone:?}, which have none");
}

#[test]
fn a_limit_is_found_however_it_is_declared() {
    for source in
        ["const MAX_A: usize = 1;", "    pub(super) const MAX_A: u8 = 1;", "pub const MAX_A: u64 =\n 1;"]
    {
        assert_eq!(limits(source), ["MAX_A"], "{source}");
    }
    assert!(limits("// const MAX_A: u8 = 1;\nlet MAX: u8;\nconst MIN_A: u8 = 1;").is_empty());
}

#[test]
fn clocks_entropy_and_io_are_found_however_they_are_named() {
    for source in [
        "fn f() { let now = std::time::Instant::now(); }",
        "use std::time::{Duration, SystemTime};",
        "use std::{collections::BTreeMap, net::IpAddr};",
        "use std::{fs, io};",
        "use std::time;",
        "fn f() { ::std::thread::spawn(|| {}); }",
        "use std::env as surroundings;",
        "use tokio::sync::mpsc;",
        "fn f() -> u8 { rand::rng().random() }",
        "use rand_core::OsRng;",
        "fn f(b: &mut [u8]) { getrandom::fill(b).unwrap() }",
        "use std::collections::{BTreeMap, HashMap};",
        "struct S { seen: std::collections::HashSet<u8> }",
        "use std::collections::*;",
        "use futures_timer::Delay;",
        "use libp2p::{PeerId, swarm::Swarm};",
        "use libp2p_gossipsub::Behaviour;",
        "use libp2p::*;",
        "use libp2p::identity::Keypair;",
    ] {
        assert_eq!(broken(source, &["crate", "node"]).len(), 1, "{source}");
        assert!(broken(source, &["crate", "swarm"]).is_empty(), "swarm is exempt: {source}");
    }
}

#[test]
fn what_core_may_use_passes() {
    for source in [
        "use std::{collections::{BTreeMap, BTreeSet}, time::Duration, sync::Arc};",
        "use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};",
        "use rand_core::TryRng;",
        "struct Now { time: u64 } fn f(now: Now) -> u64 { now.time }",
        "// std::fs is not named here, nor /* std::net */ there\nfn f() {}",
        "/* outer /* std::fs */ std::net */ fn f() {}",
        r##"const A: &str = "std::fs"; const B: &str = r#"say "std::env""#; const C: char = '"'; fn g<'a>() {}"##,
        r#"const A: u8 = b'\''; const B: &[u8] = b"std::fs"; const C: char = '\u{1f}';"#,
        "use crate::{primitives::Hash, store::{Batch, Store as _}};",
        "mod tests { fn f() { libp2p::identity::Keypair::generate_ed25519(); } }",
        "use super::view::StatusView; use self::io::Input;",
        "mod tests { use super::*; use crate::chain::Header; mod deeper { use super::super::Node; } }",
    ] {
        assert_eq!(broken(source, &["crate", "node", "io"]), [""; 0], "{source}");
    }
}

#[test]
fn a_folder_that_names_one_below_it_is_found_however_it_does() {
    for (source, module) in [
        ("use crate::node::Input;", vec!["crate", "store"]),
        ("use crate::{primitives::Hash, chain::{Header, Block}};", vec!["crate", "store"]),
        ("fn f() { crate::swarm::run() }", vec!["crate", "node", "io"]),
        ("use super::super::state::Trie;", vec!["crate", "chain", "block"]),
        ("use super::state;", vec!["crate", "chain"]),
        ("mod tests { use super::super::gossip::Topic; }", vec!["crate", "mempool"]),
        ("pub(crate) use crate::misc::Thing;", vec!["crate", "node"]),
    ] {
        let found = broken(source, &module);
        assert!(!found.is_empty(), "{source}");
    }
}

#[test]
fn a_broken_line_is_named() {
    let found = broken("//! Text.\n\nconst A: &str = \"one\ntwo\";\nuse std::fs;\n", &["crate", "chain"]);
    assert_eq!(found, ["line 5: `std::fs` is the shell's business"]);
}
