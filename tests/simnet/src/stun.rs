//! Hand-made connectivity checks, for good and bad ends.

use str0m::ice::{StunMessage, TransId};

/// A binding request as the controlling side sends it.
///
/// `ours` is the server's user name fragment, `theirs` the peer's, `pwd` the server's password.
pub fn check(ours: &str, theirs: &str, pwd: &str, nominate: bool) -> Vec<u8> {
    let username = format!("{ours}:{theirs}");
    let request = StunMessage::binding_request(&username, TransId::new(), true, 1, 1, nominate);
    render(request, pwd)
}

/// A check of [`check`] without the FINGERPRINT at its end; its integrity still holds, for that is
/// computed as if it were last (RFC 8489 §14.5).
pub fn without_fingerprint(check: &[u8]) -> Vec<u8> {
    let mut bytes = check[..check.len() - 8].to_vec();
    let size = u16::try_from(bytes.len() - 20).expect("a check is small");
    bytes[2..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// Whether a datagram is a success response, and if so to what address.
pub fn mapped_address(bytes: &[u8]) -> Option<std::net::SocketAddr> {
    let message = StunMessage::parse(bytes).ok()?;
    message
        .is_successful_binding_response()
        .then(|| message.mapped_address())?
}

fn render(message: StunMessage<'_>, pwd: &str) -> Vec<u8> {
    let mut buf = [0; 512];
    let size = message
        .to_bytes(Some(pwd.as_bytes()), &mut buf, |key, parts| {
            whitewater_engine::admission::hmac_sha1(key, parts)
        })
        .expect("a request fits 512 bytes");
    buf[..size].to_vec()
}
