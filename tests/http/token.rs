//! JSON Web Tokens as issuers write them, and as nobody should.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};

pub(crate) const SECRET: &str = "a secret of thirty-two bytes, ok";

/// Signed with [`SECRET`], expires in `seconds`.
pub(crate) fn token(id: &str, mode: u8, seconds: i64) -> String {
    sign(&claims(id, mode, seconds, ""))
}

/// `more` begins with a comma or is empty.
pub(crate) fn claims(id: &str, mode: u8, seconds: i64, more: &str) -> String {
    let exp = unix_now() + seconds;
    format!(r#"{{"id":"{id}","exp":{exp},"mode":{mode}{more}}}"#)
}

pub(crate) fn sign(claims: &str) -> String {
    sign_as(
        r#"{"typ":"JWT","alg":"HS256"}"#,
        claims,
        hmac::HMAC_SHA256,
        SECRET,
    )
}

pub(crate) fn sign_as(
    header: &str,
    claims: &str,
    algorithm: hmac::Algorithm,
    secret: &str,
) -> String {
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    let signature = encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2 + 4];
    Base64UrlUnpadded::encode(bytes, &mut text)
        .expect("enough room")
        .to_owned()
}

pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs() as i64
}
