use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// An address of another server: http or https, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) is_https: bool,
    /// A name or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header has it.
    pub(crate) authority: String,
    /// With its query.
    pub(crate) path: String,
}

/// Only where it leads: path and query may hold secrets.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

impl Url {
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > SIZE_MAX {
            return Err("it is too long");
        }
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https:// or http://"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user name");
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err("it has no host");
        }
        Ok(Url {
            is_https,
            host: host.to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if is_https { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }

    /// Where a `Location` leads that was told here: a URL, or one without its beginning (RFC 3986
    /// §5.2).
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.contains("://") {
            return Url::parse(location);
        }
        let scheme = self.scheme();
        if location.starts_with("//") {
            return Url::parse(&format!("{scheme}:{location}"));
        }
        let (path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path = match location.chars().next() {
            None => return Err("it leads nowhere"),
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            Some(_) => {
                let folder = path.rfind('/').and_then(|end| path.get(..=end));
                format!("{}{location}", folder.unwrap_or("/"))
            }
        };
        Url::parse(&format!("{scheme}://{}{path}", self.authority))
    }

    /// The whole of it.
    pub(crate) fn text(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority, self.path)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// Whether both are of one origin (RFC 6454 §4).
    pub(crate) fn is_same_origin(&self, other: &Url) -> bool {
        self.is_https == other.is_https
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
    }

    /// Whether it names this machine.
    pub(crate) fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        address.map_or(self.host == "localhost", |ip| {
            ip.to_canonical().is_loopback()
        })
    }
}

const SIZE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_or_https_and_has_no_credentials() {
        for (text, host, port, path) in [
            (
                "https://a.example/whep/x?v=2",
                "a.example",
                443,
                "/whep/x?v=2",
            ),
            ("http://a.example:8080", "a.example", 8080, "/"),
            ("http://[2001:db8::1]/k", "2001:db8::1", 80, "/k"),
            ("HTTPS://a.example/", "a.example", 443, "/"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.path, path);
        }
        for text in [
            "",
            "whep/x",
            "/whep/x",
            "a.example/whep",
            "ftp://a.example/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "unix:///run/docker.sock",
            "https://user:secret@a.example/",
            "http://127.0.0.1@a.example/",
            "http://a.example\r\nX: y/",
            "http://",
            "http:///x",
            "http://a b/",
            "javascript:alert(1)",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse(&format!("http://a/{}", "x".repeat(5000))).is_err());
    }

    #[test]
    fn a_location_is_read_from_where_it_was_told() {
        let base = Url::parse("https://a.example:8443/whep/cam?token=x").expect("a URL");
        for (location, whole) in [
            ("/session/cam/1", "https://a.example:8443/session/cam/1"),
            ("1", "https://a.example:8443/whep/1"),
            ("?v=2", "https://a.example:8443/whep/cam?v=2"),
            ("//b.example/s", "https://b.example/s"),
            ("http://b.example/s", "http://b.example/s"),
        ] {
            assert_eq!(base.join(location).expect(location).text(), whole);
        }
        for location in ["", "ftp://b.example/", "https://u:p@b.example/"] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }
}
