//! Redundant audio (RED, RFC 2198) on its way to a viewer: passed to who agreed to it, under the
//! viewer's payload types; for others unwrapped to the newest block, which is a slice of the packet.

use whitewater_link::{MediaKind, TrackDescription};
use whitewater_rtp::payload::red;
use whitewater_sdp::{Codec, CodecPlan, wrapped};

use super::{Packet, Way};
use crate::limits;

/// How a publisher's redundant packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redundancy {
    /// The publisher's payload type of it.
    pt: u8,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As they came.
    Same,
    /// With the viewer's payload types in their header.
    Renumbered,
    /// The newest block alone.
    Unwrapped,
}

/// What a packet is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// These bytes.
    Plain(&'a [u8]),
    /// A copy of these, with the viewer's payload types in its header.
    Renumbered(&'a [u8]),
}

impl Redundancy {
    /// For a publisher's track; `map` has the viewer's payload types by the publisher's, `is_red` says
    /// which of the viewer's are redundancy. `None` where the publisher has none, or it cannot be sent.
    pub(super) fn new(
        track: &TrackDescription,
        map: &[Option<u8>; 128],
        is_red: impl Fn(u8) -> bool,
    ) -> Option<Self> {
        if track.kind != MediaKind::Audio {
            return None;
        }
        let wraps = |name: &str| name.eq_ignore_ascii_case("red");
        let pt = track.codecs.iter().find(|codec| wraps(&codec.name))?.pt;
        let to = (*map.get(usize::from(pt))?)?;
        let others = track.codecs.iter().filter(|codec| !wraps(&codec.name));
        let mut others =
            others.filter_map(|codec| Some((codec.pt, (*map.get(usize::from(codec.pt))?)?)));
        let form = match is_red(to) {
            false => Form::Unwrapped,
            true if others.all(|(from, to)| from == to) => Form::Same,
            true => Form::Renumbered,
        };
        Some(Redundancy { pt, form })
    }

    /// What of a packet is sent; `None` for one that says it is something else than was agreed. `to` is
    /// the payload type it leaves under.
    #[inline]
    pub(super) fn body<'a>(
        self,
        pt: u8,
        payload: &'a [u8],
        to: u8,
        map: &[Option<u8>; 128],
    ) -> Option<Body<'a>> {
        if pt != self.pt {
            return Some(Body::Plain(payload));
        }
        match self.form {
            Form::Same => Some(Body::Plain(payload)),
            Form::Renumbered => Some(Body::Renumbered(payload)),
            Form::Unwrapped => {
                let newest = red::primary(payload)?;
                let is_agreed = map.get(usize::from(newest.pt)) == Some(&Some(to));
                is_agreed.then_some(Body::Plain(newest.payload))
            }
        }
    }
}

impl<'a> Body<'a> {
    /// The bytes to send, in `room` where they are others than the publisher's.
    #[inline]
    pub(super) fn write(self, room: &'a mut [u8], map: &[Option<u8>; 128]) -> Option<&'a [u8]> {
        match self {
            Body::Plain(payload) => Some(payload),
            Body::Renumbered(payload) => {
                let copy = room.get_mut(..payload.len())?;
                self.copy(copy, map)?;
                Some(copy)
            }
        }
    }

    /// Copies the bytes to send to `out`, which is as long.
    pub(super) fn copy(self, out: &mut [u8], map: &[Option<u8>; 128]) -> Option<()> {
        match self {
            Body::Plain(payload) => out.copy_from_slice(payload),
            Body::Renumbered(payload) => {
                out.copy_from_slice(payload);
                red::renumber(out, |pt| *map.get(usize::from(pt))?)?;
            }
        }
        Some(())
    }

    /// How many bytes that will be.
    pub(super) fn len(self) -> usize {
        match self {
            Body::Plain(payload) | Body::Renumbered(payload) => payload.len(),
        }
    }
}

/// How redundancy is made of a publisher's plain packets, for a viewer that agreed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The publisher's payload type of Opus.
    from: u8,
    /// The viewer's.
    inner: u8,
    /// The viewer's of redundancy around it.
    pub(super) pt: u8,
}

impl Made {
    /// For what a publisher has and a viewer; `map` has the viewer's payload types by the publisher's.
    pub(super) fn new(
        published: &[CodecPlan],
        codecs: &[CodecPlan],
        map: &[Option<u8>; 128],
    ) -> Option<Self> {
        let from = published.iter().find(|c| c.codec == Codec::Opus)?.pt;
        let inner = (*map.get(usize::from(from))?)?;
        let wraps = |codec: &&CodecPlan| {
            let is_of = wrapped(codec, codecs).is_some_and(|wrapped| wrapped.pt == inner);
            codec.codec == Codec::Red && is_of
        };
        let pt = codecs.iter().find(wraps)?.pt;
        Some(Made { from, inner, pt })
    }

