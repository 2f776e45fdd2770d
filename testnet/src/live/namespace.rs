//! A network of its own for one test: loopback, and one more address with a way out that leads nowhere.
//!
//! Browsers do not speak WebRTC with each other over loopback. A test that needs more runs again in a network namespace, made
//! without root where the system lets people make them.

use std::{
    env,
    process::{Command, Output},
};

/// Set for a test that runs in one.
const INSIDE: &str = "WEFT_TEST_IN_NAMESPACE";

/// Set by `cargo xtask test`: a test that cannot run has not passed.
const REQUIRED: &str = "WEFT_TEST_NAMESPACES_REQUIRED";

/// Lays the network and becomes the program that follows.
const LAY: &str = "ip link set lo up && ip link add cable type veth peer name far && \
    ip addr add 10.77.0.1/24 dev cable && ip link set cable up multicast on && ip link set far up && \
    ip route add default via 10.77.0.2 dev cable && exec \"$@\"";

fn unshare(more: &[&str], program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net"]).args(more).args(["sh", "-c", LAY, "sh", program]);
    command
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Whether this process runs in a namespace of its own, where nothing it sends leaves the machine.
#[must_use]
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Whether this is the run in a namespace. If not, the test with this full name was run in one, to its end; or it could not be, which is
/// said by [`without_namespaces`].
///
/// # Panics
/// When the test fails there, and where it could not be run but has to.
#[must_use]
pub fn in_namespace(test: &str) -> bool {
    if is_inside() {
        return true;
    }
    let mut reason = String::new();
    // As root first; else as root of a user namespace.
    for more in [&[][..], &["--map-root-user"]] {
        match unshare(more, "true").output() {
            Ok(output) if output.status.success() => {
                let this = env::current_exe().expect("a running test has a file");
                let mut command = unshare(more, &this.to_string_lossy());
                command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
                let status = command.status().expect("what has just run runs again");
                assert!(status.success(), "{test} fails in its network namespace");
                return false;
            }
            Ok(output) => reason = words(&output),
            Err(error) => reason = error.to_string(),
        }
    }
    without_namespaces(&reason);
    false
}

/// A test cannot run, since this system lets it make no network namespace. That is said, and where tests are run to tell whether all is well
/// the test fails.
///
/// # Panics
/// Under `cargo xtask test`.
pub fn without_namespaces(reason: &str) {
    give_up(env::var_os(REQUIRED).is_some(), reason);
}

fn give_up(required: bool, reason: &str) {
    assert!(!required, "this test needs network namespaces, which this system refuses: {reason}");
    println!("skipped: this test needs network namespaces, which this system refuses: {reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "which this system refuses: no rights")]
    fn where_namespaces_are_required_a_test_without_one_fails() {
        give_up(false, "no rights");
        give_up(true, "no rights");
    }
}
