//! Values that are never shown.

use std::fmt;
use std::ops::RangeInclusive;

use super::node::{Kind, Node};
use super::value::{Refused, Value, quoted};

/// A text that is never shown: `Debug`, `Display` and the printed configuration mask it.
///
/// Equality takes longer the more two secrets have in common: it is not for authentication.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, to compare or sign with; not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { MASK })
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a text".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match &node.kind {
            // A printed configuration that is loaded again would make the mask the secret.
            Kind::Text(text) if text == MASK => Err(Refused::new(node, Self::allowed(range))
                .hint("this is the mask that `config print` shows, not a secret")),
            Kind::Text(text) => Ok(Self(text.clone())),
            _ => Err(Refused::new(node, Self::allowed(range)).masked()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A bearer token: a secret that fits into an `Authorization` header (RFC 6750 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// The token itself, to compare with; not for logs.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Value for Token {
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a token of visible ASCII characters without spaces".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range)).masked();
        let secret = Secret::read(node, range).map_err(|cause| Refused {
            hint: cause.hint,
            ..refused()
        })?;
        let visible = |byte: u8| byte.is_ascii_graphic();
        if secret.is_empty() || !secret.expose().bytes().all(visible) {
            return Err(refused());
        }
        Ok(Self(secret))
    }

    fn render(&self) -> String {
        self.0.render()
    }
}

/// What stands for a secret that is set.
pub(crate) const MASK: &str = "<masked>";
