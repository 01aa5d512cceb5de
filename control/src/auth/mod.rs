//! Who asks, and what they may do: bearer tokens (RFC 6750) that are configured, or JSON Web
//! Tokens (RFC 7519) signed with the configured secret.
//!
//! A request is let in by [`Guard::admit`], which answers with a [`Grant`]; routes then ask the
//! grant for the right they need. What a token says is never repeated: not in logs, not in
//! answers, not in errors.

mod bearer;
mod grant;
mod jwt;

use std::io;

use aws_lc_rs::{constant_time, hmac};
use hyper::StatusCode;
use hyper::header::{HeaderMap, WWW_AUTHENTICATE};
use whitewater_model::{Now, Principal};

pub(crate) use grant::{Grant, Rights};

use crate::Auth;
use crate::http::path;
use crate::http::problem::Problem;
use jwt::Refusal;

/// Checks credentials.
pub(crate) struct Guard {
    /// Random, of this process: what is made with it tells nothing about a token.
    key: hmac::Key,
    /// The configured tokens under that key.
    tokens: Vec<hmac::Tag>,
    jwt: Option<jwt::Verifier>,
    token_in_url: bool,
}

impl Guard {
    /// # Errors
    /// When the kernel has no random bits.
    pub(crate) fn new(config: &Auth) -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let tokens = config.tokens.iter();
        Ok(Guard {
            tokens: tokens.map(|token| tag(&key, Kind::Token, token)).collect(),
            key,
            jwt: (!config.secret.is_empty()).then(|| jwt::Verifier::new(&config.secret)),
            token_in_url: config.token_in_url,
        })
    }

    /// Whether it asks for credentials at all.
    pub(crate) fn asks(&self) -> bool {
        !self.tokens.is_empty() || self.jwt.is_some()
    }

    /// What the credentials of a request allow.
    ///
    /// # Errors
    /// 401 without valid ones, 400 with more than one; both name the scheme that is asked for
    /// (RFC 6750 §3).
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        query: &str,
        now: Now,
    ) -> Result<Grant, Problem> {
        if !self.asks() {
            return Ok(Grant::everything(Principal::Anonymous));
        }
        match (bearer::read(headers)?, self.url_token(query)?) {
            // RFC 6750 §2: one method of sending it per request.
            (Some(_), Some(_)) => Err(ambiguous()),
            (Some(token), None) => self.judge(token, now),
            (None, Some(token)) => self.judge(&token, now),
            (None, None) => Err(unauthenticated("this needs a bearer token", CHALLENGE)),
        }
    }

    fn url_token(&self, query: &str) -> Result<Option<String>, Problem> {
        if !self.token_in_url {
            return Ok(None);
        }
        let mut tokens = path::query_values(query, URL_KEY)?;
        if tokens.len() > 1 {
            return Err(ambiguous());
        }
        Ok(tokens.pop())
    }

    fn judge(&self, token: &str, now: Now) -> Result<Grant, Problem> {
        if token.len() > TOKEN_SIZE_MAX {
            return Err(invalid("the token is not valid"));
        }
        let own = tag(&self.key, Kind::Token, token);
        // All are compared, each in constant time, so that how long it takes tells nothing.
        let known = self.tokens.iter().fold(false, |known, tag| {
            let same = constant_time::verify_slices_are_equal(tag.as_ref(), own.as_ref()).is_ok();
            known | same
        });
        if known {
            return Ok(Grant::everything(principal(&own)));
        }
        let Some(jwt) = &self.jwt else {
            return Err(invalid("the token is not valid"));
        };
        let claims = jwt.verify(token, now.unix_ms).map_err(|refusal| {
            invalid(match refusal {
                Refusal::Invalid => "the token is not valid",
                Refusal::Expired => "the token has expired",
                Refusal::TooEarly => "the token is not valid yet",
            })
        })?;
        // RFC 7519 §4.1.2: the subject is who the token is about, whichever token it is. Without
        // one every token is a principal of its own.
        let own = match &claims.subject {
            Some(subject) => tag(&self.key, Kind::Subject, subject),
            None => tag(&self.key, Kind::Jwt, token),
        };
        let until = now.mono.checked_add(claims.lifetime);
        Ok(Grant::scoped(
            principal(&own),
            claims.id,
            claims.mode,
            until,
        ))
    }
}

/// What a tag is made of, so that a subject never equals a token.
#[derive(Clone, Copy)]
enum Kind {
    Token = 0,
    Jwt = 1,
    Subject = 2,
}

fn tag(key: &hmac::Key, kind: Kind, text: &str) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&[kind as u8]);
    context.update(text.as_bytes());
    context.sign()
}

fn principal(tag: &hmac::Tag) -> Principal {
    let mut number = [0; 16];
    for (to, from) in number.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    Principal::Bearer(u128::from_be_bytes(number))
}

/// The query without the token, for everybody behind the guard.
pub(crate) fn redact(query: &str) -> String {
    let pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split('=').next() != Some(URL_KEY))
        .collect();
    pairs.join("&")
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
/// Nothing is hashed that is longer.
const TOKEN_SIZE_MAX: usize = 8 * 1024;

// RFC 6750 §3: no error code for who sent no credentials of this scheme.
const CHALLENGE: &str = "Bearer realm=\"whitewater\"";
const INVALID_TOKEN: &str = "Bearer realm=\"whitewater\", error=\"invalid_token\"";
const INVALID_REQUEST: &str = "Bearer realm=\"whitewater\", error=\"invalid_request\"";
const INSUFFICIENT_SCOPE: &str = "Bearer realm=\"whitewater\", error=\"insufficient_scope\"";
