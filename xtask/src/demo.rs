//! `cargo xtask demo`: builds everything, then hands over to `weft-testnet demo`.

use std::{process::Command, time::Instant};

use crate::{Fallible, app, checks, target_dir};

/// Where the app is served unless told otherwise; the relay's two listeners are on the next two ports.
pub(crate) const DEFAULT_PORT: u16 = 9000;

/// Builds everything and shows it, until Ctrl-C.
///
/// # Errors
/// When something cannot be built, or the network does not come up.
pub(crate) fn run(port: u16) -> Fallible<()> {
    let begun = Instant::now();
    let app = app::build()?;
    println!("Building the native programs (the first time about 5 minutes on two cores) ...");
    checks::build_native()?;
    println!("Built in {} s.", begun.elapsed().as_secs());
    let mut demo = Command::new(target_dir().join("debug").join("weft-testnet"));
    become_program(demo.arg("demo").arg("--app").arg(app).args(["--port", &port.to_string()]))
}

/// Turns this process into the other, so that signals sent to it arrive there.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Fallible<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(format!("`{}` could not be started: {error}", command.get_program().to_string_lossy()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Fallible<()> {
    crate::command::run(command)
}
