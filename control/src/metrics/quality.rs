//! How well it goes: what publishers bring, what their packets lack, what viewers' paths carry. No
//! series of its own for any stream or session.

use whitewater_link::FindingCode;
use whitewater_model::{Summary, Totals};

use super::Page;

impl Page {
    pub(super) fn quality(&mut self, totals: &Totals, summary: &Summary) {
        self.publishers(totals, summary);
        self.findings(totals, summary);
        self.viewers(totals, summary);
    }

    fn publishers(&mut self, totals: &Totals, summary: &Summary) {
        let name = "whitewater_publish_tracks";
        self.head(name, "gauge", "Publishers' tracks that media came of.");
        for ((kind, codec), count) in &summary.tracks {
            let labels = format!("kind=\"{kind}\",codec=\"{codec}\"");
            self.value(name, &labels, count);
        }
        let name = "whitewater_publish_layers";
        let help = "Publishers' video layers that flow, by the height of their pictures (at most).";
        self.head(name, "gauge", help);
        let bounds = Summary::HEIGHTS.iter().map(u16::to_string);
        let bounds = bounds.chain(["more".to_owned()]);
        for (bound, count) in bounds.zip(summary.heights) {
            self.value(name, &format!("height=\"{bound}\""), count);
        }
        let name = "whitewater_publish_lost_packets_total";
        let help = "Packets of publishers that never came, retransmission included.";
        self.one(name, "counter", help, totals.lost);
        let name = "whitewater_publish_keyframes_total";
        self.one(
            name,
            "counter",
            "Key frames of publishers.",
            totals.keyframes,
        );
        let name = "whitewater_keyframe_requests_total";
        self.head(name, "counter", "Requests for key frames.");
        let [to_publishers, from_viewers] = totals.keyframe_requests;
        self.value(name, "direction=\"to_publishers\"", to_publishers);
        self.value(name, "direction=\"from_viewers\"", from_viewers);
    }

    fn findings(&mut self, totals: &Totals, summary: &Summary) {
        let name = "whitewater_publish_findings";
        self.head(name, "gauge", "What is wrong with publishers' media now.");
        for &code in FindingCode::ALL {
            let count = summary.findings.get(&code).copied().unwrap_or(0);
            self.value(name, &format!("code=\"{}\"", code.as_str()), count);
        }
        let name = "whitewater_publish_findings_total";
        self.head(name, "counter", "Findings that were raised.");
        for &code in FindingCode::ALL {
            let count = totals.found.get(code.as_str()).copied().unwrap_or(0);
            self.value(name, &format!("code=\"{}\"", code.as_str()), count);
        }
    }

    fn viewers(&mut self, totals: &Totals, summary: &Summary) {
        let name = "whitewater_rtx_packets_total";
        let (repeated, padding) = (totals.repeated, totals.padding);
        self.one(
            name,
            "counter",
            "Retransmissions to viewers.",
            repeated.packets,
        );
        let name = "whitewater_rtx_bytes_total";
        self.one(name, "counter", "Their bytes.", repeated.bytes);
        let name = "whitewater_padding_bytes_total";
        let help = "Bytes to viewers by which their paths are measured.";
        self.one(name, "counter", help, padding.bytes);
        let name = "whitewater_viewer_paths";
        let help = "Viewers whose path is estimated, by the bits a second it carries (at most).";
        self.head(name, "gauge", help);
        let bounds = Summary::ESTIMATES_BPS.iter().map(u64::to_string);
        let bounds = bounds.chain(["more".to_owned()]);
        for (bound, count) in bounds.zip(summary.estimates) {
            self.value(name, &format!("bps=\"{bound}\""), count);
        }
    }
}
