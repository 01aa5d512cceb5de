//! What a request says about its body.

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::problem::Problem;

/// Checks that the body is one of `wanted`, which are lower-case `type/subtype`. Answers which.
///
/// RFC 9110 §8.3.1: type and subtype are case-insensitive, parameters may follow.
pub(crate) fn expect(
    headers: &HeaderMap,
    wanted: &[&'static str],
) -> Result<&'static str, Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next();
    if values.next().is_some() {
        // RFC 9110 §5.3: a field that is not a list comes once.
        return Err(Problem::bad_request("more than one Content-Type header"));
    }
    let text = value.map(|value| value.to_str().unwrap_or_default());
    let essence = text.map(|text| text.split(';').next().unwrap_or_default().trim());
    let found = essence.and_then(|essence| {
        let mut wanted = wanted.iter();
        wanted.find(|wanted| essence.eq_ignore_ascii_case(wanted))
    });
    let Some(found) = found else {
        let what = if value.is_none() { "a missing" } else { "this" };
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "{what} Content-Type is not taken here, but {}",
                wanted.join(", ")
            ),
        ));
    };
    let plain =
        |value: &hyper::header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bodies with a Content-Encoding are not taken",
        ));
    }
    Ok(found)
}

pub(crate) const SDP: &str = "application/sdp";
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
pub(crate) const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn check(values: &[&'static str]) -> Result<&'static str, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        expect(&headers, &[SDP])
    }

    #[test]
    fn case_and_parameters_do_not_matter() {
        for good in [
            "application/sdp",
            "Application/SDP",
            "application/sdp; charset=utf-8",
            "application/sdp ;x=y",
        ] {
            assert_eq!(check(&[good]).ok(), Some(SDP), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "application",
            "application/sdpx",
            "text/plain",
            "application/sdp, a/b",
        ] {
            assert!(check(&[bad]).is_err(), "{bad}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&["application/sdp", "application/sdp"]).is_err());
    }
}
