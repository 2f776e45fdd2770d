//! Running other programs, with errors that say which and how.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::{Command, Stdio},
};

use crate::{Fallible, workspace};

/// The cargo that runs this command, in the root of the workspace.
pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(arguments).current_dir(workspace());
    as_from_a_shell(&mut command);
    command
}

/// Takes away what `cargo run` told this program about itself. Some build scripts depend on these variables, and would
/// run again whenever a person's own `cargo build` comes between two of ours.
fn as_from_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// A program in the root of the workspace.
pub(crate) fn program<I: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = I>,
) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(workspace());
    as_from_a_shell(&mut command);
    command
}

/// How a command reads in a message.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, with its output where ours goes.
///
/// # Errors
/// When the program cannot be started, or fails.
pub(crate) fn run(command: &mut Command) -> Fallible<()> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", shown(command))) }
}

/// Runs to the end, and gives back what it wrote to standard output.
///
/// # Errors
/// When the program cannot be started, or fails; then with what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Fallible<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{}` failed: {}\n{}", shown(command), output.status, said.trim_end()))
    }
}

fn not_started(command: &Command, error: &io::Error) -> String {
    format!("`{}` could not be started: {error}", shown(command))
}
