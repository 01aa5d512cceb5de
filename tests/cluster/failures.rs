//! Nodes and managers die.

use std::time::{Duration, Instant};

use crate::client::{Client, Wish};
use crate::fleet::{Fleet, get, watched};
use crate::node::eventually;

#[test]
fn when_a_node_dies_its_publisher_comes_back_on_another_and_viewers_see_it() {
    let mut fleet = Fleet::start(2, &[]);
    let http = fleet.http();
    let publisher = Client::start(http, "cam", Wish::publish());
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 10);
    let home = Fleet::home(&publisher);
    let killed = Instant::now();
    fleet.kill(&home);
    drop((publisher, viewer));
    // The first attempt may be the one by which the manager finds out.
    let publisher = Client::start(http, "cam", Wish::publish());
    assert_ne!(Fleet::home(&publisher), home);
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 1);
    let dark = killed.elapsed();
    assert!(dark < Duration::from_secs(3), "{dark:?} without a picture");
    eventually("the list has it once", || {
        let list = get(http, "/api/streams/");
        list.as_array().is_some_and(|list| list.len() == 1) && fleet.homes("cam").len() == 1
    });
    eventually("the dead node is shown as such", || {
        !fleet.running().contains(&home)
    });
}

#[test]
fn viewers_who_come_before_the_publisher_is_back_are_told_to_come_again() {
    let mut fleet = Fleet::start(2, &[]);
    let http = fleet.http();
    let publisher = Client::start(http, "cam", Wish::publish());
    watched(&Client::start(http, "cam", Wish::watch()), 1);
    let home = Fleet::home(&publisher);
    fleet.kill(&home);
    drop(publisher);
    eventually("the manager knows", || !fleet.running().contains(&home));
    let early = Client::try_start(http, "cam", Wish::watch());
    let early = early.err().expect("refused");
    assert_eq!(early.status, 503, "{}", early.body);
    assert!(early.header("retry-after").is_some());
    // A stream that never was is none.
    let wrong = Client::try_start(http, "never", Wish::watch());
    assert_eq!(wrong.err().expect("refused").status, 404);
    let _publisher = Client::start(http, "cam", Wish::publish());
    watched(&Client::start(http, "cam", Wish::watch()), 1);
}

#[test]
fn a_draining_node_takes_nothing_new_and_is_empty_at_the_deadline() {
    let fleet = Fleet::start_with(2, &[], &["--set", "manager.drain_s=1"]);
    let http = fleet.http();
    let publisher = Client::start(http, "cam", Wish::publish());
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 5);
    let home = Fleet::home(&publisher);
    let drain = format!("/api/nodes/{home}/drain");
    let send = |method: &str| {
        let answer = crate::http::request(http, method, &drain, None).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON")
    };
    let state = send("POST");
    assert_eq!(
        (&state["draining"], &state["empty"]),
        (&true.into(), &false.into())
    );
    for number in 0..4 {
        let other = Client::start(http, &format!("s{number}"), Wish::publish());
        assert_ne!(Fleet::home(&other), home);
    }
    eventually("all are gone", || send("GET")["empty"] == true);
    eventually("they were told", || {
        viewer.seen().closed && publisher.seen().closed
    });
    let back = Client::start(http, "cam", Wish::publish());
    assert_ne!(Fleet::home(&back), home);
    assert_eq!(send("DELETE")["draining"], false);
    let unknown = crate::http::request(http, "POST", "/api/nodes/zz/drain", None);
    assert_eq!(unknown.expect("an answer").status, 404);
}

#[test]
fn players_that_listen_hear_of_the_end_of_their_node() {
    let mut fleet = Fleet::start(2, &[]);
    let http = fleet.http();
    let _publisher = Client::start(http, "cam", Wish::publish());
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 5);
    let events = format!("{}/events", viewer.session);
    let made = crate::http::request(http, "POST", &events, None).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    let events = made.header("location").expect("a location").to_owned();
    let listening = std::thread::spawn(move || crate::http::request(http, "GET", &events, None));
    // A poll that comes too late is answered 404 instead of an event.
    std::thread::sleep(Duration::from_millis(500));
    fleet.kill(&Fleet::home(&viewer));
    let heard = listening.join().expect("no panic").expect("an answer");
    assert_eq!(heard.header("content-type"), Some("text/event-stream"));
    assert!(heard.body.contains("event: reconnect"), "{}", heard.body);
}
