//! A LAN of network namespaces: hosts of their own on one bridge, whose cables can be pulled and put back, and whose packets can be
//! lost one way. What no process on the loopback can be shown: a network that takes everything and says nothing.
//!
//! It needs root and iproute2. Where these are missing [`Lan::with_hosts`] says so on stderr and gives nothing, unless
//! `FRACTALLY_REQUIRE_NETNS=1` asks for a failure. The bridge has a namespace of its own, so nothing is seen or changed outside,
//! and two LANs may use the same addresses.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// What the names of all our namespaces begin with; the process that made them follows.
const PREFIX: &str = "fractally-";
/// A hardware address that nobody has: what is sent to it is lost on the bridge.
const NOWHERE: &str = "02:00:00:00:ff:ff";

/// Hosts on a bridge. Everything is removed when it is dropped; what a killed test left is removed by the next.
pub struct Lan {
    name: String,
    hosts: usize,
}

impl Lan {
    /// A LAN of so many hosts with the addresses of [`Lan::address`], or nothing where this machine cannot have one.
    pub fn with_hosts(hosts: usize) -> Option<Self> {
        match Self::try_with_hosts(hosts) {
            Ok(lan) => Some(lan),
            Err(reason) => {
                let is_required = std::env::var_os("FRACTALLY_REQUIRE_NETNS").is_some_and(|value| value == "1");
                assert!(!is_required, "FRACTALLY_REQUIRE_NETNS=1, but there are no network namespaces: {reason}");
                eprintln!("SKIPPED: network namespaces need root and iproute2: {reason}");
                None
            }
        }
    }

    fn try_with_hosts(hosts: usize) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_what_dead_processes_left();
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // From here on a failure removes what was made before it.
        let lan = Self { name, hosts };
        let bridge = lan.bridge();
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "name", "bridge", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "dev", "bridge", "up"])?;
        for host in 0..hosts {
            let (inside, cable) = (lan.host(host), cable(host));
            ip(&["netns", "add", &inside])?;
            ip(&["-n", &bridge, "link", "add", "name", &cable, "type", "veth", "peer", "name", "eth0", "netns", &inside])?;
            ip(&["-n", &bridge, "link", "set", "dev", &cable, "master", "bridge"])?;
            ip(&["-n", &bridge, "link", "set", "dev", &cable, "up"])?;
            ip(&["-n", &inside, "addr", "add", &format!("{}/24", Self::address(host)), "dev", "eth0"])?;
            ip(&["-n", &inside, "link", "set", "dev", "lo", "up"])?;
            ip(&["-n", &inside, "link", "set", "dev", "eth0", "up"])?;
        }
        Ok(lan)
    }

    /// The address of a host.
    pub fn address(host: usize) -> String {
        format!("10.99.0.{}", host + 1)
    }

    /// The command, run on a host. `ip netns exec` becomes the program, so its id is the program's.
    pub fn on(&self, host: usize, command: &Command) -> Command {
        let mut on_host = Command::new("ip");
        on_host.args(["netns", "exec", &self.host(host)]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_host.env(name, value),
                None => on_host.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            on_host.current_dir(folder);
        }
        on_host
    }

    /// Pulls a host's cable: nothing comes and nothing goes, and nobody is told.
    pub fn unplug(&self, host: usize) {
        self.cable(host, "down");
    }

    /// Puts it back.
    pub fn plug(&self, host: usize) {
        self.cable(host, "up");
    }

    /// Packets from one host to another are lost, those the other way are not.
    pub fn lose(&self, from: usize, to: usize) {
        let (from, to) = (self.host(from), Self::address(to));
        done(ip(&["-n", &from, "neigh", "replace", &to, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent"]));
    }

    /// They arrive again.
    pub fn find(&self, from: usize, to: usize) {
        done(ip(&["-n", &self.host(from), "neigh", "del", &Self::address(to), "dev", "eth0"]));
    }

    fn cable(&self, host: usize, state: &str) {
        done(ip(&["-n", &self.bridge(), "link", "set", "dev", &cable(host), state]));
    }

    fn bridge(&self) -> String {
        format!("{}-lan", self.name)
    }

    fn host(&self, host: usize) -> String {
        format!("{}-h{host}", self.name)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // Cables and bridge go with their namespaces.
        let spaces = (0..self.hosts).map(|host| self.host(host)).chain([self.bridge()]);
        for space in spaces.filter(|space| folder().join(space).exists()) {
            let _ = ip(&["netns", "del", &space]);
        }
    }
}

/// The other end of a host's cable, at the bridge.
fn cable(host: usize) -> String {
    format!("cable{host}")
}

/// Where iproute2 keeps the names of namespaces.
fn folder() -> &'static Path {
    Path::new("/run/netns")
}

fn done(result: Result<(), String>) {
    result.unwrap_or_else(|reason| panic!("{reason}"));
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn remove_what_dead_processes_left() {
    let Ok(entries) = fs::read_dir(folder()) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            // Another test may be removing it at the same time.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one packet comes back from a host within a second.
    fn answers(lan: &Lan, from: usize, to: usize) -> bool {
        let mut connect = Command::new("bash");
        // A closed port answers as well: with a refusal.
        connect.args(["-c", &format!("exec 3<>/dev/tcp/{}/9", Lan::address(to))]);
        let mut command = lan.on(from, Command::new("timeout").arg("1").arg("bash").args(connect.get_args()));
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        // 124 is what `timeout` says of a command that hung.
        status.code() != Some(124)
    }

    #[test]
    fn cables_are_pulled_and_packets_are_lost_until_they_are_not() {
        let Some(lan) = Lan::with_hosts(2) else { return };
        assert!(answers(&lan, 0, 1) && answers(&lan, 1, 0));
        lan.unplug(1);
        assert!(!answers(&lan, 0, 1));
        lan.plug(1);
        crate::eventually("the cable carries again", || answers(&lan, 0, 1).then_some(()));
        lan.lose(0, 1);
        assert!(!answers(&lan, 0, 1));
        lan.find(0, 1);
        assert!(answers(&lan, 0, 1));
    }

    #[test]
    fn nothing_is_left_when_it_is_dropped() {
        let Some(lan) = Lan::with_hosts(1) else { return };
        let spaces = [lan.bridge(), lan.host(0)];
        assert!(spaces.iter().all(|space| folder().join(space).exists()));
        drop(lan);
        assert!(spaces.iter().all(|space| !folder().join(space).exists()));
    }
}
