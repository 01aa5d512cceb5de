//! Stream names in URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use whitewater_model::StreamName;

use super::problem::Problem;

/// Reads one path segment, still percent-encoded.
pub(crate) fn stream_name(segment: &str) -> Result<StreamName, Problem> {
    let text = decode(segment)?;
    StreamName::parse(&text).map_err(|bad| Problem::bad_request(bad.to_string()))
}

/// The stream of a path with an application in it, as Red5's clients have it. In the usual one
/// streams go by their plain names, in another one its name stands in front.
pub(crate) fn scoped_name(app: Option<&str>, segment: &str) -> Result<StreamName, Problem> {
    let name = stream_name(segment)?;
    match app.map(decode).transpose()? {
        None => Ok(name),
        Some(app) if app == USUAL_APP => Ok(name),
        Some(app) => {
            let whole = format!("{app}/{name}");
            StreamName::parse(&whole).map_err(|bad| Problem::bad_request(bad.to_string()))
        }
    }
}

/// Writes it so that it is one path segment again.
pub(crate) fn encode(name: &StreamName) -> String {
    utf8_percent_encode(name.as_str(), SEGMENT).to_string()
}

/// All values of `key` in a query, decoded. Form encoding, so a plus is a blank.
pub(crate) fn query_values(query: &str, key: &str) -> Result<Vec<String>, Problem> {
    let mut values = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == key {
            values.push(decode(&value.replace('+', " "))?);
        }
    }
    Ok(values)
}

fn decode(text: &str) -> Result<String, Problem> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = rest.get(at + 1..).unwrap_or_default();
        let whole = rest
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if !whole {
            return Err(Problem::bad_request(
                "the URL has a percent sign without two hex digits after it",
            ));
        }
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::bad_request("the URL is not percent-encoded UTF-8"))
}

/// Red5's application, or scope, of streams that have none in their names.
pub(crate) const USUAL_APP: &str = "live";

/// RFC 3986 §2.3: everything but the unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_a_path_is_read_back() {
        for name in ["a", "中 a/b", "%41", "a+b?c#d", "..."] {
            let name = StreamName::parse(name).expect("good name");
            let segment = encode(&name);
            assert!(!segment.contains('/'), "{segment}");
            assert_eq!(stream_name(&segment).expect("own writing"), name);
        }
    }

    #[test]
    fn an_application_stands_in_front_unless_it_is_the_usual_one() {
        for (app, name) in [
            (None, "a b"),
            (Some("live"), "a b"),
            (Some("x%2Fy"), "x/y/a b"),
        ] {
            let found = scoped_name(app, "a%20b").expect("good names");
            assert_eq!(found.as_str(), name);
        }
        assert!(scoped_name(Some("%"), "a").is_err());
    }

    #[test]
    fn broken_escapes_are_refused() {
        for bad in ["%", "%4", "%zz", "a%", "%ff", "%C3", "%00", "%0a", "%2e%2E"] {
            assert!(stream_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repeated_query_key_gives_all_its_values() {
        let values = query_values("streams=a&x=1&streams=b%2Fc&streams=d+e", "streams");
        assert_eq!(values.expect("good query"), ["a", "b/c", "d e"]);
        assert_eq!(query_values("", "streams").expect("empty"), [""; 0]);
    }
}
