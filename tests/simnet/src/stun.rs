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
