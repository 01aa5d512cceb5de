//! What all publishers bring and all paths carry, in numbers whose count does not grow with them.

use std::collections::BTreeMap;

use whitewater_link::FindingCode;

use super::Registry;

/// Sums over all live sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Publishers' tracks that something came of, by kind and codec.
    pub tracks: BTreeMap<(&'static str, String), usize>,
    /// Publishers' video layers of which pictures come, by the first of [`Summary::HEIGHTS`] that is
    /// not below theirs, and those above all of them.
    pub heights: [usize; Summary::HEIGHTS.len() + 1],
    /// Viewers by the first of [`Summary::ESTIMATES_BPS`] that their path does not exceed, and those
    /// beyond all of them.
    pub estimates: [usize; Summary::ESTIMATES_BPS.len() + 1],
    /// Findings, by code.
    pub findings: BTreeMap<FindingCode, usize>,
}

impl Summary {
    /// Usual heights of pictures, in pixels.
    pub const HEIGHTS: [u16; 7] = [180, 240, 360, 480, 720, 1080, 2160];
    /// Rates that tell audio, small, middle and large pictures apart, in bits per second.
    pub const ESTIMATES_BPS: [u64; 6] = [
        100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000,
    ];
}

impl Registry {
    /// Sums over all live sessions. The work grows with these.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for session in self.sessions.values() {
            if let Some(bps) = session.available_bps {
                let place = Summary::ESTIMATES_BPS.partition_point(|bound| *bound < bps);
                summary.estimates[place] += 1;
            }
            for diagnosed in &session.diagnosis {
                *summary.findings.entry(diagnosed.finding.code).or_default() += 1;
            }
            let tracks = session.intake.iter().flat_map(|intake| &intake.tracks);
            for track in tracks.filter(|track| !track.codec.is_empty()) {
                let name = (track.kind.as_str(), track.codec.clone());
                *summary.tracks.entry(name).or_default() += 1;
                let flowing = |layer: &&whitewater_link::LayerIntake| {
                    layer.height > 0 && layer.bitrate_bps > 0
                };
                for layer in track.layers.iter().filter(flowing) {
                    let place = Summary::HEIGHTS.partition_point(|bound| *bound < layer.height);
                    summary.heights[place] += 1;
                }
            }
        }
        summary
    }
}
