//! Viewers whose offer cannot carry the stream (WHEP §4.3.2).

use str0m::format::Codec;

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::request;
use crate::node::Running;

/// Offers H.264 only, and could do VP8 if asked.
fn mismatched() -> Wish {
    Wish::watch()
        .without_audio()
        .with_video(&[(Codec::H264, 102)])
}

#[test]
fn e_ctr_3_a_viewer_that_answers_the_counter_offer_gets_the_stream() {
    let node = Running::start(&[("media.shards", "2")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let viewers: Vec<Client> = (0..4)
        .map(|_| {
            let wish = mismatched().answering_with(&[(Codec::Vp8, 96)]);
            Client::start(node.http, "cam", wish)
        })
        .collect();
    for viewer in &viewers {
        assert!(viewer.answer.contains("a=sendonly"), "{}", viewer.answer);
        assert!(viewer.answer.contains("a=setup:actpass"));
        watched(viewer, 30);
        assert_eq!(viewer.leave(), 204);
    }
    assert_eq!(publisher.seen().corrupt, 0);
}

#[test]
fn e_sdp_7_an_offer_that_cannot_carry_the_stream_never_makes_a_silent_session() {
    let node = Running::start(&[]);
    // Nobody publishes: the viewer waits, whatever it can play.
    let early = Client::start(node.http, "cam", mismatched());
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let refused = Client::try_start(node.http, "cam", mismatched());
    let refused = refused.err().expect("it could play nothing");
    assert_eq!(refused.status, 406);
    assert!(refused.body.contains("VP8/90000"), "{}", refused.body);
    // RFC 9429 §5.2.1: a whole offer, with all candidates.
    for line in [
        "a=ice-lite",
        "a=candidate:",
        "a=group:BUNDLE",
        "a=rtcp-mux-only",
        "a=msid:",
    ] {
        assert!(refused.body.contains(line), "{line}: {}", refused.body);
    }
    let location = refused.header("location").expect("the session").to_owned();
    // An answer to another offer than ours.
    let wrong = request(
        node.http,
        "PATCH",
        &location,
        Some(("application/sdp", &publisher.answer)),
    );
    let wrong = wrong.expect("the node answers");
    assert!([400, 422].contains(&wrong.status), "{}", wrong.body);
    drop(early);
}
