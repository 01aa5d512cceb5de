//! URLs clients are sent to.

use std::ops::RangeInclusive;

use super::node::{Kind, Node};
use super::value::{Refused, Value, quoted};

/// An absolute `http` or `https` URL in which `{stream}` stands for a stream's name; or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectUrl(String);

impl RedirectUrl {
    /// The URL as it was written; `None` if there is none.
    pub fn as_str(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

impl Value for RedirectUrl {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a URL as \"https://b.example/whep/{stream}\", or \"\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        let plain = text.replace("{stream}", "");
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| plain.strip_prefix(scheme));
        let Some((host, _)) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
            return Err(refused());
        };
        if host.contains('@') {
            let hint = "a URL with a password is repeated to every client";
            return Err(refused().masked().hint(hint));
        }
        // RFC 3986 §2: the URL is repeated in a header.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]!$&'()*+,;=%@".contains(c);
        if host.is_empty() || !plain.chars().all(allowed) {
            return Err(refused());
        }
        Ok(Self(text.clone()))
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}
