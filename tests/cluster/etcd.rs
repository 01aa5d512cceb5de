//! Several managers that meet in etcd. Where it is not installed there is nothing to be tested.

use crate::client::{Client, Wish};
use crate::fleet::{Fleet, get, watched};
use crate::http::request;
use crate::node::{Process, eventually, eventually_or};
use crate::store::Etcd;

fn manager(etcd: &Etcd) -> Process {
    let manager = Process::start(&[
        "manager",
        "--listen",
        "127.0.0.1:0",
        "--etcd",
        &etcd.url,
        "--set",
        "manager.poll_ms=100",
    ]);
    manager.wait_for("Page");
    manager
}

fn node(etcd: &Etcd, alias: &str) -> Process {
    let own = ["--shards", "1", "--alias", alias, "--etcd", &etcd.url];
    Process::serving(&own)
}

fn runs(manager: &Process, count: usize) {
    let running = || {
        let nodes = get(manager.http(), "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").iter();
        nodes.filter(|node| node["status"] == "running").count()
    };
    eventually_or(
        "so many nodes run",
        || running() == count,
        || manager.errors(),
    );
}

#[test]
fn nodes_register_and_managers_agree() {
    let Some(etcd) = Etcd::start("agree") else {
        return;
    };
    let managers = [manager(&etcd), manager(&etcd)];
    let nodes = [node(&etcd, "a"), node(&etcd, "b")];
    for manager in &managers {
        runs(manager, 2);
    }
    // Two publishers of one stream, at both managers at once, again and again.
    for round in 0..5 {
        let stream = format!("cam{round}");
        let offers = std::thread::scope(|scope| {
            let publish = |at: usize| {
                let (http, stream) = (managers[at % 2].http(), &stream);
                scope.spawn(move || Client::try_start(http, stream, Wish::publish()))
            };
            let all: Vec<_> = (0..4).map(publish).collect();
            let ended = all.into_iter().map(|one| one.join().expect("no panic"));
            ended.collect::<Vec<_>>()
        });
        let made = offers.iter().filter(|offer| offer.is_ok()).count();
        assert_eq!(made, 1, "of {stream}");
    }
    let publisher = Client::start(managers[0].http(), "live", Wish::publish());
    // Seen by the other one within a second, and watched there.
    eventually("the other manager sees it", || {
        let all = get(managers[1].http(), "/api/streams/?streams=live");
        all.as_array().is_some_and(|all| !all.is_empty())
    });
    let viewer = Client::start(managers[1].http(), "live", Wish::watch());
    assert_eq!(Fleet::home(&viewer), Fleet::home(&publisher));
    watched(&viewer, 10);
    // One manager goes; sessions it made are reached by the other.
    let [first, second] = managers;
    drop(first);
    let ended = request(second.http(), "DELETE", &publisher.session, None);
    assert_eq!(ended.expect("an answer").status, 204);
    // A node that ends in order is forgotten at once.
    let [a, mut b] = nodes;
    b.terminate();
    assert_eq!(b.end().code(), Some(0), "{}", b.errors());
    eventually("it is gone", || {
        let nodes = get(second.http(), "/api/nodes/");
        nodes.as_array().is_some_and(|nodes| nodes.len() == 1)
    });
    drop(a);
}

#[test]
fn without_etcd_all_goes_on_and_with_it_again_all_is_as_before() {
    let Some(mut etcd) = Etcd::start("away") else {
        return;
    };
    let managers = [manager(&etcd), manager(&etcd)];
    let _nodes = [node(&etcd, "a"), node(&etcd, "b")];
    for manager in &managers {
        runs(manager, 2);
    }
    let _publisher = Client::start(managers[0].http(), "before", Wish::publish());
    let viewer = Client::start(managers[1].http(), "before", Wish::watch());
    watched(&viewer, 10);
    etcd.end();
    // Longer than nodes stay registered without a word.
    let frames = viewer.seen().video.newest();
    std::thread::sleep(std::time::Duration::from_secs(8));
    assert!(viewer.seen().video.newest() > frames, "media goes on");
    let late = Client::start(managers[0].http(), "before", Wish::watch());
    watched(&late, 5);
    // Both managers send a new publisher to the same node without asking anybody.
    let first = Client::start(managers[0].http(), "during", Wish::publish());
    let second = Client::try_start(managers[1].http(), "during", Wish::publish());
    assert_eq!(second.err().expect("refused").status, 409);
    eventually("the other manager sees it", || {
        let all = get(managers[1].http(), "/api/streams/?streams=during");
        all.as_array().is_some_and(|all| !all.is_empty())
    });
    let other = Client::start(managers[1].http(), "during", Wish::watch());
    assert_eq!(Fleet::home(&other), Fleet::home(&first));
    watched(&other, 5);
    assert!(etcd.begin(), "it starts again");
    for manager in &managers {
        runs(manager, 2);
        eventually("what was done meanwhile is agreed on", || {
            let trees = get(manager.http(), "/api/cascades");
            let trees = trees.as_array().expect("a list").clone();
            let of = |stream: &str| trees.iter().any(|tree| tree["id"] == stream);
            of("before") && of("during")
        });
    }
    let last = Client::start(managers[1].http(), "after", Wish::publish());
    watched(
        &Client::start(managers[0].http(), "during", Wish::watch()),
        5,
    );
    assert_eq!(last.leave(), 204);
}