    /// Itself, if a packet is to bring the one before along: that takes a small share of what the path
    /// carries, or that was not seen to be full.
    #[inline]
    pub(super) fn of(self, packet: &Packet, way: &Way<'_>) -> Option<Self> {
        let older = packet
            .older
            .as_ref()
            .filter(|_| packet.meta.pt == self.from)?;
        let carried = way.downlink.as_ref().and_then(|path| path.full_bps());
        let fits = carried.is_none_or(|bps| older.bps() <= bps / limits::RED_SHARE);
        fits.then_some(self)
    }

    /// The packet with the one before it, in `room`.
    #[inline]
    pub(super) fn write<'a>(self, room: &'a mut [u8], packet: &Packet) -> Option<&'a [u8]> {
        let older = packet.older.as_ref()?;
        let blocks = [(older.ticks, &older.payload[..])];
        let size = red::write(room, self.inner, &blocks, &packet.payload)?;
        room.get(..size)
    }
}

/// What of a packet is sent, whether or not its source has redundancy.
pub(super) fn body<'a>(
    redundancy: Option<Redundancy>,
    pt: u8,
    payload: &'a [u8],
    map: &[Option<u8>; 128],
) -> Option<Body<'a>> {
    match (redundancy, map.get(usize::from(pt))) {
        (Some(redundancy), Some(&Some(to))) => redundancy.body(pt, payload, to, map),
        _ => Some(Body::Plain(payload)),
    }
}

#[cfg(test)]
mod tests {
    use whitewater_link::CodecDescription;

    use super::*;

    fn track() -> TrackDescription {
        let codec = |pt, name: &str, fmtp: &str| CodecDescription {
            pt,
            name: name.to_owned(),
            clock_rate: 48_000,
            channels: Some(2),
            fmtp: fmtp.to_owned(),
        };
        TrackDescription {
            kind: MediaKind::Audio,
            codecs: vec![codec(111, "opus", ""), codec(63, "red", "111/111")],
            rids: Vec::new(),
        }
    }

    fn map(pairs: &[(u8, u8)]) -> [Option<u8>; 128] {
        let mut map = [None; 128];
        for &(from, to) in pairs {
            map[usize::from(from)] = Some(to);
        }
        map
    }

    fn packet() -> Vec<u8> {
        let mut out = [0; 64];
        let older: [(u32, &[u8]); 1] = [(960, &[1, 2])];
        let len = red::write(&mut out, 111, &older, &[3, 4, 5]).expect("it fits");
        out[..len].to_vec()
    }

    fn sent(pairs: &[(u8, u8)], red_pt: u8) -> Option<Vec<u8>> {
        let map = map(pairs);
        let way = Redundancy::new(&track(), &map, |pt| pt == red_pt)?;
        let (packet, mut room) = (packet(), [0; 64]);
        let body = way.body(63, &packet, map[63]?, &map)?;
        let written = body.write(&mut room, &map)?;
        assert_eq!(body.len(), written.len());
        Some(written.to_vec())
    }

    #[test]
    fn who_agreed_gets_it_under_own_numbers_and_who_did_not_gets_the_newest_block() {
        assert_eq!(sent(&[(111, 111), (63, 63)], 63), Some(packet()));
        // Where the wrapper alone has another number nothing inside changes.
        assert_eq!(sent(&[(111, 111), (63, 35)], 35), Some(packet()));
        let renumbered = sent(&[(111, 96), (63, 35)], 35).expect("sent");
        assert_eq!(red::primary(&renumbered).map(|p| p.pt), Some(96));
        assert_eq!(
            (renumbered.len(), renumbered[0]),
            (packet().len(), 0x80 | 96)
        );
        assert_eq!(sent(&[(111, 96), (63, 96)], 35), Some(vec![3, 4, 5]));
        assert_eq!(sent(&[], 35), None);
    }

    #[test]
    fn a_block_of_something_else_is_not_sent_as_what_was_agreed() {
        let map = map(&[(111, 96), (63, 96), (0, 0)]);
        let way = Redundancy::new(&track(), &map, |_| false).expect("mapped");
        assert_eq!(way.body(63, &[0, 9, 9], 96, &map), None);
        assert_eq!(way.body(63, &[0x80], 96, &map), None);
        let plain = way.body(111, &[0x80], 96, &map);
        assert_eq!(plain, Some(Body::Plain(&[0x80])), "not redundant at all");
    }
}
