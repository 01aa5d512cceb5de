//! STUN and TURN servers, which clients are told about.

use std::ops::RangeInclusive;

use super::node::{Entry, Kind, Node, Shape, shorten};
use super::problem::nearest;
use super::secret::Secret;
use super::value::{Refused, Value, quoted};

/// A STUN or TURN server that is told to clients in `Link` headers (RFC 9725 §4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// URLs of the server, at least one (RFC 7064 §3.1, RFC 7065 §3.1).
    pub urls: Vec<String>,
    /// User name; empty for STUN, and for TURN where `ice.turn_secret` is set.
    pub username: String,
    /// Long-term credential; empty as the user name.
    pub credential: Secret,
}

impl Value for IceServer {
    const SHAPE: Shape = Shape::Tables;
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "{ urls = [\"turn:turn.example:3478\"], username = \"…\", credential = \"…\" }".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let Kind::Table(entries) = &node.kind else {
            return Err(Refused::new(node, Self::allowed(range)).masked());
        };
        let mut server = Self {
            urls: Vec::new(),
            username: String::new(),
            credential: Secret::default(),
        };
        for entry in entries {
            server.read_entry(entry, range)?;
        }
        if server.urls.is_empty() {
            return Err(Refused::new(node, Self::allowed(range)).complaint("has no urls"));
        }
        if server.username.is_empty() != server.credential.is_empty() {
            let complaint = "has one of username and credential without the other";
            return Err(Refused::new(node, Self::allowed(range)).complaint(complaint));
        }
        Ok(server)
    }

    fn render(&self) -> String {
        let urls: Vec<String> = self.urls.iter().map(|url| quoted(url)).collect();
        let mut text = format!("{{ urls = [{}]", urls.join(", "));
        if !self.username.is_empty() {
            text += &format!(", username = {}", quoted(&self.username));
        }
        if !self.credential.is_empty() {
            text += &format!(", credential = {}", self.credential.render());
        }
        text + " }"
    }
}

impl IceServer {
    /// Whether clients need credentials that are not written here.
    pub fn needs_secret(&self) -> bool {
        self.username.is_empty() && self.urls.iter().any(|url| url.starts_with("turn"))
    }

    fn read_entry(&mut self, entry: &Entry, range: &RangeInclusive<i64>) -> Result<(), Refused> {
        let below = |refused: Refused| refused.below(&format!(".{}", entry.name));
        match entry.name.as_str() {
            "urls" => self.urls = ice_urls(&entry.node).map_err(below)?,
            "username" => match &entry.node.kind {
                Kind::Text(name) => self.username.clone_from(name),
                _ => return Err(below(Refused::new(&entry.node, "a text"))),
            },
            "credential" => self.credential = Secret::read(&entry.node, range).map_err(below)?,
            _ => {
                let known = ["urls", "username", "credential"];
                let mut refused = Refused::new(&entry.node, known.join(", "));
                refused.span.clone_from(&entry.name_span);
                refused = refused.complaint(format!("has no key {}", shorten(&entry.name)));
                return Err(match nearest(&entry.name, known.into_iter()) {
                    Some(near) => refused.hint(format!("did you mean {near}?")),
                    None => refused,
                });
            }
        }
        Ok(())
    }
}

fn ice_urls(node: &Node) -> Result<Vec<String>, Refused> {
    let one = std::slice::from_ref(node);
    let (items, is_list) = match &node.kind {
        Kind::List(items) => (items.as_slice(), true),
        _ => (one, false),
    };
    let mut urls = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let schemes = ["stun:", "stuns:", "turn:", "turns:"];
        let refused = || Refused::new(item, "a URL as \"stun:stun.example:3478\" or \"turns:…\"");
        let step = if is_list {
            format!("[{index}]")
        } else {
            String::new()
        };
        let Kind::Text(url) = &item.kind else {
            return Err(refused().below(&step));
        };
        if url.contains('@') {
            let hint = "user names and passwords have keys of their own: username, credential";
            return Err(refused().masked().hint(hint).below(&step));
        }
        let host = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        // Only what RFC 3986 allows: the URL is repeated in a header.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]?=&%".contains(c);
        if !host.is_some_and(|host| !host.is_empty() && host.chars().all(plain)) {
            return Err(refused().below(&step));
        }
        urls.push(url.clone());
    }
    Ok(urls)
}
