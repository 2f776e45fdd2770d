//! The compiler's wasm target, the two tools of exact versions that the app's build needs, and one each for fuzzing and for what is depended on.
//!
//! Tools are built once into the user's cache, outside `target`, and recognised by path and version.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    Fallible, cache_dir,
    command::{cargo, output, program, run},
};

/// The target of everything that runs in a tab.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// A program that cargo installs, of one version.
struct Tool {
    /// The package.
    package: &'static str,
    version: &'static str,
    /// The executable that tells the version.
    executable: &'static str,
    /// About how long it takes to build on two cores.
    minutes: u32,
}

/// 0.22 wants a newer compiler than the workspace does.
const TRUNK: Tool = Tool { package: "trunk", version: "0.21.14", executable: "trunk", minutes: 7 };
/// The generated bindings and this program must agree exactly; the lock file has the same version.
const WASM_BINDGEN: Tool =
    Tool { package: "wasm-bindgen-cli", version: "0.2.108", executable: "wasm-bindgen", minutes: 2 };
const CARGO_FUZZ: Tool =
    Tool { package: "cargo-fuzz", version: "0.13.2", executable: "cargo-fuzz", minutes: 1 };

const CARGO_DENY: Tool =
    Tool { package: "cargo-deny", version: "0.20.2", executable: "cargo-deny", minutes: 5 };

/// The directory of cargo-deny, which is built if it is missing.
///
/// # Errors
/// When it is missing and cannot be had.
pub(crate) fn cargo_deny() -> Fallible<PathBuf> {
    installed(&CARGO_DENY)
}

/// The directory of cargo-fuzz, which is built if it is missing.
///
/// # Errors
/// When it is missing and cannot be had.
pub(crate) fn cargo_fuzz() -> Fallible<PathBuf> {
    installed(&CARGO_FUZZ)
}

/// The directories of the tools that the app needs, all present.
pub(crate) struct Tools {
    trunk: PathBuf,
    wasm_bindgen: PathBuf,
}

impl Tools {
    /// Finds the tools and the wasm target, building or adding what is missing.
    ///
    /// # Errors
    /// When something is missing and cannot be had.
    pub(crate) fn ready() -> Fallible<Self> {
        add_wasm_target()?;
        Ok(Self { wasm_bindgen: installed(&WASM_BINDGEN)?, trunk: installed(&TRUNK)? })
    }

    /// Trunk's executable.
    pub(crate) fn trunk(&self) -> PathBuf {
        self.trunk.join("trunk")
    }

    /// The program that makes JavaScript around a wasm file.
    pub(crate) fn wasm_bindgen(&self) -> PathBuf {
        self.wasm_bindgen.join("wasm-bindgen")
    }

    /// The runner for tests that were compiled for wasm.
    pub(crate) fn wasm_test_runner(&self) -> PathBuf {
        self.wasm_bindgen.join("wasm-bindgen-test-runner")
    }

    /// `PATH`, with the tools first.
    ///
    /// # Errors
    /// When a directory's name cannot be part of `PATH`.
    pub(crate) fn path(&self) -> Fallible<OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let dirs = [self.wasm_bindgen.clone(), self.trunk.clone()];
        std::env::join_paths(dirs.into_iter().chain(std::env::split_paths(&before)))
            .map_err(|error| format!("the cache directory cannot be part of PATH: {error}"))
    }
}

/// Makes sure that the compiler can build for [`WASM`].
fn add_wasm_target() -> Fallible<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let library = output(&mut program(&rustc, ["--print", "target-libdir", "--target", WASM]))?;
    let present = fs::read_dir(library.trim()).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd"))
    });
    if present {
        return Ok(());
    }
    println!("Adding the compiler's {WASM} target (a download of about 20 MB) ...");
    run(&mut program("rustup", ["target", "add", WASM])).map_err(|reason| {
        format!(
            "{reason}\nThe app needs the standard library for {WASM}. With rustup: `rustup target add {WASM}`. \
             A compiler from elsewhere needs its package for that target, for example \
             `libstd-rust-dev-wasm32` on Debian."
        )
    })
}

/// The directory of a tool's executables; builds it unless it is there.
fn installed(tool: &Tool) -> Fallible<PathBuf> {
    let cache = cache_dir()?;
    let name = format!("{}-{}", tool.package, tool.version);
    let home = cache.join("tools").join(&name);
    if works(tool, &home) {
        return Ok(home.join("bin"));
    }
    // Of two runs at once, the second waits here and then finds what the first has built.
    let lock = cache.join(format!("building-{name}.lock"));
    let locked = fs::create_dir_all(&cache).and_then(|()| File::create(&lock)).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    let _locked = locked.map_err(|error| format!("{} cannot be locked: {error}", lock.display()))?;
    if works(tool, &home) {
        return Ok(home.join("bin"));
    }
    println!(
        "Building {} {} into {} (once; about {} minutes on two cores) ...",
        tool.package,
        tool.version,
        home.display(),
        tool.minutes
    );
    // Built aside and moved into place whole: an interrupted build is never taken for a finished one, and the next run
    // goes on with it.
    let aside = cache.join(format!("building-{name}"));
    build(tool, &aside)?;
    move_into_place(&aside.join("root"), &home)?;
    fs::remove_dir_all(&aside)
        .map_err(|error| format!("{} could not be removed: {error}", aside.display()))?;
    Ok(home.join("bin"))
}

fn build(tool: &Tool, aside: &Path) -> Fallible<()> {
    fs::create_dir_all(aside).map_err(|error| format!("{} cannot be made: {error}", aside.display()))?;
    let mut install = cargo(["install", "--locked", "--force", "--version", tool.version, "--root"]);
    install.arg(aside.join("root")).arg(tool.package);
    // Away from the workspace, so that neither its settings nor its target directory matter.
    run(install.current_dir(aside).env("CARGO_TARGET_DIR", aside.join("target")).env_remove("RUSTFLAGS"))
}

fn move_into_place(built: &Path, home: &Path) -> Fallible<()> {
    let fail = |error| format!("{} could not be moved to {}: {error}", built.display(), home.display());
    if let Some(tools) = home.parent() {
        fs::create_dir_all(tools).map_err(fail)?;
    }
    if home.exists() {
        fs::remove_dir_all(home).map_err(fail)?;
    }
    fs::rename(built, home).map_err(fail)
}

/// Whether the tool is there, runs, and is the version asked for.
fn works(tool: &Tool, home: &Path) -> bool {
    let executable = home.join("bin").join(tool.executable);
    executable.exists()
        && output(&mut program(&executable, ["--version"]))
            .is_ok_and(|said| said.split_whitespace().any(|word| word == tool.version))
}
