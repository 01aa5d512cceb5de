//! The plain listener beside HTTPS: it knows the way there and nothing else.

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, LOCATION};

use super::origin;
use super::problem::Problem;
use super::response::{Response, empty};
use super::site::Site;
use crate::Config;

/// Answers with the same URL under HTTPS. The method and the body are to be kept, also for POST:
/// RFC 9725 §4.5 has 307 or 308 for that. The connection ends: there is nothing more to ask.
pub(super) fn serve(
    site: &impl Site,
    https_port: u16,
    request: &hyper::Request<Incoming>,
) -> Response {
    let mut response = match location(site.config(), https_port, request) {
        Ok(location) => {
            let mut response = empty(StatusCode::PERMANENT_REDIRECT);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(problem) => problem.into(),
    };
    if request.version() < hyper::Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    site.counters().count(response.status());
    response
}

fn location(
    config: &Config,
    https_port: u16,
    request: &hyper::Request<Incoming>,
) -> Result<HeaderValue, Problem> {
    let host = origin::host(request.uri(), request.headers());
    let host = host.map_err(|_| Problem::bad_request("more than one Host header"))?;
    let name = host.map(origin::name_of).unwrap_or_default();
    if !is_host(name) || !origin::is_own_name(config.listen, &config.hosts, name) {
        return Err(Problem::bad_request(
            "the Host is not a name of this server",
        ));
    }
    let port = match https_port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    HeaderValue::try_from(format!("https://{name}{port}{path}"))
        .map_err(|_| Problem::bad_request("the path cannot stand in a header"))
}

/// A name or address as it can stand in a URL (RFC 3986 §3.2.2), without user and port.
fn is_host(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for good in ["media.example", "192.0.2.1", "[2001:db8::1]", "a_b-c"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "", "a b", "user@a", "a/b", "[::1", "[x]", "::1", "a?b", "a\\b",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
