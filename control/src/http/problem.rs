//! Errors as RFC 9457 problem details.

use std::borrow::Cow;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use whitewater_model::Error;

use super::response::{Response, full};

/// What a client is told when it does not get what it asked for: the rule it broke, never a cause
/// inside.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem {
            status,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn internal() -> Self {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server could not do this; its log has the cause",
        )
    }

    /// Something is used up now and will be free again (RFC 9725 §4.5).
    pub(crate) fn overloaded(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(OVERLOAD_RETRY_AFTER)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// In whole seconds, rounded up.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        self.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }
}

/// RFC 9457 §3: with the type `about:blank` the title is the status code's phrase.
#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let details = Details {
            r#type: "about:blank",
            title: problem.status.canonical_reason().unwrap_or("Error"),
            status: problem.status.as_u16(),
            detail: &problem.detail,
        };
        // Strings and a number always serialise.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = full(problem.status, "application/problem+json", body);
        for (name, value) in problem.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NoSuchStream | Error::NoSuchSession => Problem::not_found(detail),
            Error::NoSuchLayer => Problem::unprocessable(detail),
            Error::StreamExists => Problem::new(StatusCode::CONFLICT, detail),
            Error::AlreadyPublished { retry_after } | Error::NotLive { retry_after } => {
                Problem::new(StatusCode::CONFLICT, detail).retry_after(retry_after)
            }
            Error::LimitReached { .. } => Problem::overloaded(detail),
            Error::Draining => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(DRAIN_RETRY_AFTER)
            }
            _ => Problem::internal(),
        }
    }
}

const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(5);
const DRAIN_RETRY_AFTER: Duration = Duration::from_secs(2);
