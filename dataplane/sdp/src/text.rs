//! Lines of SDP: the part of the grammar that offers, answers and fragments share.

use crate::error::{Malformed, Place};
use crate::limits::Limits;

/// One line, `letter=value`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// The letter.
    pub(crate) kind: u8,
    /// All that follows the equals sign.
    pub(crate) value: &'a str,
}

/// Splits a text into its lines, in one pass.
///
/// Lines may end in CR LF or LF (RFC 8866 §5), blank ones are skipped. Control characters are
/// refused wherever they stand, so that nothing of the text can start a line of ours when it is
/// echoed.
pub(crate) fn lines<'a>(
    text: &'a str,
    size_max: usize,
    limits: &Limits,
) -> Result<Vec<Line<'a>>, Malformed> {
    if text.len() > size_max {
        return Err(too_many("bytes in the text", size_max));
    }
    let mut lines = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if line.len() > limits.line_size_max {
            return Err(too_many(
                &format!("bytes in line {}", index + 1),
                limits.line_size_max,
            ));
        }
        if lines.len() == limits.line_count_max {
            return Err(too_many("lines", limits.line_count_max));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Malformed::session(format!(
                "line {} has a control character in it",
                index + 1
            )));
        }
        match line.as_bytes() {
            [kind @ b'a'..=b'z', b'=', ..] => lines.push(Line {
                kind: *kind,
                value: line.get(2..).unwrap_or_default(),
            }),
            _ => {
                return Err(Malformed::session(format!(
                    "line {} is not SDP: a letter and an equals sign come first",
                    index + 1
                )));
            }
        }
    }
    Ok(lines)
}

/// A limit was crossed.
pub(crate) fn too_many(what: &str, max: usize) -> Malformed {
    Malformed::session(format!("there are more than {max} {what}"))
}

/// An attribute's name and value: `a=name:value` or `a=name`.
pub(crate) fn attribute(value: &str) -> (&str, &str) {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    (name.trim_ascii(), value.trim_ascii())
}

/// RFC 8866 §9: `token`.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            matches!(byte,
                0x21 | 0x23..=0x27 | 0x2A | 0x2B | 0x2D | 0x2E
                | 0x30..=0x39 | 0x41..=0x5A | 0x5E..=0x7E)
        })
}

/// A mid as we are willing to repeat it.
pub(crate) fn mid(value: &str, place: impl FnOnce() -> Place) -> Result<String, Malformed> {
    if is_token(value) && value.len() <= MID_SIZE_MAX {
        Ok(value.to_owned())
    } else {
        // RFC 5888 §4: identification-tag is a token.
        Err(Malformed::new(
            place(),
            "a=mid needs one token of at most 64 characters",
        ))
    }
}

/// The user name fragment of ICE.
pub(crate) fn ice_ufrag(value: &str, place: impl FnOnce() -> Place) -> Result<String, Malformed> {
    // RFC 8839 §5.4: 4 to 256 ICE characters.
    if is_ice_word(value, 4) {
        Ok(value.to_owned())
    } else {
        Err(Malformed::new(
            place(),
            "a=ice-ufrag needs 4 to 256 letters, digits, + or /",
        ))
    }
}

/// The password of ICE.
pub(crate) fn ice_pwd(value: &str, place: impl FnOnce() -> Place) -> Result<String, Malformed> {
    // RFC 8839 §5.4: 22 to 256 ICE characters.
    if is_ice_word(value, 22) {
        Ok(value.to_owned())
    } else {
        Err(Malformed::new(
            place(),
            "a=ice-pwd needs 22 to 256 letters, digits, + or /",
        ))
    }
}

fn is_ice_word(text: &str, size_min: usize) -> bool {
    (size_min..=256).contains(&text.len())
        && text
            .bytes()
            // The four after the slash are not in the RFC, but were in use before it.
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=#".contains(&byte))
}

/// Far above what any client uses (RFC 9143 §15 asks for 3), so that errors can repeat it.
const MID_SIZE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_line_ends_and_blank_lines_are_read() {
        let lines = lines("v=0\r\n\r\ns=-\nt=0 0", 100, &Limits::default()).unwrap();
        let read: Vec<_> = lines.iter().map(|line| (line.kind, line.value)).collect();
        assert_eq!(read, [(b'v', "0"), (b's', "-"), (b't', "0 0")]);
    }

    #[test]
    fn a_carriage_return_inside_a_line_is_refused() {
        // It would let an offer write lines of its own into our answer.
        assert!(lines("a=mid:0\ra=inactive\r\n", 100, &Limits::default()).is_err());
        assert!(lines("a=mid:0\0\r\n", 100, &Limits::default()).is_err());
        assert!(lines("a=mid:\u{85}0\r\n", 100, &Limits::default()).is_err());
    }

    #[test]
    fn each_limit_holds_at_its_edge() {
        let limits = Limits {
            line_size_max: 5,
            line_count_max: 2,
            ..Limits::default()
        };
        assert!(lines("a=abc\na=abc", 11, &limits).is_ok());
        assert!(lines("a=abc\na=abc", 10, &limits).is_err());
        assert!(lines("a=abcd\n", 100, &limits).is_err());
        assert!(lines("a=a\na=a\na=a", 100, &limits).is_err());
    }

    #[test]
    fn ice_words_hold_to_their_lengths() {
        let place = || Place::Session;
        assert!(ice_ufrag("abc", place).is_err());
        assert!(ice_ufrag("abcd", place).is_ok());
        assert!(ice_ufrag(&"a".repeat(256), place).is_ok());
        assert!(ice_ufrag(&"a".repeat(257), place).is_err());
        assert!(ice_pwd(&"a".repeat(21), place).is_err());
        assert!(ice_pwd(&"a".repeat(22), place).is_ok());
        assert!(ice_ufrag("ab:cd", place).is_err());
    }
}
