//! etcd goes away for longer than anything waits for it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, Wish};
use crate::fleet::{get, watched};
use crate::node::{Process, eventually_or};
use crate::store::Etcd;

#[test]
fn most_of_a_minute_without_etcd_goes_unnoticed() {
    without_etcd("minute", Duration::from_secs(40));
}

/// The time in seconds can be set by `ETCD_AWAY_S`.
#[test]
#[ignore = "takes an hour, see docs/cluster.md"]
fn an_hour_without_etcd_goes_unnoticed() {
    let seconds = std::env::var("ETCD_AWAY_S");
    let seconds = seconds.map_or(3600, |text| text.parse().expect("a number of seconds"));
    without_etcd("hour", Duration::from_secs(seconds));
}

/// Half of the time nobody listens where etcd was, the other half somebody who says nothing.
fn without_etcd(name: &str, lasts: Duration) {
    let Some(mut etcd) = Etcd::start(name) else {
        return;
    };
    let managers = [(); 2].map(|()| manager(&etcd));
    let nodes = ["a", "b"].map(|alias| node(&etcd, alias));
    for manager in &managers {
        in_time(manager, "the nodes run", START, || running(manager) == 2);
    }
    let [here, there] = [0, 1].map(|at: usize| managers[at].http());
    let publisher = Client::start(here, "cam?nodes=a", Wish::publish());
    let viewers = [
        Client::start(there, "cam?nodes=a", Wish::watch()),
        // By a link from one node to the other.
        Client::start(here, "cam?nodes=b", Wish::watch()),
    ];
    for viewer in &viewers {
        watched(viewer, 10);
    }
    for manager in &managers {
        in_time(manager, "the link is agreed on", START, || {
            links(manager, "cam") == Some(1)
        });
    }
    let servers: Vec<&Process> = managers.iter().chain(&nodes).collect();
    let use_of = |server: &&Process| (server.memory_kib(), server.descriptors());
    let before: Vec<_> = servers.iter().map(use_of).collect();

    etcd.end();
    let mut went_on = GoesOn::new(&viewers);
    use_it_for(lasts / 2, [here, there], &mut went_on);
    let silent = Silent::start(etcd.http);
    use_it_for(lasts / 2, [here, there], &mut went_on);
    let rate = silent.end() as f64 / (lasts / 2).as_secs_f64();
    assert!(
        rate < ASKED_PER_SECOND_MAX,
        "etcd is asked {rate:.1} times a second"
    );

    for (server, (memory_kib, descriptors)) in servers.iter().zip(before) {
        let (now_kib, now_descriptors) = use_of(server);
        assert!(
            now_kib < memory_kib + MEMORY_MORE_MAX_KIB,
            "{memory_kib} KiB, then {now_kib}"
        );
        assert!(
            now_descriptors < descriptors + DESCRIPTORS_MORE_MAX,
            "{descriptors} descriptors, then {now_descriptors}"
        );
        let log = server.errors();
        let complaints = log.matches("the store does not answer").count();
        assert!(
            (1..=2).contains(&complaints),
            "{complaints} complaints in\n{log}"
        );
    }

    assert!(etcd.begin(), "it starts again");
    let back = Instant::now();
    for (manager, stream) in managers.iter().zip(["one", "other"]) {
        in_time(
            manager,
            "what was agreed on is known",
            HEALED_WITHIN,
            || running(manager) == 2 && links(manager, "cam") == Some(1),
        );
        let new = Client::start(manager.http(), stream, Wish::publish());
        for manager in &managers {
            in_time(
                manager,
                "what is agreed on now is known",
                HEALED_WITHIN,
                || links(manager, stream) == Some(0),
            );
        }
        assert_eq!(new.leave(), 204);
    }
    assert!(back.elapsed() < 2 * HEALED_WITHIN);
    went_on.look();
    assert!(!publisher.seen().closed);
    assert!(viewers.iter().all(|viewer| !viewer.seen().closed));
}

