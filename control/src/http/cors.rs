//! Which answers a page of another origin may read (Fetch standard, "CORS protocol").

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};

use super::origin;

/// Who may read a route's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Openness {
    /// Pages of every origin: players and encoders live anywhere, and nothing here goes by cookie.
    Anyone,
    /// Pages of the configured origins.
    Listed,
}

/// Adds what the browser needs, to errors too: else it hides even the status.
pub(crate) fn apply(
    openness: Openness,
    allowed_origins: &[String],
    request: &HeaderMap,
    response: &mut HeaderMap,
) {
    match openness {
        Openness::Anyone => {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Openness::Listed if allowed_origins.is_empty() => return,
        Openness::Listed => {
            response.append(VARY, HeaderValue::from_static("origin"));
            let Some(origin) = request.get(ORIGIN) else {
                return;
            };
            if !origin::is_allowed(allowed_origins, origin.to_str().unwrap_or_default()) {
                return;
            }
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
    if request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        response.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        response.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(HEADERS),
        );
        response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    } else {
        response.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
}

const METHODS: &str = "OPTIONS, GET, HEAD, POST, PATCH, DELETE";
const HEADERS: &str = "authorization, content-type, if-match, last-event-id";
const EXPOSED: &str =
    "Location, ETag, Link, Accept-Patch, Accept-Post, Allow, Retry-After, WWW-Authenticate";
