//! The programs of the system that tests need: Chromium, its driver and Node for tabs, ip and nft for networks, faketime for clocks.

use std::{env, path::Path};

use crate::{
    Fallible,
    command::{output, program, run},
};

/// A program, and the Debian package that has it.
struct Needed {
    program: &'static str,
    package: &'static str,
}

const NEEDED: [Needed; 7] = [
    Needed { program: "chromium", package: "chromium" },
    Needed { program: "chromedriver", package: "chromium-driver" },
    Needed { program: "node", package: "nodejs" },
    Needed { program: "npm", package: "npm" },
    Needed { program: "ip", package: "iproute2" },
    Needed { program: "nft", package: "nftables" },
    Needed { program: "faketime", package: "faketime" },
];

/// The other browser, which only long tests use.
const FIREFOX: [Needed; 1] = [Needed { program: "firefox-esr", package: "firefox-esr" }];

/// Makes sure that all of them are on `PATH`, through apt where it may.
///
/// # Errors
/// Says what to install when some are missing and apt is absent, not allowed, or fails.
pub(crate) fn ready() -> Fallible<()> {
    have(&NEEDED)
}

/// Makes sure that there is a Firefox, in the same way.
///
/// # Errors
/// As [`ready`].
pub(crate) fn firefox() -> Fallible<()> {
    if on_path("firefox") { Ok(()) } else { have(&FIREFOX) }
}

fn have(needed: &[Needed]) -> Fallible<()> {
    let missing: Vec<&Needed> = needed.iter().filter(|needed| !on_path(needed.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    let Some(apt) = apt() else {
        let programs: Vec<&str> = missing.iter().map(|needed| needed.program).collect();
        return Err(format!(
            "these programs are missing: {}.\nOn Debian: `apt-get install {}` as root. Elsewhere: install Chromium \
             with its chromedriver, Node 20 or later with npm, iproute2, nftables and faketime, for `--full` also Firefox, so that they are on PATH.",
            programs.join(", "),
            packages.join(" ")
        ));
    };
    println!("Installing {} through apt (once; about 2 minutes) ...", packages.join(", "));
    let apt_get = |arguments: &[&str]| {
        let mut command = program(apt[0], apt[1..].iter().chain(arguments));
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt_get(&["-qq", "update"])?;
    let mut install = vec!["-qq", "install", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    apt_get(&install)?;
    match missing.iter().find(|needed| !on_path(needed.program)) {
        Some(needed) => Err(format!(
            "`{}` is still missing after installing the package {}: install it so that it is on PATH",
            needed.program, needed.package
        )),
        None => Ok(()),
    }
}

/// How to call apt-get with the right to install, if there is a way.
fn apt() -> Option<&'static [&'static str]> {
    if !on_path("apt-get") {
        return None;
    }
    let root = output(&mut program("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    let sudo = || on_path("sudo") && output(&mut program("sudo", ["-n", "true"])).is_ok();
    if root {
        Some(&["apt-get"])
    } else if sudo() {
        Some(&["sudo", "-n", "apt-get"])
    } else {
        None
    }
}

fn on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain([Path::new("/usr/sbin").into()]).any(|dir| dir.join(name).is_file())
}
