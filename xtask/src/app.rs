//! Building the app that runs in a tab, as a browser will download it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    Fallible,
    command::{cargo, program, run},
    tools::Tools,
    workspace,
};

/// Builds the app in release into `browser/dist`, with a brotli copy beside every file that gains from one.
///
/// # Errors
/// When a tool is missing and cannot be had, or the build fails.
pub(crate) fn build() -> Fallible<PathBuf> {
    let tools = Tools::ready()?;
    let dist = workspace().join("browser/dist");
    // Trunk runs cargo offline, as it does everything else, so all packages are fetched before: cargo wants those of
    // other platforms too when it describes the workspace.
    run(&mut cargo(["fetch", "--quiet", "--locked"]))?;
    let mut trunk = program(tools.trunk(), ["build", "--offline", "--skip-version-check", "--cargo-profile"]);
    trunk.arg("wasm-release").arg("--release").arg("--dist").arg(&dist);
    trunk.current_dir(workspace().join("browser")).env("PATH", tools.path()?);
    // Trunk reads this variable as a flag, and refuses any value but true and false.
    if std::env::var_os("NO_COLOR").is_some() {
        trunk.env("NO_COLOR", "true");
    }
    run(&mut trunk)?;
    let bytes = compress(&dist)?;
    println!("The app is in {}: {} KB over the wire.", dist.display(), bytes.div_ceil(1000));
    Ok(dist)
}

/// Puts a brotli copy beside every file of text or wasm. Returns the bytes a browser downloads.
fn compress(dist: &Path) -> Fallible<u64> {
    let fail = |error| format!("{} could not be compressed: {error}", dist.display());
    let mut bytes = 0;
    for entry in fs::read_dir(dist).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() || extension == "br" {
            continue;
        }
        let plain = fs::read(&path).map_err(fail)?;
        if ["wasm", "js", "html", "css", "svg", "json"].contains(&extension) {
            let mut writer = brotli::CompressorWriter::new(Vec::new(), 1 << 16, 11, 24);
            writer.write_all(&plain).map_err(fail)?;
            let small = writer.into_inner();
            bytes += small.len() as u64;
            fs::write(path.with_extension(format!("{extension}.br")), small).map_err(fail)?;
        } else {
            bytes += plain.len() as u64;
        }
    }
    Ok(bytes)
}
