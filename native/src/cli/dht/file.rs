//! `weft dht put`, `get` and `files`: a file goes to and from the peer chunk by chunk, and is whole in memory nowhere.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;
use weft_core::{
    content::{CHUNK_BYTES, Maker, Manifest},
    node::{FileState, FileView},
};

use super::{GetArgs, PutArgs};
use crate::cli::{
    Failure, Output, RpcArgs, Screen,
    output::{columns, printable},
};

/// How often a peer that is waited for is asked.
const LOOK: Duration = Duration::from_millis(250);
/// How long it is waited for somebody to hear that the file is here. The peer goes on telling.
const TELL: Duration = Duration::from_secs(10);

fn local(path: &Path, error: &io::Error) -> Failure {
    Failure::LocalFile(format!("{}: {error}", path.display()))
}

/// The next chunk of a file: empty at its end.
fn read_chunk(file: &mut File) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

fn manifest(path: &Path) -> Result<Manifest, Failure> {
    let mut file = File::open(path).map_err(|error| local(path, &error))?;
    let mut maker = Maker::default();
    loop {
        let chunk = read_chunk(&mut file).map_err(|error| local(path, &error))?;
        if chunk.is_empty() {
            break;
        }
        maker.add(&chunk).map_err(|error| Failure::LocalFile(format!("{}: {error}", path.display())))?;
    }
    Ok(maker.finish(&path.file_name().unwrap_or_default().to_string_lossy()))
}

pub(super) async fn put(args: &PutArgs, output: Output, screen: &Screen) -> Result<(), Failure> {
    let path = &args.file;
    let manifest = manifest(path)?;
    let cid = manifest.cid();
    let client = args.rpc.client()?;
    let missing = client.offer_file(&manifest).await?;
    let mut file = File::open(path).map_err(|error| local(path, &error))?;
    for index in 0..manifest.count() as u32 {
        let chunk = read_chunk(&mut file).map_err(|error| local(path, &error))?;
        if !manifest.is_chunk(index, &chunk) {
            return Err(Failure::LocalFile(format!("{} changed while it was read", path.display())));
        }
        if missing.contains(&index) {
            client.put_chunk(cid, index, &chunk).await?;
        }
        if !output.is_json() {
            let permille = u64::from(index) * 1000 / manifest.count().max(1) as u64;
            screen.show_at(permille, format!("handing {} to the peer", printable(&path.to_string_lossy())));
        }
    }
    screen.clear();
    let mut view = client.file(cid).await?;
    let mut waited = Duration::ZERO;
    while !view.told && waited < TELL {
        sleep(LOOK).await;
        waited += LOOK;
        view = client.file(cid).await?;
    }
    if !view.told {
        output.note(
            "nobody in the distributed hash table has heard of it yet; the peer goes on trying while it runs",
        );
    }
    output.print(&json!({ "cid": cid, "bytes": manifest.bytes(), "told": view.told }), || cid.to_string());
    Ok(())
}

pub(super) async fn get(args: &GetArgs, output: Output, screen: &Screen) -> Result<(), Failure> {
    let client = args.rpc.client()?;
    let mut view = client.fetch_file(args.cid, !args.no_provide).await?;
    while view.state == FileState::Coming {
        if !output.is_json() {
            screen.show_at(view.permille(), view.to_string());
        }
        sleep(LOOK).await;
        view = client.file(args.cid).await?;
    }
    screen.clear();
    if view.state != FileState::Here {
        let why = view.problem.unwrap_or_else(|| "somebody has let it go meanwhile".to_owned());
        return Err(Failure::Failed(why));
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None if view.name.is_empty() => PathBuf::from(args.cid.to_string()),
        None => PathBuf::from(&view.name),
    };
    let part = beside(&path);
    let written = write(&client, args, &view, &path, &part).await;
    if written.is_err() {
        // What cannot be removed was not written either.
        let _ = fs::remove_file(&part);
    }
    written?;
    let bytes = view.bytes.unwrap_or_default();
    output.print(&json!({ "cid": args.cid, "file": path, "bytes": bytes }), || {
        format!("{bytes} bytes in {}", printable(&path.to_string_lossy()))
    });
    Ok(())
}

/// The file is written beside its place first, so that there is never half of it in its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

async fn write(
    client: &crate::rpc::RpcClient,
    args: &GetArgs,
    view: &FileView,
    path: &Path,
    part: &Path,
) -> Result<(), Failure> {
    if path.exists() {
        return Err(Failure::LocalFile(format!("{} exists already", path.display())));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(part)
        .map_err(|error| local(part, &error))?;
    for index in 0..view.chunks as u32 {
        let chunk = client.read_chunk(args.cid, index).await?;
        file.write_all(&chunk).map_err(|error| local(part, &error))?;
    }
    file.sync_all().and_then(|()| fs::hard_link(part, path)).map_err(|error| local(path, &error))?;
    fs::remove_file(part).map_err(|error| local(part, &error))
}

pub(super) async fn list(rpc: &RpcArgs, output: Output) -> Result<(), Failure> {
    let files = rpc.client()?.files().await?;
    output.print(&files, || {
        if files.is_empty() {
            return "no files".to_owned();
        }
        let mut rows = vec![["CID", "NAME", "KEPT", "STATE"].map(str::to_owned)];
        rows.extend(files.iter().map(|file| {
            let kept = if file.kept { "yes" } else { "no" };
            [file.cid.to_string(), printable(&file.name), kept.to_owned(), file.to_string()]
        }));
        columns(&rows)
    });
    Ok(())
}
