//! `a=whitewater-layers`: the layers of a track, each on a source of its own, between two nodes.
//!
//! A receiver says that it takes them by the bare attribute; a sender, offering or answering, names
//! them: `a=whitewater-layers:h 11 12;l 21 22`, each by its rid, its SSRC and that of its
//! retransmissions, in the publisher's order. A side that does not know the attribute ignores it
//! (RFC 8866 §5), and what else the section says is one plain source, which is the first lane's: so
//! that no server has to be known before it is offered something. What RFC 8853 has for this asks
//! the receiver to name the layers of a sender it knows nothing of.

use std::fmt::Write as _;

use crate::section::is_rid;

/// One layer of a track on its own source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlan {
    /// The layer's name.
    pub rid: String,
    /// Its media SSRC.
    pub ssrc: u32,
    /// The SSRC of its retransmissions, if there are any.
    pub rtx: Option<u32>,
}

/// The attribute's name.
pub(crate) const NAME: &str = "whitewater-layers";

/// What the attribute says; `None` if that cannot be used, as if it was not there.
pub(crate) fn parse(value: &str) -> Option<Vec<LanePlan>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    let mut lanes: Vec<LanePlan> = Vec::new();
    let mut sources: Vec<u32> = Vec::new();
    for text in value.split(';') {
        let mut words = text.split(' ');
        let rid = words.next().filter(|rid| is_rid(rid))?;
        let mut numbers = words.map(|word| word.parse::<u32>().ok().filter(|ssrc| *ssrc != 0));
        let lane = LanePlan {
            rid: rid.to_owned(),
            ssrc: numbers.next()??,
            rtx: match numbers.next() {
                Some(ssrc) => Some(ssrc?),
                None => None,
            },
        };
        let is_known = lanes.iter().any(|known| known.rid == lane.rid);
        if is_known || numbers.next().is_some() || lanes.len() == LANES_READ_MAX {
            return None;
        }
        sources.extend(std::iter::once(lane.ssrc).chain(lane.rtx));
        lanes.push(lane);
    }
    let count = sources.len();
    sources.sort_unstable();
    sources.dedup();
    (sources.len() == count).then_some(lanes)
}

/// The line as a sender writes it, without `a=`.
pub(crate) fn render(lanes: &[LanePlan]) -> String {
    let mut line = NAME.to_owned();
    for (index, lane) in lanes.iter().enumerate() {
        let before = if index == 0 { ':' } else { ';' };
        // Writing to a String cannot fail.
        let _ = write!(line, "{before}{} {}", lane.rid, lane.ssrc);
        if let Some(rtx) = lane.rtx {
            let _ = write!(line, " {rtx}");
        }
    }
    line
}

/// More than any node sends.
const LANES_READ_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_read_back_as_they_were_written() {
        let lane = |rid: &str, ssrc, rtx| LanePlan {
            rid: rid.to_owned(),
            ssrc,
            rtx,
        };
        for lanes in [
            vec![],
            vec![lane("h", 1, Some(2)), lane("l-0_x", u32::MAX, None)],
        ] {
            let line = render(&lanes);
            let value = line.strip_prefix(NAME).expect("its name");
            assert_eq!(parse(value.trim_start_matches(':')), Some(lanes));
        }
    }

    #[test]
    fn what_cannot_be_used_counts_as_nothing() {
        for bad in [
            "h",
            "h 1 2 3",
            "h 0",
            "h 1 1",
            "h 1;l 1",
            "h 1;h 2",
            "h 1;",
            ";",
            " h 1",
            "h  1",
            "h -1",
            "h 4294967296",
            "h! 1",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let many: Vec<String> = (1..=17).map(|n| format!("r{n} {n}")).collect();
        assert_eq!(parse(&many.join(";")), None);
        assert!(parse(&many[..16].join(";")).is_some());
    }
}
