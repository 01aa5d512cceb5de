//! Requests without a token, and with tokens that cannot be checked, while the server of the keys
//! hangs.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::line::{Line, flood, request};
use super::scene::{HOUSE_TOKEN, Scene};
use super::{address, scaled};
use crate::client::{Wish, offer_text};

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_21_strangers_while_the_key_server_hangs() {
    let keys = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "auth.jwks_url=http://{}/keys",
        keys.local_addr().expect("bound")
    );
    let asked = hang(keys);
    let scene = Scene::begin(
        "strangers while the key server hangs",
        Some(HOUSE_TOKEN),
        &[&url],
    );
    let lines = || {
        (0..8)
            .map(|index| Line::new(scene.http(), address(index % 4)))
            .collect()
    };
    let headers = "Content-Type: application/sdp\r\n";
    let offer = offer_text(&Wish::watch());
    let nameless = request("POST", "/whep/cam", headers, &offer);
    let before = asked.load(Ordering::Relaxed);
    let without = flood(lines(), scaled(10_000), 1000, |_| nameless.clone());
    let fetches = asked.load(Ordering::Relaxed) - before;
    assert_eq!(without.statuses.keys().collect::<Vec<_>>(), [&401]);
    assert!(
        fetches <= 2,
        "{fetches} fetches in ten seconds without a token"
    );
    // {"alg":"ES256","kid":"#"}: a key that is not known, another one each time.
    let forged = flood(lines(), scaled(10_000), 1000, |index| {
        let head = format!("{{\"alg\":\"ES256\",\"kid\":\"{index}\"}}");
        let token = format!("{}.e30.{}", base64url(head.as_bytes()), "A".repeat(86));
        let headers = format!("{headers}Authorization: Bearer {token}\r\n");
        request("POST", "/whep/cam", &headers, &offer)
    });
    assert_eq!(forged.statuses.keys().collect::<Vec<_>>(), [&401]);
    let fetches = asked.load(Ordering::Relaxed) - before;
    assert!(fetches <= 8, "{fetches} fetches in twenty seconds");
    let answers = format!("without: {without}; of an unknown key: {forged}; {fetches} fetches");
    scene.end(
        "10,000 without a token and 10,000 forged ones, at 1,000/s",
        &answers,
    );
}

/// Takes connections and never answers; how many there were.
fn hang(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    });
    count
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().enumerate().fold(0_u32, |value, (at, byte)| {
            value | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..=chunk.len() {
            let index = (value >> (18 - 6 * at)) & 63;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}
