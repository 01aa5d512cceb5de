//! The header in which nodes tell each other the way of a stream, so that it never comes back.
//!
//! `Whitewater-Way` is a list of nodes, 32 hexadecimal digits each, the nearest first. A node that
//! asks for a stream (WHEP) names itself, and is told the way the stream has come; one that brings a
//! stream (WHIP) tells the way it has come. Servers that do not know the header ignore it.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use whitewater_model::NodeId;

use crate::http::problem::Problem;

/// The header's name.
pub(crate) const WAY: HeaderName = HeaderName::from_static("whitewater-way");

/// The nodes a stream may pass. Each adds its delay, and a way that grows beyond this leads in
/// circles that nobody has noticed.
pub(crate) const NODES_MAX: usize = 8;

/// Why a way cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadWay {
    /// Not such a list.
    Malformed,
    /// More than [`NODES_MAX`].
    TooLong,
}

/// What the header says; `None` where there is none.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Vec<NodeId>>, BadWay> {
    let mut values = headers.get_all(&WAY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| BadWay::Malformed)?;
    if values.next().is_some() {
        return Err(BadWay::Malformed);
    }
    let mut way = Vec::new();
    for word in text.split(',') {
        if way.len() == NODES_MAX {
            return Err(BadWay::TooLong);
        }
        way.push(node(word.trim()).ok_or(BadWay::Malformed)?);
    }
    Ok(Some(way))
}

/// The header's value for a way that is not empty.
pub(crate) fn render(way: &[NodeId]) -> Option<HeaderValue> {
    let words: Vec<String> = way.iter().map(NodeId::to_string).collect();
    HeaderValue::try_from(words.join(", "))
        .ok()
        .filter(|_| !way.is_empty())
}

/// The way a stream has come when it leaves here.
pub(crate) fn onward(here: NodeId, way: &[NodeId]) -> Vec<NodeId> {
    std::iter::once(here).chain(way.iter().copied()).collect()
}

/// The stream would come back to where it has been.
pub(crate) fn comes_back() -> Problem {
    Problem::new(
        StatusCode::LOOP_DETECTED,
        "the stream would come back to a server it has come from",
    )
}

impl From<BadWay> for Problem {
    fn from(bad: BadWay) -> Self {
        match bad {
            BadWay::Malformed => Problem::bad_request(
                "Whitewater-Way is a list of nodes, 32 hexadecimal digits each",
            ),
            BadWay::TooLong => Problem::new(
                StatusCode::LOOP_DETECTED,
                "the stream comes through too many servers",
            ),
        }
    }
}

fn node(word: &str) -> Option<NodeId> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if word.len() != 32 || !word.bytes().all(hex) {
        return None;
    }
    u128::from_str_radix(word, 16).ok().map(NodeId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WAY, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_way_reads_back_what_it_shows() {
        let way = [NodeId(7), NodeId(u128::MAX), NodeId(0)];
        let mut headers = HeaderMap::new();
        headers.insert(WAY, render(&way).expect("a value"));
        assert_eq!(read(&headers), Ok(Some(way.to_vec())));
        assert_eq!(read(&HeaderMap::new()), Ok(None));
        assert_eq!(render(&[]), None);
    }

    #[test]
    fn what_is_no_way_is_not_taken() {
        let node = "0".repeat(32);
        for bad in [
            "",
            "7",
            ",",
            &node.replace('0', "F"),
            &node.replace('0', "g"),
            &format!("{node} {node}"),
            &format!("{node},"),
            &format!("+{}", "0".repeat(31)),
        ] {
            assert_eq!(read(&headers(&[bad])), Err(BadWay::Malformed), "{bad:?}");
        }
        let twice = headers(&[&node, &node]);
        assert_eq!(read(&twice), Err(BadWay::Malformed));
        let long = [node.as_str(); NODES_MAX + 1].join(",");
        assert_eq!(read(&headers(&[&long])), Err(BadWay::TooLong));
        let longest = [node.as_str(); NODES_MAX].join(",");
        assert!(read(&headers(&[&longest])).is_ok());
    }
}
