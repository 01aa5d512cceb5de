//! `Link` headers that tell a client the ICE servers (RFC 9725 §4.6, RFC 8288).

use std::io;

use hyper::header::HeaderValue;

use crate::IceServer;

/// One value per URL.
///
/// # Errors
/// `InvalidInput` when a URL or a credential cannot stand in a header.
pub(crate) fn ice_servers(servers: &[IceServer]) -> io::Result<Vec<HeaderValue>> {
    let mut links = Vec::new();
    for server in servers {
        for url in &server.urls {
            links.push(link(url, server)?);
        }
    }
    Ok(links)
}

fn link(url: &str, server: &IceServer) -> io::Result<HeaderValue> {
    let scheme = url.split(':').next().unwrap_or_default();
    if !["stun", "stuns", "turn", "turns"].contains(&scheme)
        || url
            .bytes()
            .any(|b| !b.is_ascii_graphic() || b"<>\"".contains(&b))
    {
        return Err(invalid(format!("{url:?} is no STUN or TURN URI")));
    }
    let mut text = format!("<{url}>; rel=\"ice-server\"");
    if scheme.starts_with("turn") {
        if let Some(username) = &server.username {
            text += &format!("; username={}", quoted(username));
        }
        if let Some(credential) = &server.credential {
            text += &format!(
                "; credential={}; credential-type=\"password\"",
                quoted(credential)
            );
        }
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

    #[test]
    fn every_url_has_its_own_link_and_only_turn_has_credentials() {
        let urls = ["stun:s.example:3478", "turn:t.example:3478?transport=tcp"];
        let links = ice_servers(&[server(&urls, "u\"x", "p\\y;z")]).expect("good servers");
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
            assert!(ice_servers(&[server(&[url], "u", "p")]).is_err(), "{url}");
        }
        assert!(ice_servers(&[server(&["turn:a"], "u\r\nX: y", "p")]).is_err());
    }

    #[test]
    fn the_credential_is_not_in_the_debug_text() {
        let text = format!("{:?}", server(&["turn:a"], "user", "hush"));
        assert!(!text.contains("hush"), "{text}");
    }
}
