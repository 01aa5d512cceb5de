//! The answer, rendered (RFC 9429 §5.3).

use std::fmt::Write as _;

use crate::lanes::{self, LanePlan};
use crate::local::Local;
use crate::plan::{
    ApplicationPlan, CodecPlan, Direction, DtlsRole, ExtensionPlan, Plan, RejectedSection,
    SectionPlan, TrackPlan,
};

/// Renders the answer to the offer that led to `plan`.
///
/// Shape: lines end in CR LF. There are as many m-lines as in the offer, in the same order and
/// with the same mids; ICE, DTLS and all candidates stand in every accepted section, since some
/// clients read only the first and others only the last. Payload types, extension ids and feedback
/// are a subset of what was offered.
///
/// Source: RFC 9429 §5.3.1, RFC 9143 §7.3, RFC 9725 §4.4.
#[must_use]
pub fn render_answer(plan: &Plan, local: &Local) -> String {
    let setup = match plan.dtls_role {
        DtlsRole::Active => "active",
        DtlsRole::Passive => "passive",
    };
    let mut out = Lines::session(local);
    if !plan.bundle.is_empty() {
        out.line(format_args!("a=group:BUNDLE {}", plan.bundle.join(" ")));
    }
    // RFC 8285 §6: answered where it was offered, at the same level.
    if plan.extmap_allow_mixed {
        out.line("a=extmap-allow-mixed");
    }
    out.ice_abilities(local);
    for section in &plan.sections {
        match section {
            SectionPlan::Media(track) => {
                out.media(track, local);
                if track.extmap_allow_mixed && !plan.extmap_allow_mixed {
                    out.line("a=extmap-allow-mixed");
                }
                out.transport(local, setup);
            }
            SectionPlan::Application(application) => {
                out.application(application, local);
                out.transport(local, setup);
            }
            SectionPlan::Rejected(rejected) => out.rejected(rejected),
        }
    }
    out.text
}

/// A text that grows by whole lines.
pub(crate) struct Lines {
    pub(crate) text: String,
}

impl Lines {
    /// RFC 9429 §5.2.1: the lines every description starts with.
    pub(crate) fn session(local: &Local) -> Self {
        let mut out = Self {
            text: String::with_capacity(4096),
        };
        // The number has 63 bits, so that it fits signed integers elsewhere.
        let session_id = local.session_id & (u64::MAX >> 1);
        out.line("v=0");
        out.line(format_args!("o=- {session_id} 1 IN IP4 0.0.0.0"));
        out.line("s=-");
        out.line("t=0 0");
        out
    }

