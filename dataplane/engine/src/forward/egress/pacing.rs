//! What a viewer's path has no room for now, and what is sent to learn how much it has.

use whitewater_link::{Epoch, MediaKind};
use whitewater_rtp::HeaderFields;

use super::{EgressTrack, Gate, PADDING_BIT, Packet, Rewritten, Way};
use crate::drops::DropReason;
use crate::forward::downlink::{Held, Holding};
use crate::forward::header::MidUse;

/// How a turn's video leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once, all of it.
    Free,
    /// As far as the path has room; the rest waits.
    Bounded,
}

impl EgressTrack {
    /// Sends a packet, or keeps it until there is room.
    #[cold]
    pub(super) fn send_or_hold(
        &mut self,
        epoch: Epoch,
        send_time: [u8; 3],
        packet: &Packet,
        rewritten: Rewritten,
        way: &mut Way<'_>,
    ) {
        let Some(downlink) = &mut way.downlink else {
            return self.send(send_time, packet, rewritten, way);
        };
        if downlink.is_open() {
            if packet.meta.keyframe_start {
                downlink.note_key_frame(rewritten.timestamp);
            }
            return self.send(send_time, packet, rewritten, way);
        }
        let held = Held {
            track: way.track,
            rewritten,
            packet: packet.clone(),
        };
        let dropped = match downlink.hold(epoch, held) {
            Holding::Kept { dropped } => dropped,
            Holding::Refused { dropped } => {
                self.gate = Gate::Waiting(None);
                self.may_replay = false;
                dropped
            }
        };
        way.drops.count_many(DropReason::PathFull, dropped);
    }

    /// Whether padding can be sent that is reported on: under a source of its own, which holes in
    /// its numbering do no harm (RFC 4588 §4), and only once there is a stream it belongs to.
    pub fn can_pad(&self) -> bool {
        self.kind == MediaKind::Video
            && self.is_numbered
            && self.repair.is_some()
            && self.captured.is_some()
    }

    /// Sends one packet of nothing but padding (RFC 3550 §5.1); the size of its datagram.
    pub fn pad(&mut self, send_time: [u8; 3], way: &mut Way<'_>) -> Option<usize> {
        let stamp = way.stamp(send_time);
        let pt = self.codecs.iter().find_map(|codec| codec.rtx_pt)?;
        let (timestamp, _) = self.captured?;
        let repair = self.repair.as_mut()?;
        let fields = HeaderFields {
            marker: false,
            payload_type: pt,
            sequence_number: repair.next as u16,
            timestamp,
            ssrc: repair.source.ssrc(),
        };
        let header_len =
            self.layout
                .write(way.header, fields, &Default::default(), stamp, MidUse::Said)?;
        let header = way.header.get_mut(..header_len)?;
        if let Some(first) = header.first_mut() {
            *first |= PADDING_BIT;
        }
        let room = header.len() + PADDING.len() + way.outlet.rtp_overhead;
        let index = repair.next;
        let sealer = &way.outlet.rtp;
        let size = way.batch.write(way.route, room, |out| {
            let sealed = sealer.seal_once(&mut repair.source, header, &PADDING, index, out);
            sealed.ok()
        });
        repair.next += 1;
        match size {
            Some(size) => {
                way.left(size, true);
                self.report.padding.count(size - way.outlet.rtp_overhead);
            }
            None => way.drops.count(DropReason::SealRefused),
        }
        size
    }
}

/// The most a packet may have; its last byte says how much that is.
const PADDING: [u8; 255] = {
    let mut padding = [0; 255];
    padding[254] = 255;
    padding
};
