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

/// Whether this is the run in a namespace. If not, the test with this full name was run in one, to its end; or it could not be, and that is
/// said.
///
/// # Panics
/// When the test fails there.
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
    println!("skipped: this test needs a network namespace, which this system refuses: {reason}");
    false
}
