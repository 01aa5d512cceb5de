//! JSON Web Tokens with an HMAC signature (RFC 7519, RFC 7515, RFC 7518 §3.2).
//!
//! There is one secret and it only ever keys an HMAC: a token can choose the hash function, and
//! nothing else. Claims are not looked at before the signature is known to be ours.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Checks signatures and times.
pub(super) struct Verifier {
    keys: [(&'static str, hmac::Key); 3],
}

/// What a valid token says.
#[derive(Debug, PartialEq)]
pub(super) struct Claims {
    /// A stream's name, or `*`.
    pub(super) id: String,
    /// Bits: 4 subscribe, 2 publish, 1 admin.
    pub(super) mode: u8,
    pub(super) subject: Option<String>,
    /// From now on.
    pub(super) lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Invalid,
    Expired,
    TooEarly,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<IgnoredAny>,
}

/// RFC 7519 §2: times are seconds since 1970, perhaps with a fraction.
#[derive(Deserialize)]
struct Payload {
    id: String,
    exp: f64,
    nbf: Option<f64>,
    mode: u8,
    sub: Option<String>,
}

impl Verifier {
    pub(super) fn new(secret: &str) -> Self {
        let key = |algorithm| hmac::Key::new(algorithm, secret.as_bytes());
        Verifier {
            keys: [
                ("HS256", key(hmac::HMAC_SHA256)),
                ("HS384", key(hmac::HMAC_SHA384)),
                ("HS512", key(hmac::HMAC_SHA512)),
            ],
        }
    }

    /// # Errors
    /// `Invalid` for everything that is not a token of ours, else what is wrong with the time.
    pub(super) fn verify(&self, token: &str, unix_ms: u64) -> Result<Claims, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Invalid)?;
        let header: Header = read(header)?;
        // RFC 7515 §4.1.11: extensions that must be understood are not.
        if header.crit.is_some() {
            return Err(Refusal::Invalid);
        }
        // RFC 8725 §3.1: the algorithms are ours to choose; "none" and public keys are not among
        // them.
        let mut keys = self.keys.iter();
        let (_, key) = keys
            .find(|(name, _)| *name == header.alg)
            .ok_or(Refusal::Invalid)?;
        hmac::verify(key, signed.as_bytes(), &decode(signature)?).map_err(|_| Refusal::Invalid)?;
        read::<Payload>(payload)?.judge(unix_ms)
    }
}

impl Payload {
    fn judge(self, unix_ms: u64) -> Result<Claims, Refusal> {
        // Exact far beyond any date.
        let now = unix_ms as f64 / 1000.0;
        let end = self.exp + LEEWAY_S;
        if now >= end {
            return Err(Refusal::Expired);
        }
        if self.nbf.is_some_and(|nbf| now < nbf - LEEWAY_S) {
            return Err(Refusal::TooEarly);
        }
        // The leeway is for clocks that differ. What began before `exp` ends at `exp`, what was
        // let in by the leeway ends with it.
        let left = if now < self.exp { self.exp } else { end } - now;
        Ok(Claims {
            id: self.id,
            mode: self.mode,
            subject: self.sub,
            lifetime: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX),
        })
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    serde_json::from_slice(&decode(part)?).map_err(|_| Refusal::Invalid)
}

/// RFC 7515 §2: without padding; a text has one way to be written.
fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; part.len()];
    let size = Base64UrlUnpadded::decode(part, &mut bytes)
        .map_err(|_| Refusal::Invalid)?
        .len();
    bytes.truncate(size);
    Ok(bytes)
}

/// RFC 7519 §4.1.4: a small leeway, no more than a few minutes.
const LEEWAY_S: f64 = 60.0;
