//! A street of houses, each behind a router of its own, with a relay in the middle: network namespaces with nft rules.
//!
//! A namespace lives as long as a process in it, so nothing has to be cleaned up after a test that was killed. All are in one
//! user namespace of which the test is the master, so that it needs no rights.

use std::{
    fs,
    io::Write,
    process::{Child, Command, Stdio},
};

use weft_testnet::live::{PATIENCE, wait_for};

/// The address of the relay on the street. What is said to be for documentation is not dialled, so this is not.
pub(crate) const RELAY: &str = "20.0.0.1";

/// How a router translates addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// Everything that comes to the router goes to the peer in the house: a forwarded port, or a *full cone* once it is open.
    Forwarded,
    /// A port of the peer is one port of the router, whoever it talks to, and only answers come in: a *port-restricted cone*, as most
    /// routers in homes are.
    Cone,
    /// Each connection has a random port: *symmetric*, as in many offices and mobile networks.
    Symmetric,
}

impl Nat {
    fn rules(self, peer: &str) -> String {
        let random = if self == Self::Symmetric { "fully-random" } else { "" };
        let (forwarded, allowed) = match self {
            Self::Forwarded => (
                format!("iifname street meta l4proto {{ tcp, udp }} dnat to {peer}"),
                "ct status dnat accept",
            ),
            Self::Cone | Self::Symmetric => (String::new(), ""),
        };
        // What nobody asked for is dropped before the router takes note of it, as a router that is no Linux machine does: else
        // a packet that comes too soon would take the very port that the answer needs.
        format!(
            "table ip router {{
                chain before {{
                    type nat hook prerouting priority dstnat;
                    {forwarded}
                }}
                chain after {{
                    type nat hook postrouting priority srcnat;
                    oifname street masquerade {random}
                }}
                chain through {{
                    type filter hook forward priority filter; policy drop;
                    iifname house accept
                    ct state established,related accept
                    {allowed}
                }}
                chain in {{
                    type filter hook input priority filter; policy drop;
                    iifname {{ lo, house }} accept
                    ct state established,related accept
                }}
            }}"
        )
    }
}

/// A network namespace.
pub(crate) struct Space {
    holder: Child,
}

impl Space {
    /// A namespace `inside` the user namespace of another, or in a new one.
    fn new(inside: Option<&Self>) -> Result<Self, String> {
        let mut command = match inside {
            None => Command::new("unshare"),
            Some(space) => {
                let mut command = space.command("unshare");
                command.arg("--net");
                command
            }
        };
        if inside.is_none() {
            command.args(["--user", "--map-root-user", "--net"]);
        }
        // It ends when its input does, which is when this is dropped or the test dies.
        command.arg("cat").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("cannot run unshare: {error}"))?;
        // It becomes `cat` once all is set up.
        let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let made = wait_for("a network namespace is there", PATIENCE, || {
            let ended = holder.try_wait().ok().flatten().is_some();
            Ok((ended || name(holder.id()).trim() == "cat").then_some(!ended))
        });
        match made {
            Ok(true) => Ok(Self { holder }),
            Ok(false) => {
                let output = holder.wait_with_output().map_err(|error| error.to_string())?;
                Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A command to be run in it, so far without arguments.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holder.id().to_string();
        command.args(["--target", &pid, "--user", "--net", "--preserve-credentials", "--", program]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command
    }

    /// The same command, in it.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut inside = self.command(&command.get_program().to_string_lossy());
        inside.args(command.get_args());
        inside
    }

    /// Runs lines of a shell in it, with `input`.
    fn run(&self, script: &str, input: &str) {
        let mut command = self.command("sh");
        command.args(["-e", "-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The relay's place, and houses with one peer in each.
pub(crate) struct Street {
    pub(crate) houses: Vec<Space>,
    pub(crate) routers: Vec<Space>,
    pub(crate) middle: Space,
}

impl Street {
    /// A street with such routers.
    ///
    /// # Errors
    /// When this system makes no namespaces for us.
    pub(crate) fn new(nats: &[Nat]) -> Result<Self, String> {
        let middle = Space::new(None)?;
        middle.run(
            &format!(
                "ip link set lo up; ip link add street type bridge; ip addr add {RELAY}/24 dev street
                 ip link set street up"
            ),
            "",
        );
        let mut street = Self { houses: Vec::new(), routers: Vec::new(), middle };
        for (index, nat) in nats.iter().enumerate() {
            street.routers.push(Space::new(Some(&street.middle))?);
            street.houses.push(Space::new(Some(&street.middle))?);
            let (router, house) = (&street.routers[index], &street.houses[index]);
            street.middle.run(
                &format!(
                    "ip link add port{index} type veth peer name street netns {}
                     ip link set port{index} master street up",
                    router.holder.id()
                ),
                "",
            );
            let (outer, net) = (index + 10, index + 1);
            router.run(
                &format!(
                    "ip link set lo up; ip addr add 20.0.0.{outer}/24 dev street; ip link set street up
                     ip link add house type veth peer name door netns {}
                     ip addr add 192.168.{net}.1/24 dev house; ip link set house up
                     echo 1 > /proc/sys/net/ipv4/ip_forward; nft -f -",
                    house.holder.id()
                ),
                &nat.rules(&format!("192.168.{net}.2")),
            );
            house.run(
                &format!(
                    "ip link set lo up; ip addr add 192.168.{net}.2/24 dev door; ip link set door up
                     ip route add default via 192.168.{net}.1"
                ),
                "",
            );
        }
        Ok(street)
    }
}
