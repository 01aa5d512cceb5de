//! Nodes, managers and etcd, each on a host of its own, and what all of them together do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, Wish};
use crate::http::{metric, request};
use crate::net::Net;
use crate::node::Process;
use crate::store::Etcd;

/// Five nodes, two managers, an etcd, and three hosts without a server: `c1` and `c2` for clients,
/// and `eye`, which is never cut off from anybody and watches.
pub(crate) struct Town {
    nodes: Vec<Process>,
    managers: Vec<Process>,
    _etcd: Etcd,
    pub(crate) net: Net,
    _ground: Ground,
}

/// Room for one town on this machine. Times are measured, so there are not many at once; but each
/// spends most of its time waiting for what is to be forgotten.
struct Ground;

static GROUNDS: Mutex<usize> = Mutex::new(TOWNS_MAX);
static GIVEN_BACK: Condvar = Condvar::new();

impl Ground {
    /// Waits until there is some.
    fn take() -> Ground {
        let free = GROUNDS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = GIVEN_BACK.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Ground
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        *GROUNDS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        GIVEN_BACK.notify_one();
    }
}

pub(crate) const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
pub(crate) const MANAGERS: [&str; 2] = ["m1", "m2"];
const OTHERS: [&str; 4] = ["etcd", "c1", "c2", "eye"];

/// One stream, on all nodes together.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// The nodes with a publisher that is no node.
    pub(crate) publishers: Vec<&'static str>,
    /// The nodes that get it, and from which URL.
    pub(crate) relays: Vec<(&'static str, String)>,
    /// Sessions by which nodes get it that are not connected, or that the other node does not have.
    pub(crate) half_open: Vec<String>,
    /// Sessions of viewers and of nodes that get it.
    pub(crate) outgoing: usize,
    /// Sessions by which a node has it, at the node with the most.
    pub(crate) incoming_max: usize,
}

