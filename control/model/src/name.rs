use std::fmt;
use std::sync::Arc;

/// A stream's name: 1..=256 bytes of UTF-8 without control characters, decoded.
///
/// A slash is allowed. `.` and `..` are not: no URL can carry them as a path segment (RFC 3986
/// §5.2.4), so such a stream's session URL could not be followed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Checks `text`, already percent-decoded.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match text {
            "" => Err(BadName::Empty),
            "." | ".." => Err(BadName::DotSegment),
            _ if text.len() > Self::SIZE_MAX => Err(BadName::TooLong),
            _ if text.chars().any(char::is_control) => Err(BadName::ControlCharacter),
            _ => Ok(StreamName(text.into())),
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longest name, in bytes.
    pub const SIZE_MAX: usize = 256;
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is no stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing there.
    Empty,
    /// More than [`StreamName::SIZE_MAX`] bytes.
    TooLong,
    /// A control character.
    ControlCharacter,
    /// `.` or `..`.
    DotSegment,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Empty => f.write_str("a stream name is empty"),
            BadName::TooLong => {
                write!(
                    f,
                    "a stream name has at most {} bytes",
                    StreamName::SIZE_MAX
                )
            }
            BadName::ControlCharacter => f.write_str("a stream name has no control characters"),
            BadName::DotSegment => f.write_str("a stream cannot be named '.' or '..'"),
        }
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_up_to_the_limit_and_not_beyond() {
        assert!(StreamName::parse(&"x".repeat(256)).is_ok());
        assert_eq!(StreamName::parse(&"x".repeat(257)), Err(BadName::TooLong));
        assert_eq!(StreamName::parse(""), Err(BadName::Empty));
    }

    #[test]
    fn any_printable_text_is_a_name_except_dot_segments() {
        for good in ["a", "中 a/b", "...", "a.b", "%", "\u{1F3A5}"] {
            assert!(StreamName::parse(good).is_ok(), "{good}");
        }
        for bad in [".", "..", "a\nb", "\0", "a\u{7f}", "\u{85}"] {
            assert!(StreamName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
