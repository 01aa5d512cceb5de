//! `Link` headers that tell a client the ICE servers (RFC 9725 §4.6, RFC 8288).

use std::io;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64ct::{Base64, Encoding};
use hyper::header::HeaderValue;
use whitewater_link::SessionId;

use crate::{IceServer, TurnSecret};

/// The servers, as each client is told of them.
pub(crate) struct IceLinks {
    fixed: Vec<HeaderValue>,
    /// URLs of TURN servers that share a secret with us.
    relays: Vec<String>,
    key: hmac::Key,
    ttl: Duration,
}

impl IceLinks {
    /// One link for each URL.
    ///
    /// # Errors
    /// `InvalidInput` when a URL or a credential cannot stand in a header.
    pub(crate) fn new(servers: &[IceServer], turn: &TurnSecret) -> io::Result<Self> {
        let mut links = IceLinks {
            fixed: Vec::new(),
            relays: Vec::new(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, turn.secret.as_bytes()),
            ttl: turn.ttl.min(TTL_MAX),
        };
        for server in servers {
            let username = server.username.as_deref();
            let credentials = username.zip(server.credential.as_deref());
            for url in &server.urls {
                let shared = url.starts_with("turn") && credentials.is_none();
                if shared && !turn.secret.is_empty() {
                    // Tried once, so that nothing can fail later.
                    link(url, Some(("0:0", "0")))?;
                    links.relays.push(url.clone());
                } else {
                    links.fixed.push(link(url, credentials)?);
                }
            }
        }
        Ok(links)
    }

    /// One value for each URL, for this session at this time.
    ///
    /// Source: RFC 9725 §4.6; draft-uberti-behave-turn-rest §2.2: the user name is the time it ends
    /// and a name for the session, the password its HMAC-SHA1 in base64. The name is a hash of the
    /// session's id: user names travel in the clear, and the id is the key to the session.
    pub(crate) fn for_session(&self, session: SessionId, unix_ms: u64) -> Vec<HeaderValue> {
        let mut links = self.fixed.clone();
        if self.relays.is_empty() {
            return links;
        }
        let ends = unix_ms / 1000 + self.ttl.as_secs();
        let hash = digest::digest(&digest::SHA256, &session.0.to_be_bytes());
        let name: String = hash
            .as_ref()
            .iter()
            .take(NAME_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let username = format!("{ends}:{name}");
        let tag = hmac::sign(&self.key, username.as_bytes());
        let credential = base64(tag.as_ref());
        let made = self.relays.iter().filter_map(|url| {
            // The URL was tried at start; digits, a colon and base64 are always a valid value.
            let mut link = link(url, Some((&username, &credential))).ok()?;
            link.set_sensitive(true);
            Some(link)
        });
        links.extend(made);
        links
    }
}

fn link(url: &str, credentials: Option<(&str, &str)>) -> io::Result<HeaderValue> {
    let scheme = url.split(':').next().unwrap_or_default();
    if !["stun", "stuns", "turn", "turns"].contains(&scheme)
        || url
            .bytes()
            .any(|b| !b.is_ascii_graphic() || b"<>\"".contains(&b))
    {
        return Err(invalid(format!("{url:?} is no STUN or TURN URI")));
    }
    let mut text = format!("<{url}>; rel=\"ice-server\"");
    if let Some((username, credential)) = credentials.filter(|_| scheme.starts_with("turn")) {
        text += &format!(
            "; username={}; credential={}; credential-type=\"password\"",
            quoted(username),
            quoted(credential)
        );
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        invalid(format!(
            "the credentials of {url:?} have control characters"
        ))
    })
}

/// RFC 9110 §5.6.4.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A SHA-1 hash in base64 (RFC 4648 §4), 28 characters.
fn base64(hash: &[u8]) -> String {
    let mut room = [0; 28];
    let text = Base64::encode(hash, &mut room);
    text.unwrap_or_default().to_owned()
}

/// Short-lived: a leaked credential relays for a day at most.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// Bytes of the hash that name a session.
const NAME_BYTES: usize = 12;

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], username: &str, credential: &str) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: Some(username.to_owned()),
            credential: Some(credential.to_owned()),
        }
    }

    fn made(servers: &[IceServer]) -> io::Result<IceLinks> {
        IceLinks::new(servers, &TurnSecret::default())
    }

    #[test]
    fn turn_credentials_are_those_of_the_shared_secret() {
        let turn = TurnSecret {
            secret: "north".to_owned(),
            ttl: Duration::from_secs(600),
        };
        let own = IceServer {
            urls: vec!["stun:s".to_owned(), "turn:t".to_owned()],
            ..IceServer::default()
        };
        let links = IceLinks::new(&[own], &turn).expect("good servers");
        let told = links.for_session(SessionId(7), 1_700_000_000_999);
        assert_eq!(told.len(), 2);
        let text = told[1].to_str().expect("text");
        let value = |key: &str| {
            let (_, rest) = text.split_once(key).expect("there");
            rest.split('"').nth(1).expect("quoted").to_owned()
        };
        let username = value("username=");
        assert!(username.starts_with("1700000600:"), "{username}");
        assert!(!text.contains(&SessionId(7).to_string()), "{text}");
        // Not by our own function: HMAC-SHA1 as its definition says (RFC 2104 §2).
        let pad = |byte: u8| -> Vec<u8> {
            let mut block = b"north".to_vec();
            block.resize(64, 0);
            block.iter().map(|b| b ^ byte).collect()
        };
        let sha1 = |parts: &[&[u8]]| {
            let all = parts.concat();
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &all)
        };
        let inner = sha1(&[&pad(0x36), username.as_bytes()]);
        let outer = sha1(&[&pad(0x5c), inner.as_ref()]);
        assert_eq!(value("credential="), base64(outer.as_ref()));
        // Another session, another name.
        let other = links.for_session(SessionId(8), 1_700_000_000_999);
        assert_ne!(other[1], told[1]);
    }

    #[test]
    fn credentials_end_within_a_day_whatever_is_configured() {
        let turn = TurnSecret {
            secret: "north".to_owned(),
            ttl: Duration::from_secs(1_000_000),
        };
        let own = IceServer {
            urls: vec!["turns:t".to_owned()],
            ..IceServer::default()
        };
        let links = IceLinks::new(&[own], &turn).expect("good servers");
        let told = links.for_session(SessionId(7), 0);
        assert!(told[0].to_str().expect("text").contains("\"86400:"));
    }

    #[test]
    fn every_url_has_its_own_link_and_only_turn_has_credentials() {
        let urls = ["stun:s.example:3478", "turn:t.example:3478?transport=tcp"];
        let servers = [server(&urls, "u\"x", "p\\y;z")];
        let links = made(&servers).expect("good servers").fixed;
        assert_eq!(links[0], "<stun:s.example:3478>; rel=\"ice-server\"");
        assert_eq!(
            links[1],
            "<turn:t.example:3478?transport=tcp>; rel=\"ice-server\"; username=\"u\\\"x\"; \
             credential=\"p\\\\y;z\"; credential-type=\"password\""
        );
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused_at_start() {
        for url in ["http://x", "stun:a b", "stun:a>;x", ""] {
            assert!(made(&[server(&[url], "u", "p")]).is_err(), "{url}");
        }
        assert!(made(&[server(&["turn:a"], "u\r\nX: y", "p")]).is_err());
    }

    #[test]
    fn the_credential_is_not_in_the_debug_text() {
        let text = format!("{:?}", server(&["turn:a"], "user", "hush"));
        assert!(!text.contains("hush"), "{text}");
    }
}
