//! The `Authorization` header (RFC 9110 §11.6.2, RFC 6750 §2.1).

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::{ambiguous, invalid};
use crate::http::problem::Problem;

/// The bearer token of a request; `None` when there is none, or credentials of another scheme.
///
/// # Errors
/// 400 for more than one header, 401 for a token no token can look like.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ambiguous());
    }
    let malformed = || invalid("the Authorization header is malformed");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    // RFC 9110 §11.1: the scheme's case does not matter.
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    Ok(Some(token))
}
