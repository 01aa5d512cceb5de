//! Who asks, and what they may do: bearer tokens (RFC 6750) that are written down, or JSON Web
//! Tokens (RFC 7519) signed with a key that is known.
//!
//! A request is let in by [`Guard::admit`], which answers with a [`Grant`]; routes then ask the
//! grant for the right they need. Tokens and keys come from the configuration, from files that are
//! looked at again and again ([`Keeper`]), and from a URL that is fetched in the background
//! ([`Fetcher`]); a request never waits for any of them. What a token says is never repeated: not
//! in logs, not in answers, not in errors.

mod api;
mod bearer;
mod grant;
mod guard;
mod jwks;
mod jwt;
mod keeper;
mod key;
mod revocations;
mod state;
mod tag;
mod tokens;

use base64ct::{Base64UrlUnpadded, Encoding};
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;

pub(crate) use api::revocations;
pub(crate) use grant::{Grant, Rights};
pub(crate) use guard::Guard;
pub(crate) use jwks::Fetcher;
pub(crate) use keeper::Keeper;

use crate::http::problem::Problem;

/// The query without the token, for everybody behind the guard.
pub(crate) fn redact(query: &str) -> String {
    let pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split('=').next() != Some(URL_KEY))
        .collect();
    pairs.join("&")
}

/// Who a token that was let in is about, as far as it says so: a JSON Web Token's subject with its
/// issuer (RFC 7519 §4.1.2), else the token itself. To be asked only after the guard.
pub(crate) fn bearer_of(headers: &hyper::HeaderMap, query: &str) -> Option<String> {
    let in_url = || crate::http::path::query_values(query, URL_KEY).ok()?.pop();
    let token = bearer::read(headers)
        .ok()?
        .map(str::to_owned)
        .or_else(in_url)?;
    let subject = || {
        let claims = base64(token.split('.').nth(1)?)?;
        let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
        let text = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
        Some((text("iss").unwrap_or_default(), text("sub")?))
    };
    Some(match subject() {
        Some((issuer, subject)) => format!("{}:{issuer}{subject}", issuer.len()),
        None => token,
    })
}

/// RFC 7515 §2: without padding; a text has one way to be written.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len()];
    let size = Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len();
    bytes.truncate(size);
    Some(bytes)
}

fn unauthenticated(detail: &'static str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
}

fn invalid(detail: &'static str) -> Problem {
    unauthenticated(detail, INVALID_TOKEN)
}

fn ambiguous() -> Problem {
    Problem::bad_request("more than one token in one request")
        .with(WWW_AUTHENTICATE, INVALID_REQUEST)
}

const URL_KEY: &str = "token";

// RFC 6750 §3: no error code for who sent no credentials of this scheme.
const CHALLENGE: &str = "Bearer realm=\"whitewater\"";
const INVALID_TOKEN: &str = "Bearer realm=\"whitewater\", error=\"invalid_token\"";
const INVALID_REQUEST: &str = "Bearer realm=\"whitewater\", error=\"invalid_request\"";
const INSUFFICIENT_SCOPE: &str = "Bearer realm=\"whitewater\", error=\"insufficient_scope\"";
