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
        let host = text
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        if host.is_some_and(|host| host.contains('@')) {
            let hint = "a URL with a password is repeated to every client";
            return Err(refused().masked().hint(hint));
        }
        if !whitewater_control::is_url_template(text) {
            return Err(refused());
        }
        Ok(Self(text.clone()))
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}
