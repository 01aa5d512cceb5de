//! The manager's own tokens: who logs in gets one that may do everything for a day, and who has
//! one may make others for single streams. They are JSON Web Tokens (RFC 7519) like all that nodes
//! take, signed with `auth.secret`.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest, hmac};
use base64ct::{Base64UrlUnpadded, Encoding};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Manager, lists};
use crate::auth::Rights;
use crate::context::now;
use crate::http::body::{read_json_within, whole_given};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, full};

/// Makes tokens.
pub(crate) struct Signer {
    key: hmac::Key,
}

/// What the guard of every node reads.
#[derive(Serialize)]
struct Claims<'a> {
    id: &'a str,
    exp: u64,
    mode: u8,
}

#[derive(Serialize)]
struct Token {
    access_token: String,
    token_type: &'static str,
}

#[derive(Deserialize)]
struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    id: String,
    /// In seconds.
    #[serde(deserialize_with = "whole_given")]
    duration: u64,
    #[serde(default)]
    subscribe: bool,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    admin: bool,
}

impl Signer {
    pub(crate) fn new(secret: &str) -> Self {
        Signer {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        }
    }

    /// What proves that a session was made by this one, in hexadecimal digits. All managers with
    /// the same secret say the same.
    pub(super) fn mark(&self, owner: &str, session: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["session", owner, session] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let bytes = tag.as_ref().iter().take(MARK_SIZE);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 7515 §3.1, HS256.
    fn sign(&self, id: &str, lasts: Duration, mode: u8) -> Token {
        let claims = Claims {
            id,
            exp: now().unix_ms / 1000 + lasts.as_secs(),
            mode,
        };
        // A text and two numbers always serialise.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{}.{}", base64(HEADER), base64(&claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        Token {
            access_token: format!("{signed}.{}", base64(signature.as_ref())),
            token_type: "Bearer",
        }
    }
}

/// POST of `/api/login`.
pub(super) async fn login(manager: &Manager, request: &mut Request) -> Result<Response, Problem> {
    let said: Credentials = read_json_within(&manager.config.http.limits, request).await?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (Some(username), Some(password)) = (some(said.username), some(said.password)) else {
        return Ok(complaint(StatusCode::BAD_REQUEST, "Missing credentials"));
    };
    // All are compared, each in constant time.
    let known = manager
        .config
        .accounts
        .iter()
        .fold(false, |known, account| {
            let name = is_same(&account.username, &username);
            known | (name & is_same(&account.password, &password))
        });
    if known {
        return Ok(lists::render(&manager.signer.sign("*", DAY, ALL)));
    }
    // Passwords are not to be found by trying.
    manager.limiter.charge_miss(request.source)?;
    Ok(complaint(StatusCode::UNAUTHORIZED, "Wrong credentials"))
}

/// POST of `/api/token`: for one stream, or all with `*`.
pub(super) async fn token(manager: &Manager, request: &mut Request) -> Result<Response, Problem> {
    request.grant.on_all(Rights::ADMIN)?;
    let wanted: Wanted = read_json_within(&manager.config.http.limits, request).await?;
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let mode = bit(wanted.subscribe, 4) | bit(wanted.publish, 2) | bit(wanted.admin, 1);
    let lasts = Duration::from_secs(wanted.duration.min(LASTS_MAX.as_secs()));
    Ok(lists::render(&manager.signer.sign(&wanted.id, lasts, mode)))
}

/// LiveMan's page reads these words.
fn complaint(status: StatusCode, error: &'static str) -> Response {
    let body = serde_json::json!({ "error": error });
    full(status, "application/json", body.to_string())
}

/// In a time that tells nothing about either.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let hash = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let (one, other) = (hash(one), hash(other));
    constant_time::verify_slices_are_equal(one.as_ref(), other.as_ref()).is_ok()
}

fn base64(bytes: &[u8]) -> String {
    let mut room = vec![0; bytes.len().div_ceil(3) * 4];
    let text = Base64UrlUnpadded::encode(bytes, &mut room);
    text.unwrap_or_default().to_owned()
}

/// Guessing takes 2^127 requests.
const MARK_SIZE: usize = 16;
const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ten years.
const LASTS_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Watch, publish and manage.
const ALL: u8 = 7;