impl Town {
    /// `None` where it cannot be made.
    pub(crate) fn start(name: &str) -> Option<Town> {
        let ground = Ground::take();
        let names = [&NODES[..], &MANAGERS, &OTHERS].concat();
        let net = Net::start(&names)?;
        let (http, peers) = (net.address("etcd", 2379), net.address("etcd", 2380));
        let etcd = net.at("etcd", || Etcd::start_at(name, http, peers))?;
        let free = [
            "--set",
            "limits.source_requests_per_second=0",
            "--set",
            "limits.source_misses_per_minute=0",
            "--set",
            "auth.open=true",
        ];
        let serve = |name: &'static str| {
            let (http, udp) = (net.address(name, HTTP_PORT), net.address(name, 5000));
            let (http, udp) = (http.to_string(), udp.to_string());
            let own = ["--listen", &http, "--udp", &udp, "--shards", "1"];
            let member = ["--alias", name, "--etcd", &etcd.url];
            let reach = ["--set", "cascade.allow=10.77.0.0/24"];
            let all = [&own[..], &member, &reach, &free].concat();
            let node = net.at(name, || Process::start(&all));
            node.wait_for("back end ");
            node
        };
        let manage = |name: &'static str| {
            let http = net.address(name, HTTP_PORT).to_string();
            let own = ["manager", "--listen", &http, "--etcd", &etcd.url];
            let idle = ["--set", "manager.tree_idle_s=2"];
            let manager = net.at(name, || Process::start(&[&own[..], &idle, &free].concat()));
            manager.wait_for("Page");
            manager
        };
        let town = Town {
            nodes: NODES.into_iter().map(serve).collect(),
            managers: MANAGERS.into_iter().map(manage).collect(),
            _etcd: etcd,
            net,
            _ground: ground,
        };
        town.within(START, "all nodes run", || {
            MANAGERS
                .iter()
                .all(|manager| town.running(manager).len() == NODES.len())
        });
        Some(town)
    }

    /// The API of a node or manager.
    pub(crate) fn http(&self, name: &str) -> SocketAddr {
        self.net.address(name, HTTP_PORT)
    }

    /// Publishes at a manager, from one of the hosts for clients.
    pub(crate) fn publish(&self, from: &str, manager: &str, stream: &str) -> Client {
        self.client(from, manager, stream, Wish::publish())
    }

    /// Watches at a manager, from one of the hosts for clients.
    pub(crate) fn watch(&self, from: &str, manager: &str, stream: &str) -> Client {
        self.client(from, manager, stream, Wish::watch())
    }

    fn client(&self, from: &str, manager: &str, stream: &str, wish: Wish) -> Client {
        let http = self.http(manager);
        let wish = wish.at_ip(self.net.ip(from));
        self.net.at(from, || Client::start(http, stream, wish))
    }

    /// Ends a client's session.
    pub(crate) fn leave(&self, client: &Client) {
        let left = self.net.at("eye", || client.leave());
        assert_eq!(left, 204);
    }

    /// What a server tells, in JSON.
    pub(crate) fn get(&self, name: &str, path: &str) -> Value {
        let answer = self
            .net
            .at("eye", || request(self.http(name), "GET", path, None));
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{name}{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The sum of a metric over all nodes.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let each = NODES.iter();
        each.map(|node| self.net.at("eye", || metric(self.http(node), name, "")))
            .sum()
    }

    /// The nodes that a manager reaches.
    pub(crate) fn running(&self, manager: &str) -> BTreeSet<String> {
        let nodes = self.get(manager, "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").iter();
        let running = nodes.filter(|node| node["status"] == "running");
        running.map(|node| text(&node["alias"])).collect()
    }

    /// What was agreed on for a stream, as a manager knows it.
    pub(crate) fn agreed(&self, manager: &str, stream: &str) -> Option<(String, usize)> {
        let trees = self.get(manager, "/api/cascades");
        let mut trees = trees.as_array().expect("a list").iter();
        let tree = trees.find(|tree| tree["id"] == stream)?;
        let links = tree["links"].as_array().expect("a list").len();
        Some((text(&tree["owner"]), links))
    }

    /// What the nodes say that they do.
    pub(crate) fn census(&self, stream: &str) -> Census {
        let mut census = Census::default();
        let mut outgoing = BTreeSet::new();
        let mut far = Vec::new();
        for node in NODES {
            let list = self.get(node, "/api/streams/");
            let mut list = list.as_array().expect("a list").iter();
            let Some(found) = list.find(|found| found["id"] == stream) else {
                continue;
            };
            let incoming = found["publish"]["sessions"].as_array().expect("a list");
            census.incoming_max = census.incoming_max.max(incoming.len());
            for session in incoming {
                match session["cascade"]["sourceUrl"].as_str() {
                    None => census.publishers.push(node),
                    Some(source) => {
                        census.relays.push((node, source.to_owned()));
                        far.push(session["cascade"].clone());
                        if session["state"] != "connected" {
                            census.half_open.push(format!("{node}: {session}"));
                        }
                    }
                }
            }
            for session in found["subscribe"]["sessions"].as_array().expect("a list") {
                census.outgoing += 1;
                outgoing.insert(text(&session["id"]));
            }
        }
        for cascade in far {
            let id = cascade["sessionUrl"].as_str().unwrap_or_default();
            let id = id.rsplit('/').next().unwrap_or_default();
            if !outgoing.contains(id) {
                census.half_open.push(cascade.to_string());
            }
        }
        census
    }

    /// Whether there is one publisher, all links stand, and the managers know of nothing else.
    pub(crate) fn is_whole(&self, stream: &str) -> Result<(), String> {
        let census = self.census(stream);
        let [publisher] = census.publishers.as_slice() else {
            return Err(format!("{census:?}"));
        };
        if !census.half_open.is_empty() {
            return Err(format!("{census:?}"));
        }
        for manager in MANAGERS {
            let running = self.running(manager);
            let agreed = self.agreed(manager, stream);
            let expected = Some(((*publisher).to_owned(), census.relays.len()));
            if running.len() != NODES.len() || agreed != expected {
                return Err(format!("{manager}: {running:?} {agreed:?}\n{census:?}"));
            }
        }
        Ok(())
    }

    /// Waits until it is so with exactly these viewers, and nothing else is open.
    pub(crate) fn settles(&self, stream: &str, viewers: usize) {
        self.within(FORGOTTEN, "no session is left over", || {
            let census = self.census(stream);
            let links = self.sum("whitewater_cascade_links");
            census.outgoing == viewers + census.relays.len()
                && links == census.relays.len() as f64
                && self.is_whole(stream).is_ok()
        });
    }

    /// Waits until nothing is left of anything.
    pub(crate) fn empties(&self) {
        self.within(FORGOTTEN, "nothing is left", || {
            let is_empty = |list: Value| list.as_array().is_some_and(Vec::is_empty);
            self.sum("whitewater_shard_sessions") == 0.0
                && self.sum("whitewater_cascade_links") == 0.0
                && NODES
                    .iter()
                    .all(|node| is_empty(self.get(node, "/api/streams/")))
                && MANAGERS.iter().all(|manager| {
                    is_empty(self.get(manager, "/api/cascades"))
                        && is_empty(self.get(manager, "/api/streams/"))
                })
        });
    }

    /// Waits until something is so, no longer than this; how long it took.
    pub(crate) fn within(
        &self,
        max: Duration,
        what: &str,
        mut is_so: impl FnMut() -> bool,
    ) -> Duration {
        let began = Instant::now();
        while !is_so() {
            let waited = began.elapsed();
            assert!(waited < max, "not within {max:?}: {what}\n{}", self.tell());
            std::thread::sleep(LOOK_EVERY);
        }
        began.elapsed()
    }

    /// What the servers logged last, and what they do.
    fn tell(&self) -> String {
        let all = NODES
            .iter()
            .chain(&MANAGERS)
            .zip(self.nodes.iter().chain(&self.managers));
        let mut told = String::new();
        for (name, process) in all {
            let log = process.errors();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
            told += &format!("--- {name}\n{}\n", last.join("\n"));
        }
        let managers = MANAGERS.map(|name| (name, "/api/cascades"));
        let nodes = NODES.map(|name| (name, "/api/streams/"));
        for (name, path) in managers.iter().chain(&nodes) {
            let asked = self
                .net
                .at("eye", || request(self.http(name), "GET", path, None));
            let said = asked.map_or_else(|error| error.to_string(), |answer| answer.body);
            told += &format!("{name}: {said}\n");
        }
        told
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

const TOWNS_MAX: usize = 2;
const HTTP_PORT: u16 = 7777;
const START: Duration = Duration::from_secs(30);
/// After this nobody remembers a peer that went away without a word.
const FORGOTTEN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOG_LINES: usize = 30;
