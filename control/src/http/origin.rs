//! Keeps pages of others off the management API: those that reach it under a name of their own
//! (DNS rebinding), and those that send requests without being able to read the answers.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode, Uri};

use super::problem::Problem;
use crate::Config;

/// Checks the name the server was called by, and the page that calls, if one does.
///
/// # Errors
/// 400 when the name is ambiguous, 403.
pub(crate) fn check(
    config: &Config,
    method: &Method,
    host: Result<Option<&str>, Ambiguous>,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = host.map_err(|Ambiguous| Problem::bad_request("more than one Host header"))?;
    // Every browser sends one: without it there is no page to keep off.
    if let Some(host) = host
        && !is_own_name(management_address(config), &config.hosts, name_of(host))
    {
        return Err(forbidden(
            "this Host is not a name of this server; http.hosts lists those it has",
        ));
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
    if reads.contains(method) {
        return Ok(());
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let allowed = origins.all(|origin| {
        let text = origin.to_str().unwrap_or_default();
        is_allowed(&config.allowed_origins, text) || is_own_origin(text, host)
    });
    if allowed {
        Ok(())
    } else {
        Err(forbidden(
            "pages of this origin may not do this; http.allowed_origins lists those that may",
        ))
    }
}

/// Whether pages of this origin may use the management API.
pub(crate) fn is_allowed(allowed_origins: &[String], origin: &str) -> bool {
    allowed_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed == origin)
}

/// More than one `Host` (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// What the server was called, perhaps with a port. RFC 9112 §3.2.2: the target's authority goes
/// before the header; in HTTP/2 it is `:authority`.
pub(crate) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Ambiguous> {
    let mut values = headers.get_all(HOST).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Ambiguous);
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    Ok(value.map(|value| value.to_str().unwrap_or("?")))
}

fn management_address(config: &Config) -> SocketAddr {
    config.admin_listen.unwrap_or(config.listen)
}

/// Whether the server may be called by this name, which has no port, where it listens on `address`.
pub(crate) fn is_own_name(address: SocketAddr, hosts: &[String], name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    let named = bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    if named.is_some_and(|ip| ip.is_loopback()) || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if hosts.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return true;
    }
    if address.ip().to_canonical().is_loopback() {
        return false;
    }
    // Nobody else's page is served from an address of ours, so that addresses need not be listed.
    named.is_some() || hosts.is_empty()
}

/// The page came from here, by whatever scheme a proxy in front of us speaks.
fn is_own_origin(origin: &str, host: Option<&str>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let Some(host) = host else {
        return false;
    };
    let port = |authority| port_of(authority).unwrap_or(default_port);
    name_of(authority).eq_ignore_ascii_case(name_of(host)) && port(authority) == port(host)
}

/// Without the port.
pub(crate) fn name_of(authority: &str) -> &str {
    match port_of(authority) {
        Some(port) => &authority[..authority.len() - port.len() - 1],
        None => authority,
    }
}

fn port_of(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(port)
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, hosts: &[&str]) -> Config {
        Config {
            listen: listen.parse().expect("an address"),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Config::default()
        }
    }

    fn passes(config: &Config, host: &str) -> bool {
        check(config, &Method::GET, Ok(Some(host)), &HeaderMap::new()).is_ok()
    }

    #[test]
    fn on_loopback_only_its_names_and_those_listed_are_ours() {
        let config = config("127.0.0.1:7777", &["Studio.example"]);
        for own in [
            "localhost",
            "LOCALHOST:7777",
            "127.0.0.1",
            "127.9.8.7:1",
            "[::1]",
            "[::1]:7777",
            "studio.example",
            "studio.example:443",
        ] {
            assert!(passes(&config, own), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:7777",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "[::2]:80",
            "studio.example.evil",
            "localhost:x",
        ] {
            assert!(!passes(&config, other), "{other}");
        }
    }

    #[test]
    fn elsewhere_every_name_is_ours_unless_names_are_listed() {
        let open = config("0.0.0.0:7777", &[]);
        assert!(passes(&open, "any.example"));
        let named = config("[::]:7777", &["studio.example"]);
        for own in [
            "studio.example",
            "192.0.2.1:7777",
            "[2001:db8::1]",
            "localhost",
        ] {
            assert!(passes(&named, own), "{own}");
        }
        assert!(!passes(&named, "evil.example"));
    }

    #[test]
    fn the_listener_of_the_management_api_decides_where_there_is_one() {
        let config = Config {
            admin_listen: Some("127.0.0.1:7778".parse().expect("an address")),
            ..config("0.0.0.0:7777", &[])
        };
        assert!(passes(&config, "localhost:7778"));
        assert!(!passes(&config, "any.example"), "a name of somebody else");
    }

    #[test]
    fn a_page_is_ours_by_name_and_port() {
        for (origin, host) in [
            ("http://localhost:7777", "localhost:7777"),
            ("http://localhost", "localhost:80"),
            ("https://studio.example", "studio.example"),
            ("https://Studio.example:443", "studio.example"),
            ("http://[::1]:7777", "[::1]:7777"),
        ] {
            assert!(is_own_origin(origin, Some(host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://localhost:7778", "localhost:7777"),
            ("http://localhost", "localhost:7777"),
            ("https://evil.example", "localhost"),
            ("null", "localhost"),
            ("", ""),
            ("file://", ""),
            ("chrome-extension://localhost", "localhost"),
        ] {
            assert!(!is_own_origin(origin, Some(host)), "{origin} {host}");
        }
        assert!(!is_own_origin("http://localhost", None));
    }
}
