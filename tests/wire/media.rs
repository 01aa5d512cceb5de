//! Media that can be checked: every payload says which frame and packet it is, and carries a
//! checksum over itself.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a publisher sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    /// Time from one video frame to the next.
    pub(crate) frame_interval: Duration,
    /// Packets of a frame, 1..=64; key frames have three times as many, 64 at most.
    pub(crate) packets_per_frame: u16,
    /// Payload bytes of a video packet.
    pub(crate) payload_size: usize,
    /// Packets of a frame leave over the whole interval instead of at once.
    pub(crate) smooth: bool,
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern {
            frame_interval: Duration::from_millis(33),
            packets_per_frame: 3,
            payload_size: 900,
            smooth: false,
        }
    }
}

impl Pattern {
    pub(crate) fn packet_count(&self, key: bool, layer: u8) -> u16 {
        let whole = if key {
            (self.packets_per_frame * 3).min(64)
        } else {
            self.packets_per_frame
        };
        (whole >> layer).max(1)
    }
}

/// One packet of a video frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VideoPacket {
    pub(crate) frame: u32,
    pub(crate) index: u16,
    pub(crate) count: u16,
    pub(crate) key: bool,
    /// How often its width and height were halved; 0 without simulcast.
    pub(crate) layer: u8,
}

impl VideoPacket {
    /// A VP8 payload (RFC 7741 §4.2, §4.3): descriptor with a 15-bit picture number, in a frame's
    /// first packet the frame header, then what is checked.
    pub(crate) fn render(self, size: usize) -> Vec<u8> {
        let start = self.index == 0;
        let mut bytes = vec![0x80 | if start { 0x10 } else { 0 }, 0x80];
        bytes.extend((self.frame as u16 | 0x8000).to_be_bytes());
        if start {
            let inverse_key = u8::from(!self.key);
            bytes.extend([0x10 | inverse_key, 0x02, 0x00, 0x9d, 0x01, 0x2a]);
            bytes.extend((640_u16 >> self.layer).to_le_bytes());
            bytes.extend((480_u16 >> self.layer).to_le_bytes());
        }
        let checked_from = bytes.len();
        bytes.extend(MAGIC);
        bytes.extend(self.frame.to_be_bytes());
        bytes.extend(self.index.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.push(u8::from(self.key));
        bytes.push(self.layer);
        let mut filler = self.frame.wrapping_mul(2_654_435_761) ^ u32::from(self.index);
        while bytes.len() + SUM_SIZE < size {
            filler = filler.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push((filler >> 24) as u8);
        }
        let sum = checksum(&bytes[checked_from..]);
        bytes.extend(sum.to_be_bytes());
        bytes
    }

    /// `None`: not one of ours, or not as it was sent.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let start = bytes.first()? & 0x17 == 0x10;
        let checked = bytes.get(if start { 14 } else { 4 }..)?;
        let checked = verified(checked)?;
        let be16 = |at: usize| {
            Some(u16::from_be_bytes(
                checked.get(at..at + 2)?.try_into().ok()?,
            ))
        };
        let packet = VideoPacket {
            frame: u32::from_be_bytes(checked.get(4..8)?.try_into().ok()?),
            index: be16(8)?,
            count: be16(10)?,
            key: *checked.get(12)? == 1,
            layer: *checked.get(13)?,
        };
        (packet.index < packet.count && packet.count <= 64 && start == (packet.index == 0))
            .then_some(packet)
    }
}

/// An audio payload with its running number.
pub(crate) fn render_audio(number: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.resize(80 + number as usize % 40, number as u8);
    let sum = checksum(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// `None`: not one of ours, or not as it was sent.
pub(crate) fn parse_audio(bytes: &[u8]) -> Option<u32> {
    let checked = verified(bytes)?;
    Some(u32::from_be_bytes(checked.get(4..8)?.try_into().ok()?))
}

/// The video a viewer got.
#[derive(Debug, Default)]
pub(crate) struct Video {
    /// What the very first packet was.
    pub(crate) first: Option<VideoPacket>,
    /// Packets of each frame, one bit each.
    frames: BTreeMap<u32, (u64, u16)>,
    pub(crate) packets: u64,
    /// The same by layer.
    pub(crate) by_layer: [u64; 4],
    pub(crate) duplicates: u64,
}

impl Video {
    pub(crate) fn take(&mut self, packet: VideoPacket) {
        self.packets += 1;
        if let Some(count) = self.by_layer.get_mut(usize::from(packet.layer)) {
            *count += 1;
        }
        self.first.get_or_insert(packet);
        let (seen, _) = self.frames.entry(packet.frame).or_insert((0, packet.count));
        self.duplicates += *seen >> packet.index & 1;
        *seen |= 1 << packet.index;
    }

    /// How many frames from `from` on are whole, without a gap.
    pub(crate) fn run_from(&self, from: u32) -> u32 {
        let whole = |&frame: &u32| {
            let entry = self.frames.get(&frame);
            entry.is_some_and(|(seen, count)| seen.count_ones() == u32::from(*count))
        };
        (from..).take_while(whole).count() as u32
    }

    /// How many frames from the first one on are whole, without a gap.
    pub(crate) fn run(&self) -> u32 {
        self.first.map_or(0, |first| self.run_from(first.frame))
    }

    /// The newest frame of which anything came.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.frames.last_key_value().map(|(frame, _)| *frame)
    }
}

fn verified(bytes: &[u8]) -> Option<&[u8]> {
    let (checked, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_SIZE)?)?;
    let right = checked.starts_with(MAGIC) && sum == checksum(checked).to_be_bytes();
    right.then_some(checked)
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

const MAGIC: &[u8; 4] = b"wire";
const SUM_SIZE: usize = 4;
