//! Hosts of their own on this machine: network namespaces on one switch, between which links can
//! be cut.
//!
//! A namespace lives as long as a process that waits for the end of its standard input does. When
//! the tests end, in whatever way, nothing of it is left.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Hosts on one switch.
pub(crate) struct Net {
    hosts: Vec<(&'static str, Space)>,
    switch: Space,
}

impl Net {
    /// Hosts of these names, all of which reach each other. `None` where namespaces cannot be made;
    /// in CI that is a failure.
    pub(crate) fn start(names: &[&'static str]) -> Option<Net> {
        match Net::build(names) {
            Ok(net) => Some(net),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "no hosts: {why}");
                eprintln!("no hosts of their own can be made, they are not tested: {why}");
                None
            }
        }
    }

    fn build(names: &[&'static str]) -> Result<Net, String> {
        let switch = Space::new()?;
        switch.ip("link add br0 type bridge\nlink set br0 up\n")?;
        let mut hosts = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let host = Space::new()?;
            let mac = mac(index, TRUE);
            switch.ip(&format!(
                "link add p{index} type veth peer name eth0 address {mac} netns {}\n\
                 link set p{index} master br0\n\
                 link set p{index} up\n",
                host.holder.id()
            ))?;
            host.ip(&format!(
                "link set lo up\nlink set eth0 up\naddr add {}/24 dev eth0\n",
                ip(index)
            ))?;
            hosts.push((*name, host));
        }
        Ok(Net { hosts, switch })
    }

    /// Does something at a host: sockets that are opened by it, and by the threads and processes
    /// that it starts, are that host's.
    pub(crate) fn at<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        self.hosts[self.index(name)].1.within(work)
    }

    pub(crate) fn ip(&self, name: &str) -> IpAddr {
        ip(self.index(name)).into()
    }

    pub(crate) fn address(&self, name: &str, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(name), port)
    }

    /// From now on all that one of `from` sends to one of `to` is lost without a word.
    pub(crate) fn cut(&self, from: &[&str], to: &[&str]) {
        self.direct(from, to, FALSE);
    }

    /// From now on nothing passes between the two sides.
    pub(crate) fn part(&self, one: &[&str], other: &[&str]) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Everybody reaches everybody.
    pub(crate) fn heal(&self) {
        let all: Vec<_> = self.hosts.iter().map(|(name, _)| *name).collect();
        self.direct(&all, &all, TRUE);
    }

    /// Pulls a host's cable out.
    pub(crate) fn unplug(&self, name: &str) {
        let down = format!("link set p{} down\n", self.index(name));
        self.switch.ip(&down).expect("a cable of ours");
    }

    /// Puts it in again.
    pub(crate) fn plug(&self, name: &str) {
        let up = format!("link set p{} up\n", self.index(name));
        self.switch.ip(&up).expect("a cable of ours");
    }

    /// What is sent to a hardware address that nobody has reaches nobody.
    fn direct(&self, from: &[&str], to: &[&str], kind: &str) {
        for name in from {
            let targets = to.iter().filter(|target| *target != name);
            let line = |target: &&str| {
                let index = self.index(target);
                let (ip, mac) = (ip(index), mac(index, kind));
                format!("neigh replace {ip} lladdr {mac} dev eth0 nud permanent\n")
            };
            let lines: String = targets.map(line).collect();
            let host = &self.hosts[self.index(name)].1;
            host.ip(&lines).expect("neighbours of ours");
        }
    }

    fn index(&self, name: &str) -> usize {
        let mut hosts = self.hosts.iter();
        let found = hosts.position(|(own, _)| *own == name);
        found.unwrap_or_else(|| panic!("no host {name}"))
    }
}

/// A network namespace. Dropped, it is gone.
struct Space {
    holder: Child,
    link: File,
}

impl Space {
    fn new() -> Result<Space, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        let told = BufReader::new(output).read_line(&mut line);
        if !told.is_ok_and(|size| size > 0) {
            let mut why = String::new();
            let _ = holder
                .stderr
                .take()
                .expect("piped")
                .read_to_string(&mut why);
            let _ = holder.wait();
            return Err(why.trim().to_owned());
        }
        let link = File::open(format!("/proc/{}/ns/net", holder.id()));
        Ok(Space {
            link: link.map_err(|error| error.to_string())?,
            holder,
        })
    }

    /// In a thread of its own: the caller's stays where it is.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.link.as_fd(), kind).expect("a namespace of ours");
                work()
            });
            entered.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Has iproute2 do what these lines say.
    fn ip(&self, lines: &str) -> Result<(), String> {
        self.within(|| {
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("ip: {error}"))?;
            let mut input = ip.stdin.take().expect("piped");
            let written = input.write_all(lines.as_bytes());
            drop(input);
            let output = ip.wait_with_output().map_err(|error| error.to_string())?;
            match written {
                Ok(()) if output.status.success() => Ok(()),
                _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            }
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 1 + index as u8)
}

/// Locally administered.
fn mac(index: usize, kind: &str) -> String {
    format!("02:{kind}:00:00:00:{:02x}", 1 + index)
}

const TRUE: &str = "77";
/// Those that no host has.
const FALSE: &str = "66";
