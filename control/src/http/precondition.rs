//! Entity tags of ICE sessions (RFC 9725 §4.3.1) and their `If-Match` (RFC 9110 §13.1.1).

use hyper::header::{HeaderMap, HeaderValue, IF_MATCH};

/// The strong tag of an ICE session.
pub(crate) fn etag(ice_tag: u128) -> HeaderValue {
    let text = format!("\"{ice_tag:032x}\"");
    // Hex digits in quotes are always a valid value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// What a request demands of the current tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// There is no `If-Match`.
    None,
    /// Any tag will do.
    Any,
    /// One of these, each as it stands between its quotes. Weak ones are left out: they never
    /// match in a strong comparison (RFC 9110 §8.8.3.2).
    OneOf(Vec<Vec<u8>>),
}

impl Demand {
    /// Reads all `If-Match` headers. What is not an entity tag matches nothing.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut tags = Vec::new();
        let mut any_header = false;
        for value in headers.get_all(IF_MATCH) {
            any_header = true;
            if value.as_bytes().trim_ascii() == b"*" {
                return Demand::Any;
            }
            read_list(value.as_bytes(), &mut tags);
        }
        // RFC 9725 §4.3.3 says the field's value is `*`; its example sends the quoted form.
        if tags.iter().any(|tag| tag == b"*") {
            return Demand::Any;
        }
        if any_header {
            Demand::OneOf(tags)
        } else {
            Demand::None
        }
    }

    pub(crate) fn is_met_by(&self, ice_tag: u128) -> bool {
        match self {
            Demand::None => false,
            Demand::Any => true,
            Demand::OneOf(tags) => {
                let current = format!("{ice_tag:032x}");
                tags.iter().any(|tag| tag == current.as_bytes())
            }
        }
    }
}

/// Collects the strong tags of one header value.
fn read_list(mut rest: &[u8], tags: &mut Vec<Vec<u8>>) {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        let (weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        let Some(inner) = quoted.strip_prefix(b"\"") else {
            return;
        };
        let Some(end) = inner.iter().position(|b| *b == b'"') else {
            return;
        };
        let (tag, after) = inner.split_at(end);
        if !weak {
            tags.push(tag.to_vec());
        }
        rest = after.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(values: &[&'static str]) -> Demand {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_static(value));
        }
        Demand::read(&headers)
    }

    #[test]
    fn a_tag_is_strong_quoted_and_matches_itself() {
        let tag = etag(7);
        assert_eq!(tag, "\"00000000000000000000000000000007\"");
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, tag);
        assert!(Demand::read(&headers).is_met_by(7));
        assert!(!Demand::read(&headers).is_met_by(8));
    }

    #[test]
    fn both_spellings_of_any_are_taken() {
        for any in ["*", "\"*\"", " * ", "\"a\", \"*\""] {
            assert_eq!(demand(&[any]), Demand::Any, "{any}");
        }
        assert_eq!(demand(&[]), Demand::None);
    }

    #[test]
    fn lists_match_and_weak_tags_do_not() {
        let seven = "\"00000000000000000000000000000007\"";
        assert!(demand(&["\"old\", \"00000000000000000000000000000007\""]).is_met_by(7));
        assert!(demand(&["\"old\"", seven]).is_met_by(7));
        assert!(demand(&["\"a,b\",\"00000000000000000000000000000007\""]).is_met_by(7));
        assert!(!demand(&["W/\"00000000000000000000000000000007\""]).is_met_by(7));
    }

    #[test]
    fn garbage_matches_nothing() {
        for bad in [
            "",
            "00000000000000000000000000000007",
            "\"",
            "W/",
            "\"x",
            "**",
            ",,,",
        ] {
            assert!(!demand(&[bad]).is_met_by(7), "{bad}");
        }
    }
}