/// Publishers and viewers come and go at both managers.
fn use_it_for(time: Duration, managers: [SocketAddr; 2], went_on: &mut GoesOn<'_>) {
    let until = Instant::now() + time;
    let mut round = 0;
    while Instant::now() < until {
        let [here, there] = if round % 2 == 0 {
            managers
        } else {
            [managers[1], managers[0]]
        };
        let asked = Instant::now();
        let late = Client::start(here, "cam", Wish::watch());
        let took = asked.elapsed();
        assert!(took < JOINED_WITHIN, "a viewer waited for {took:?}");
        watched(&late, 3);
        let stream = format!("new{}", round % 5);
        let publisher = Client::start(there, &stream, Wish::publish());
        let second = Client::try_start(here, &stream, Wish::publish());
        assert_eq!(second.err().expect("refused").status, 409);
        for client in [&late, &publisher] {
            assert_eq!(client.leave(), 204);
        }
        went_on.look();
        round += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(round > 2, "only {round} rounds");
}

/// Viewers who are not to miss anything.
struct GoesOn<'a> {
    viewers: &'a [Client],
    newest: Vec<Option<u32>>,
}

impl<'a> GoesOn<'a> {
    fn new(viewers: &'a [Client]) -> Self {
        GoesOn {
            viewers,
            newest: vec![None; viewers.len()],
        }
    }

    /// All have seen more since the last look.
    fn look(&mut self) {
        for (viewer, before) in self.viewers.iter().zip(&mut self.newest) {
            let seen = viewer.seen();
            let newest = seen.video.newest();
            assert!(newest > *before, "no picture after {before:?}");
            assert_eq!(seen.corrupt, 0);
            *before = newest;
        }
    }
}

/// Takes connections, counts them and says nothing.
struct Silent {
    at: SocketAddr,
    count: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Silent {
    fn start(at: SocketAddr) -> Silent {
        let listener = TcpListener::bind(at).expect("the port that etcd had");
        let (count, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, over) = (count.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut open = std::collections::VecDeque::new();
            while let Ok((connection, _)) = listener.accept() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                open.push_back(connection);
                // Those who asked first have given up long ago.
                if open.len() > OPEN_MAX {
                    open.pop_front();
                }
            }
        });
        Silent {
            at,
            count,
            is_over,
            thread,
        }
    }

    /// Stops; how many connections there were.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it.
        drop(std::net::TcpStream::connect(self.at).expect("it listens"));
        self.thread.join().expect("no panic");
        self.count.load(Ordering::Relaxed)
    }
}

fn manager(etcd: &Etcd) -> Process {
    let manager = Process::start(&["manager", "--listen", "127.0.0.1:0", "--etcd", &etcd.url]);
    manager.wait_for("Page");
    manager
}

fn node(etcd: &Etcd, alias: &str) -> Process {
    let own = ["--shards", "1", "--alias", alias, "--etcd", &etcd.url];
    let reach = ["--set", "cascade.allow=127.0.0.1"];
    Process::serving(&[&own[..], &reach].concat())
}

fn running(manager: &Process) -> usize {
    let nodes = get(manager.http(), "/api/nodes/");
    let nodes = nodes.as_array().expect("a list").iter();
    nodes.filter(|node| node["status"] == "running").count()
}

/// How many links are agreed on for a stream, if anything is.
fn links(manager: &Process, stream: &str) -> Option<usize> {
    let trees = get(manager.http(), "/api/cascades");
    let mut trees = trees.as_array().expect("a list").iter();
    let tree: &Value = trees.find(|tree| tree["id"] == stream)?;
    tree["links"].as_array().map(Vec::len)
}

fn in_time(manager: &Process, what: &str, max: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    eventually_or(
        what,
        || is_so() || began.elapsed() > max,
        || manager.errors(),
    );
    assert!(is_so(), "not within {max:?}: {what}\n{}", manager.errors());
}

const START: Duration = Duration::from_secs(20);
const HEALED_WITHIN: Duration = Duration::from_secs(10);
/// From the offer to the answer, by what is known.
const JOINED_WITHIN: Duration = Duration::from_secs(2);
/// Of two managers and two nodes together.
const ASKED_PER_SECOND_MAX: f64 = 20.0;
const MEMORY_MORE_MAX_KIB: u64 = 32 * 1024;
const DESCRIPTORS_MORE_MAX: usize = 40;
const OPEN_MAX: usize = 200;
