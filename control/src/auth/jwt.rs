//! JSON Web Tokens (RFC 7519) in the compact form of signed objects (RFC 7515).
//!
//! Claims are not looked at before the signature is known to be that of a key of ours.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::base64;
use super::key::Key;

/// What claims are held against.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// One of these must have made the token; empty: anybody who has a key.
    pub(super) issuers: Vec<String>,
    /// It must be for one of these; empty: for nobody in particular.
    pub(super) audiences: Vec<String>,
    /// How far clocks may differ.
    pub(super) leeway: Duration,
}

/// A token, taken apart and not yet believed.
pub(super) struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// What a valid token says.
#[derive(Debug, PartialEq)]
pub(super) struct Claims {
    /// A stream's name, or `*`.
    pub(super) id: String,
    /// Bits: 4 subscribe, 2 publish, 1 admin.
    pub(super) mode: u8,
    pub(super) issuer: Option<String>,
    pub(super) subject: Option<String>,
    /// The token's own name.
    pub(super) token_id: Option<String>,
    /// The name of its subject's session with the issuer.
    pub(super) session_id: Option<String>,
    /// From now on.
    pub(super) lifetime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Invalid,
    Expired,
    TooEarly,
    Issuer,
    Audience,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// RFC 7519 §4.1; `sid` is that of OpenID Connect's logout. RFC 7519 §2: times are seconds since
/// 1970, perhaps with a fraction.
#[derive(Deserialize)]
struct Payload {
    id: String,
    mode: u8,
    exp: f64,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    sub: Option<String>,
    jti: Option<String>,
    sid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl<'a> Unverified<'a> {
    /// # Errors
    /// `Invalid` for everything that no token of ours looks like.
    pub(super) fn parse(token: &'a str) -> Result<Self, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Invalid)?;
        let header: Header = read(header)?;
        // RFC 7515 §4.1.11: extensions that must be understood are not.
        if header.crit.is_some() {
            return Err(Refusal::Invalid);
        }
        Ok(Unverified {
            header,
            signed,
            payload,
            signature: base64(signature).ok_or(Refusal::Invalid)?,
        })
    }

    /// How it calls its key.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Whether this key made it.
    pub(super) fn is_signed_by(&self, key: &Key) -> bool {
        key.is_called(self.key_id())
            && key.verifies(&self.header.alg, self.signed.as_bytes(), &self.signature)
    }

    /// What it says. To be asked only after [`is_signed_by`](Self::is_signed_by).
    ///
    /// # Errors
    /// `Invalid` for claims that are missing or of another type, else what is wrong with them.
    pub(super) fn claims(&self, rules: &Rules, unix_ms: u64) -> Result<Claims, Refusal> {
        read::<Payload>(self.payload)?.judge(rules, unix_ms)
    }
}

impl Payload {
    fn judge(self, rules: &Rules, unix_ms: u64) -> Result<Claims, Refusal> {
        let lifetime = self.lifetime(rules.leeway, unix_ms)?;
        let known = |issuer: &String| rules.issuers.contains(issuer);
        if !rules.issuers.is_empty() && !self.iss.as_ref().is_some_and(known) {
            return Err(Refusal::Issuer);
        }
        // RFC 7519 §4.1.3: a token for others only is none for us.
        let named: &[String] = match &self.aud {
            Some(Audience::One(one)) => std::slice::from_ref(one),
            Some(Audience::Many(many)) => many,
            None => &[],
        };
        let ours = named.iter().any(|one| rules.audiences.contains(one));
        if !ours && (self.aud.is_some() || !rules.audiences.is_empty()) {
            return Err(Refusal::Audience);
        }
        Ok(Claims {
            id: self.id,
            mode: self.mode,
            issuer: self.iss,
            subject: self.sub,
            token_id: self.jti,
            session_id: self.sid,
            lifetime,
        })
    }

    fn lifetime(&self, leeway: Duration, unix_ms: u64) -> Result<Duration, Refusal> {
        let leeway = leeway.as_secs_f64();
        // Exact far beyond any date.
        let now = unix_ms as f64 / 1000.0;
        let end = self.exp + leeway;
        if now >= end {
            return Err(Refusal::Expired);
        }
        if self.nbf.is_some_and(|nbf| now < nbf - leeway) {
            return Err(Refusal::TooEarly);
        }
        // The leeway is for clocks that differ. What began before `exp` ends at `exp`, what was
        // let in by the leeway ends with it.
        let left = if now < self.exp { self.exp } else { end } - now;
        Ok(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = base64(part).ok_or(Refusal::Invalid)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Invalid)
}
