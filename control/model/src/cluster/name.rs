use std::fmt;
use std::sync::Arc;

/// A node's alias: 1..=64 ASCII letters, digits, dots, hyphens and underscores, at least one of
/// them no dot.
///
/// It stands in session URLs before a `~`, so that every manager knows the way.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, BadNodeName> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = (1..=Self::SIZE_MAX).contains(&text.len());
        if fits && text.bytes().all(plain) && text.bytes().any(|b| b != b'.') {
            Ok(NodeName(text.into()))
        } else {
            Err(BadNodeName)
        }
    }

    /// The alias's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longest alias, in bytes.
    pub const SIZE_MAX: usize = 64;
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A text is no alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNodeName;

impl fmt::Display for BadNodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an alias has 1 to {} letters, digits, dots, hyphens and underscores",
            NodeName::SIZE_MAX
        )
    }
}

impl std::error::Error for BadNodeName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_can_stand_in_a_path() {
        let longest = "x".repeat(64);
        for good in ["a", "buildin-0", "eu.1_b", ".a", &longest] {
            assert!(NodeName::parse(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(65);
        for bad in ["", ".", "..", "a b", "a/b", "a~b", "ä", "a%20", &too_long] {
            assert_eq!(NodeName::parse(bad), Err(BadNodeName), "{bad}");
        }
    }
}