    pub(crate) fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{line}\r\n");
    }

    /// RFC 8839 §5.3, §5.6: both stand at session level.
    pub(crate) fn ice_abilities(&mut self, local: &Local) {
        if local.ice.lite {
            self.line("a=ice-lite");
        }
        if !local.ice.options.is_empty() {
            self.line(format_args!(
                "a=ice-options:{}",
                local.ice.options.join(" ")
            ));
        }
    }

    /// What a section says about the one transport.
    pub(crate) fn transport(&mut self, local: &Local, setup: &str) {
        self.credentials(local);
        let hash: Vec<String> = local
            .fingerprint
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        self.line(format_args!("a=fingerprint:sha-256 {}", hash.join(":")));
        self.line(format_args!("a=setup:{setup}"));
        self.candidates(local);
    }

    pub(crate) fn credentials(&mut self, local: &Local) {
        self.line(format_args!("a=ice-ufrag:{}", local.ice.ufrag));
        self.line(format_args!("a=ice-pwd:{}", local.ice.pwd));
    }

    /// RFC 9725 §4.3.2: all candidates are there at once.
    pub(crate) fn candidates(&mut self, local: &Local) {
        for (index, host) in local.candidates.iter().enumerate() {
            self.line(format_args!("a={}", host.candidate(index)));
        }
        self.line("a=end-of-candidates");
    }

    /// One audio or video section, without its transport.
    pub(crate) fn media(&mut self, track: &TrackPlan, local: &Local) {
        let payload_types: Vec<String> = track
            .codecs
            .iter()
            .flat_map(|codec| std::iter::once(codec.pt).chain(codec.rtx_pt))
            .map(|pt| pt.to_string())
            .collect();
        self.line(format_args!(
            "m={} 9 {} {}",
            track.kind.name(),
            track.proto,
            payload_types.join(" ")
        ));
        self.line("c=IN IP4 0.0.0.0");
        if track.mid_offered {
            self.line(format_args!("a=mid:{}", track.mid));
        }
        let direction = match track.direction {
            Direction::RecvOnly => "recvonly",
            Direction::SendOnly => "sendonly",
        };
        for extension in &track.extensions {
            self.extension(extension, direction);
        }
        self.line(format_args!("a={direction}"));
        // RFC 9725 §4.4.1: in every RTP section of the answer.
        self.line("a=rtcp-mux");
        self.line("a=rtcp-mux-only");
        if track.rtcp_rsize {
            self.line("a=rtcp-rsize");
        }
        for codec in &track.codecs {
            self.codec(codec);
        }
        if let Some(lanes) = &track.lanes {
            let named: &[LanePlan] = match track.direction {
                Direction::RecvOnly => &[],
                Direction::SendOnly => lanes,
            };
            self.line(format_args!("a={}", lanes::render(named)));
        }
        match track.direction {
            Direction::RecvOnly => self.simulcast(track),
            Direction::SendOnly => self.sender(track, local),
        }
    }

    fn extension(&mut self, extension: &ExtensionPlan, direction: &str) {
        let uri = extension.extension.uri();
        if extension.directed {
            self.line(format_args!("a=extmap:{}/{direction} {uri}", extension.id));
        } else {
            self.line(format_args!("a=extmap:{} {uri}", extension.id));
        }
    }

    fn codec(&mut self, codec: &CodecPlan) {
        let (pt, name, clock_rate) = (codec.pt, codec.codec.name(), codec.clock_rate);
        match codec.channels {
            Some(channels) => {
                self.line(format_args!("a=rtpmap:{pt} {name}/{clock_rate}/{channels}"));
            }
            None => self.line(format_args!("a=rtpmap:{pt} {name}/{clock_rate}")),
        }
        let feedback = codec.feedback;
        for (agreed, words) in [
            (feedback.goog_remb, "goog-remb"),
            (feedback.transport_cc, "transport-cc"),
            (feedback.ccm_fir, "ccm fir"),
            (feedback.nack, "nack"),
            (feedback.nack_pli, "nack pli"),
        ] {
            if agreed {
                self.line(format_args!("a=rtcp-fb:{pt} {words}"));
            }
        }
        if !codec.answer_fmtp.is_empty() {
            self.line(format_args!("a=fmtp:{pt} {}", codec.answer_fmtp));
        }
        if let Some(rtx_pt) = codec.rtx_pt {
            self.line(format_args!("a=rtpmap:{rtx_pt} rtx/{clock_rate}"));
            self.line(format_args!("a=fmtp:{rtx_pt} apt={pt}"));
        }
    }

    /// RFC 8853 §5.3.2: what the peer sends, we receive. Paused streams are accepted unpaused.
    fn simulcast(&mut self, track: &TrackPlan) {
        if track.simulcast.is_empty() {
            return;
        }
        for rid in &track.rids {
            if rid.restrictions.is_empty() {
                self.line(format_args!("a=rid:{} recv", rid.id));
            } else {
                self.line(format_args!("a=rid:{} recv {}", rid.id, rid.restrictions));
            }
        }
        let layers: Vec<String> = track
            .simulcast
            .iter()
            .map(|layer| {
                let ids: Vec<&str> = layer
                    .alternatives
                    .iter()
                    .map(|(id, _)| id.as_str())
                    .collect();
                ids.join(",")
            })
            .collect();
        self.line(format_args!("a=simulcast:recv {}", layers.join(";")));
    }

    /// RFC 8830 §2 and draft-ietf-wish-whep §4.6.2: one stream id for all that we send.
    fn sender(&mut self, track: &TrackPlan, local: &Local) {
        let sender = local.senders.iter().find(|sender| sender.mid == track.mid);
        let track_id = sender.map_or(track.mid.as_str(), |sender| sender.track_id.as_str());
        let stream_id = &local.stream_id;
        self.line(format_args!("a=msid:{stream_id} {track_id}"));
        let Some(sender) = sender else {
            return;
        };
        let has_rtx = track.codecs.iter().any(|codec| codec.rtx_pt.is_some());
        let rtx = sender.rtx.filter(|_| has_rtx);
        // RFC 5576 §4.2: which SSRC repairs which.
        if let Some(rtx) = rtx {
            self.line(format_args!("a=ssrc-group:FID {} {rtx}", sender.ssrc));
        }
        for ssrc in std::iter::once(sender.ssrc).chain(rtx) {
            self.line(format_args!("a=ssrc:{ssrc} cname:{}", sender.cname));
            self.line(format_args!("a=ssrc:{ssrc} msid:{stream_id} {track_id}"));
        }
    }

    /// RFC 8841 §5: the data channel section, without its transport.
    pub(crate) fn application(&mut self, application: &ApplicationPlan, local: &Local) {
        self.line(format_args!(
            "m=application 9 {} {}",
            application.proto, application.format
        ));
        self.line("c=IN IP4 0.0.0.0");
        if application.mid_offered {
            self.line(format_args!("a=mid:{}", application.mid));
        }
        if application.format == DATA_CHANNEL_FORMAT {
            self.line(format_args!("a=sctp-port:{SCTP_PORT}"));
        } else {
            // The form before the RFC: the format is the port.
            self.line(format_args!(
                "a=sctpmap:{} webrtc-datachannel {SCTP_STREAM_COUNT}",
                application.format
            ));
        }
        self.line(format_args!(
            "a=max-message-size:{}",
            local.max_message_size
        ));
    }

    /// RFC 3264 §6: port 0. RFC 9143 §7.3.3: outside of the BUNDLE group.
    fn rejected(&mut self, rejected: &RejectedSection) {
        self.line(format_args!(
            "m={} 0 {} {}",
            rejected.media, rejected.proto, rejected.format
        ));
        self.line("c=IN IP4 0.0.0.0");
        if let Some(mid) = &rejected.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.line("a=inactive");
    }
}

/// The format of data channels in the m-line (RFC 8841 §4.3).
const DATA_CHANNEL_FORMAT: &str = "webrtc-datachannel";
/// RFC 8841 §5.1: the port every WebRTC stack uses inside DTLS.
const SCTP_PORT: u16 = 5000;
/// RFC 8831 §6.2: as many streams as SCTP has.
const SCTP_STREAM_COUNT: u32 = 65_535;
