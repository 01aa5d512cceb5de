//! One media section as it stands in the text, and the attributes both levels share.

use std::fmt;

use crate::candidate::{Candidate, CandidateLine};
use crate::codec::MediaKind;
use crate::error::{Malformed, Place};
use crate::extension::Extension;
use crate::lanes::{self, LanePlan};
use crate::limits::Limits;
use crate::plan::{Feedback, Fingerprint, HashFunction, IceOptions};
use crate::text;

/// `a=setup` (RFC 4145 §4, RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    ActPass,
    Active,
    Passive,
    HoldConn,
}

/// `a=sendrecv` and its siblings, from the peer's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferedDirection {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// Attributes that may stand at session or at media level.
#[derive(Clone, Default)]
pub(crate) struct Level {
    pub(crate) ufrag: Option<String>,
    pub(crate) pwd: Option<String>,
    pub(crate) ice_lite: bool,
    pub(crate) ice_options: Option<IceOptions>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// A fingerprint was there, even if of a hash function nobody here knows.
    pub(crate) fingerprint_seen: bool,
    pub(crate) setup: Option<Setup>,
    pub(crate) direction: Option<OfferedDirection>,
    pub(crate) extmap_allow_mixed: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) end_of_candidates: bool,
}

/// One `a=extmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferedExtension {
    pub(crate) id: u8,
    pub(crate) direction: Option<OfferedDirection>,
    pub(crate) extension: Extension,
}

/// One format of an RTP m-line and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) pt: u8,
    /// Encoding name, clock rate and channels of `a=rtpmap`.
    pub(crate) map: Option<(String, u32, Option<u8>)>,
    pub(crate) fmtp: String,
    pub(crate) feedback: Feedback,
}

/// One SSRC with what was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferedSsrc {
    pub(crate) ssrc: u32,
    pub(crate) cname: Option<String>,
}

/// One `a=rid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfferedRid {
    pub(crate) id: String,
    pub(crate) sends: bool,
    pub(crate) restrictions: String,
}

/// One media section.
#[derive(Clone)]
pub(crate) struct Section {
    pub(crate) index: usize,
    pub(crate) media: String,
    pub(crate) port: u16,
    pub(crate) proto: String,
    /// The formats as they stand in the m-line; at least one.
    pub(crate) formats: Vec<String>,
    /// The payload types among them, without repetitions; only where the profile is an RTP one.
    pub(crate) payloads: Vec<Payload>,
    /// Feedback offered for all payload types (`a=rtcp-fb:*`).
    pub(crate) feedback_all: Feedback,
    feedback_count: usize,
    pub(crate) level: Level,
    pub(crate) mid: Option<String>,
    pub(crate) bundle_only: bool,
    pub(crate) rtcp_rsize: bool,
    pub(crate) extensions: Vec<OfferedExtension>,
    extension_count: usize,
    pub(crate) ssrcs: Vec<OfferedSsrc>,
    /// `a=ssrc-group:FID`, as (media, repair).
    pub(crate) fid_groups: Vec<(u32, u32)>,
    /// The first `a=ssrc-group:SIM`.
    pub(crate) sim_group: Vec<u32>,
    ssrc_group_count: usize,
    pub(crate) rids: Vec<OfferedRid>,
    /// The send part of `a=simulcast`: layers of alternatives of (rid, paused).
    pub(crate) simulcast_send: Vec<Vec<(String, bool)>>,
    /// What `a=whitewater-layers` says, where it can be used.
    pub(crate) lanes: Option<Vec<LanePlan>>,
    pub(crate) msid: Option<(String, String)>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) sctp_port: Option<u16>,
    pub(crate) max_message_size: Option<u64>,
}

impl Level {
    /// Takes one attribute in; false if it is none of those both levels share.
    pub(crate) fn attribute(
        &mut self,
        name: &str,
        value: &str,
        limits: &Limits,
        place: impl Fn() -> Place,
    ) -> Result<bool, Malformed> {
        match name {
            "ice-ufrag" => self.ufrag = Some(text::ice_ufrag(value, place)?),
            "ice-pwd" => self.pwd = Some(text::ice_pwd(value, place)?),
            "ice-lite" => self.ice_lite = true,
            "ice-options" => {
                self.ice_options
                    .get_or_insert_default()
                    .merge(IceOptions::parse(value));
            }
            "fingerprint" => self.fingerprint(value, limits, place)?,
            "setup" => {
                self.setup = Some(match value {
                    "actpass" => Setup::ActPass,
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    "holdconn" => Setup::HoldConn,
                    _ => {
                        return Err(Malformed::new(
                            place(),
                            "a=setup needs actpass, active, passive or holdconn",
                        ));
                    }
                });
            }
            "sendrecv" => self.direction = Some(OfferedDirection::SendRecv),
            "sendonly" => self.direction = Some(OfferedDirection::SendOnly),
            "recvonly" => self.direction = Some(OfferedDirection::RecvOnly),
            "inactive" => self.direction = Some(OfferedDirection::Inactive),
            "extmap-allow-mixed" => self.extmap_allow_mixed = true,
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "end-of-candidates" => self.end_of_candidates = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn fingerprint(
        &mut self,
        value: &str,
        limits: &Limits,
        place: impl Fn() -> Place,
    ) -> Result<(), Malformed> {
        self.fingerprint_seen = true;
        if self.fingerprints.len() == limits.fingerprint_count_max {
            return Err(text::too_many(
                "fingerprints at one level",
                limits.fingerprint_count_max,
            ));
        }
        let wrong = || {
            Malformed::new(
                place(),
                "a=fingerprint needs a hash function and its bytes as hexadecimal pairs with colons",
            )
        };
        let (name, digits) = value.split_once(' ').ok_or_else(wrong)?;
        let Some(hash) = HashFunction::from_name(name) else {
            // RFC 8122 §5: others may stand beside the one both sides know.
            return Ok(());
        };
        let digits = digits.trim_ascii();
        if digits.len() != hash.size() * 3 - 1 {
            return Err(wrong());
        }
        let bytes = digits
            .split(':')
            .map(|pair| {
                (pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .then(|| u8::from_str_radix(pair, 16).ok())
                    .flatten()
            })
            .collect::<Option<Vec<u8>>>()
            .filter(|bytes| bytes.len() == hash.size())
            .ok_or_else(wrong)?;
        let fingerprint = Fingerprint { hash, bytes };
        if !self.fingerprints.contains(&fingerprint) {
            self.fingerprints.push(fingerprint);
        }
        Ok(())
    }
}

impl HashFunction {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))
    }
}

impl IceOptions {
    pub(crate) fn parse(value: &str) -> Self {
        // RFC 8839 §5.6 separates with spaces, libdatachannel with commas.
        let has = |tag: &str| value.split([' ', ',']).any(|word| word == tag);
        Self {
            trickle: has("trickle"),
            ice2: has("ice2"),
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.trickle |= other.trickle;
        self.ice2 |= other.ice2;
    }
}

impl Section {
    /// Begins a section with the value of its m-line.
    pub(crate) fn start(index: usize, value: &str, limits: &Limits) -> Result<Self, Malformed> {
        let mut words = value.split_ascii_whitespace();
        let (media, port, proto) = (words.next(), words.next(), words.next());
        let media = media.unwrap_or_default();
        let place = || Place::Section {
            index,
            kind: kind_word(media),
            mid: None,
        };
        let truncated = || {
            Malformed::new(
                place(),
                "the m-line needs a media word, a port, a profile and at least one format",
            )
        };
        let (port, proto) = (port.ok_or_else(truncated)?, proto.ok_or_else(truncated)?);
        // RFC 8866 §5.14: `port/count` for layered streams; the count does not matter here.
        let port = port.split_once('/').map_or(port, |(port, _)| port);
        let port = port
            .parse::<u16>()
            .map_err(|_| Malformed::new(place(), "the port of the m-line is not 0 to 65535"))?;
        let is_profile = proto.split('/').all(text::is_token);
        if !text::is_token(media) || !is_profile {
            return Err(truncated());
        }
        let formats: Vec<String> = words
            .by_ref()
            .take(limits.payload_type_count_max)
            .map(str::to_owned)
            .collect();
        if words.next().is_some() {
            return Err(text::too_many(
                "formats in one m-line",
                limits.payload_type_count_max,
            ));
        }
        if formats.is_empty() || !formats.iter().all(|format| text::is_token(format)) {
            return Err(truncated());
        }
        let mut section = Self {
            index,
            media: media.to_owned(),
            port,
            proto: proto.to_owned(),
            formats,
            payloads: Vec::new(),
            feedback_all: Feedback::default(),
            feedback_count: 0,
            level: Level::default(),
            mid: None,
            bundle_only: false,
            rtcp_rsize: false,
            extensions: Vec::new(),
            extension_count: 0,
            ssrcs: Vec::new(),
            fid_groups: Vec::new(),
            sim_group: Vec::new(),
            ssrc_group_count: 0,
            rids: Vec::new(),
            simulcast_send: Vec::new(),
            lanes: None,
            msid: None,
            candidates: Vec::new(),
            sctp_port: None,
            max_message_size: None,
        };
        if section.is_rtp() {
            section.read_payload_types()?;
        }
        Ok(section)
    }

    /// Where errors say that this section is.
    pub(crate) fn place(&self) -> Place {
        Place::Section {
            index: self.index,
            kind: kind_word(&self.media),
            mid: self.mid.clone(),
        }
    }

    /// Audio or video, if it is either.
    pub(crate) fn kind(&self) -> Option<MediaKind> {
        match self.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// RFC 9429 §5.1.2: all of these mean the same, whatever the transport.
    pub(crate) fn is_rtp(&self) -> bool {
        ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"]
            .into_iter()
            .any(|profile| {
                self.proto
                    .strip_suffix(profile)
                    .is_some_and(|before| before.is_empty() || before.ends_with('/'))
            })
    }

    /// Takes one `a=` line in.
    pub(crate) fn attribute(&mut self, line: &str, limits: &Limits) -> Result<(), Malformed> {
        let (name, value) = text::attribute(line);
        let (index, kind) = (self.index, kind_word(&self.media));
        let mid = self.mid.clone();
        let place = || Place::Section {
            index,
            kind,
            mid: mid.clone(),
        };
        if self.level.attribute(name, value, limits, place)? {
            return Ok(());
        }
        match name {
            "mid" => self.mid = Some(text::mid(value, place)?),
            "bundle-only" => self.bundle_only = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "rtpmap" => return self.rtpmap(value),
            "fmtp" => return self.fmtp(value, limits),
            "rtcp-fb" => return self.rtcp_fb(value, limits),
            "extmap" => return self.extmap(value, limits),
            "ssrc" => return self.ssrc(value, limits),
            "ssrc-group" => return self.ssrc_group(value, limits),
            "rid" => return self.rid(value, limits),
            "simulcast" => return self.simulcast(value, limits),
            lanes::NAME => self.lanes = lanes::parse(value),
            "msid" => self.msid(value),
            "candidate" => self.candidate(value),
            "sctp-port" => {
                self.sctp_port = Some(
                    value
                        .parse()
                        .map_err(|_| Malformed::new(place(), "a=sctp-port is not 0 to 65535"))?,
                );
            }
            "max-message-size" => {
                self.max_message_size = Some(
                    value
                        .parse()
                        .map_err(|_| Malformed::new(place(), "a=max-message-size is no number"))?,
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn malformed(&self, rule: &'static str) -> Malformed {
        Malformed::new(self.place(), rule)
    }

    fn read_payload_types(&mut self) -> Result<(), Malformed> {
        let mut seen = [false; 128];
        for format in &self.formats {
            // RFC 3550 §5.1: the payload type has seven bits.
            let pt = format
                .parse::<u8>()
                .ok()
                .filter(|pt| *pt <= 127)
                .ok_or_else(|| self.malformed("a payload type of the m-line is not 0 to 127"))?;
            if !std::mem::replace(&mut seen[usize::from(pt)], true) {
                self.payloads.push(Payload {
                    pt,
                    map: None,
                    fmtp: String::new(),
                    feedback: Feedback::default(),
                });
            }
        }
        Ok(())
    }

    /// Splits `<pt> <rest>`; the payload is `None` where the m-line does not have it, as when a
    /// client removed a codec from the m-line only.
    fn payload_and_rest<'a>(&mut self, value: &'a str) -> Option<(Option<&mut Payload>, &'a str)> {
        let (pt, rest) = value.split_once(' ')?;
        let pt: u8 = pt.parse().ok()?;
        let payload = self.payloads.iter_mut().find(|payload| payload.pt == pt);
        Some((payload, rest.trim_ascii()))
    }

    fn rtpmap(&mut self, value: &str) -> Result<(), Malformed> {
        if !self.is_rtp() {
            return Ok(());
        }
        let wrong = self.malformed("a=rtpmap needs a payload type and name/clock");
        let Some((payload, rest)) = self.payload_and_rest(value) else {
            return Err(wrong);
        };
        let mut parts = rest.split('/');
        let name = parts.next().filter(|name| text::is_token(name));
        let clock = parts.next().and_then(|clock| clock.trim().parse().ok());
        // For video the third part means nothing and may hold anything.
        let channels = parts.next().and_then(|channels| channels.parse().ok());
        let (Some(name), Some(clock)) = (name, clock) else {
            return Err(wrong);
        };
        if let Some(payload) = payload
            && payload.map.is_none()
        {
            payload.map = Some((name.to_owned(), clock, channels));
        }
        Ok(())
    }

    fn fmtp(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        if !self.is_rtp() {
            return Ok(());
        }
        // Formats that are no number belong to other uses of fmtp; they say nothing to us.
        if let Some((Some(payload), rest)) = self.payload_and_rest(value) {
            if !payload.fmtp.is_empty() {
                payload.fmtp.push(';');
            }
            payload.fmtp.push_str(rest);
            if payload.fmtp.len() > limits.fmtp_size_max {
                return Err(text::too_many(
                    "bytes in the a=fmtp lines of one payload type",
                    limits.fmtp_size_max,
                ));
            }
        }
        Ok(())
    }

    fn rtcp_fb(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        self.feedback_count += 1;
        if self.feedback_count > limits.feedback_count_max {
            return Err(text::too_many(
                "a=rtcp-fb lines in one m-section",
                limits.feedback_count_max,
            ));
        }
        // RFC 4585 §4.2: `*` stands for all payload types of the section.
        if let Some(rest) = value.strip_prefix("* ") {
            self.feedback_all.add(rest);
        } else if let Some((Some(payload), rest)) = self.payload_and_rest(value) {
            payload.feedback.add(rest);
        }
        Ok(())
    }

    fn extmap(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        self.extension_count += 1;
        if self.extension_count > limits.extension_count_max {
            return Err(text::too_many(
                "a=extmap lines in one m-section",
                limits.extension_count_max,
            ));
        }
        let mut words = value.split_ascii_whitespace();
        let (Some(entry), Some(uri)) = (words.next(), words.next()) else {
            return Err(self.malformed("a=extmap needs an id and a URI"));
        };
        let (id, direction) = match entry.split_once('/') {
            None => (entry, None),
            Some((id, word)) => (
                id,
                Some(match word {
                    "sendrecv" => OfferedDirection::SendRecv,
                    "sendonly" => OfferedDirection::SendOnly,
                    "recvonly" => OfferedDirection::RecvOnly,
                    "inactive" => OfferedDirection::Inactive,
                    _ => return Err(self.malformed("a=extmap has an unknown direction")),
                }),
            ),
        };
        let id: u32 = id
            .parse()
            .map_err(|_| self.malformed("the id of a=extmap is no number"))?;
        // RFC 8285 §4.2, §7: 0 is padding, 15 is reserved, above 255 stand ids that the answerer
        // would have to choose from. None of them is an error, none is answered.
        let Some(id) = u8::try_from(id).ok().filter(|id| !matches!(id, 0 | 15)) else {
            return Ok(());
        };
        if !self.extensions.iter().any(|known| known.id == id) {
            self.extensions.push(OfferedExtension {
                id,
                direction,
                extension: Extension::from_uri(uri),
            });
        }
        Ok(())
    }

    fn ssrc(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        let (ssrc, rest) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc: u32 = ssrc
            .parse()
            .map_err(|_| self.malformed("a=ssrc does not start with a number"))?;
        let position = self.ssrcs.iter().position(|known| known.ssrc == ssrc);
        let position = match position {
            Some(position) => position,
            None if self.ssrcs.len() == limits.ssrc_count_max => {
                return Err(text::too_many(
                    "SSRCs in one m-section",
                    limits.ssrc_count_max,
                ));
            }
            None => {
                self.ssrcs.push(OfferedSsrc { ssrc, cname: None });
                self.ssrcs.len() - 1
            }
        };
        let (name, value) = text::attribute(rest);
        match name {
            "cname" => {
                if let Some(known) = self.ssrcs.get_mut(position) {
                    known.cname.get_or_insert_with(|| value.to_owned());
                }
            }
            // What Chromium's older API says per SSRC, where there is no line of its own.
            "msid" if self.msid.is_none() => self.msid(value),
            _ => {}
        }
        Ok(())
    }

    fn ssrc_group(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        self.ssrc_group_count += 1;
        if self.ssrc_group_count > limits.ssrc_count_max {
            return Err(text::too_many(
                "SSRC groups in one m-section",
                limits.ssrc_count_max,
            ));
        }
        let mut words = value.split_ascii_whitespace();
        let semantics = words.next().unwrap_or_default();
        let ssrcs = words
            .take(limits.ssrc_count_max + 1)
            .map(|word| word.parse::<u32>().ok())
            .collect::<Option<Vec<u32>>>()
            .filter(|ssrcs| ssrcs.len() <= limits.ssrc_count_max)
            .ok_or_else(|| self.malformed("a=ssrc-group needs a meaning and a few numbers"))?;
        match (semantics, ssrcs.as_slice()) {
            ("FID", [media, repair]) => self.fid_groups.push((*media, *repair)),
            ("SIM", [_, ..]) if self.sim_group.is_empty() => self.sim_group = ssrcs,
            _ => {}
        }
        Ok(())
    }

    fn rid(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        if self.rids.len() == limits.rid_count_max {
            return Err(text::too_many(
                "a=rid lines in one m-section",
                limits.rid_count_max,
            ));
        }
        let mut words = value.splitn(3, ' ');
        let id = words.next().unwrap_or_default();
        let direction = words.next().unwrap_or_default();
        let restrictions = words.next().unwrap_or_default().trim_ascii();
        let sends = match direction {
            "send" => true,
            "recv" => false,
            _ => return Err(self.malformed("a=rid needs an id and send or recv")),
        };
        if !is_rid(id) {
            return Err(self.malformed("an id of a=rid has other than letters, digits, - and _"));
        }
        // RFC 8851 §10: an id that stands twice makes both invalid; the first is kept here, since
        // clients repeat the same line rather than mean two things.
        if !self.rids.iter().any(|known| known.id == id) {
            self.rids.push(OfferedRid {
                id: id.to_owned(),
                sends,
                restrictions: restrictions.to_owned(),
            });
        }
        Ok(())
    }

    /// RFC 8853 §5.1: `send 1,~2;3 recv 4`, either part may be missing.
    fn simulcast(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        let mut words = value.split_ascii_whitespace();
        while let Some(direction) = words.next() {
            let list = words
                .next()
                .ok_or_else(|| self.malformed("a=simulcast needs ids after send or recv"))?;
            match direction {
                "send" => {}
                "recv" => continue,
                _ => return Err(self.malformed("a=simulcast needs send or recv")),
            }
            // Before the RFC, drafts wrote `send rid=1;2`.
            let list = list.strip_prefix("rid=").unwrap_or(list);
            let mut count = 0;
            let mut layers = Vec::new();
            for layer in list.split(';') {
                let mut alternatives = Vec::new();
                for word in layer.split(',') {
                    let id = word.strip_prefix('~').unwrap_or(word);
                    count += 1;
                    if count > limits.rid_count_max || !is_rid(id) {
                        return Err(self.malformed("a=simulcast has too many or unreadable ids"));
                    }
                    alternatives.push((id.to_owned(), word.starts_with('~')));
                }
                layers.push(alternatives);
            }
            self.simulcast_send = layers;
        }
        Ok(())
    }

    fn msid(&mut self, value: &str) {
        if self.msid.is_none() {
            let mut words = value.split_ascii_whitespace();
            if let Some(stream) = words.next() {
                let track = words.next().unwrap_or_default();
                self.msid = Some((stream.to_owned(), track.to_owned()));
            }
        }
    }

    fn candidate(&mut self, value: &str) {
        // RFC 9725 §4.3.2: what cannot be understood or reached is skipped silently.
        if let CandidateLine::Usable(candidate) = Candidate::parse(value)
            && candidate.component == 1
            && !self.candidates.contains(&candidate)
        {
            self.candidates.push(candidate);
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("media", &self.media)
            .field("port", &self.port)
            .field("proto", &self.proto)
            .field("formats", &self.formats)
            .field("mid", &self.mid)
            .finish_non_exhaustive()
    }
}

impl Feedback {
    fn add(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        match (words.next().unwrap_or_default(), words.next()) {
            ("nack", None) => self.nack = true,
            ("nack", Some("pli")) => self.nack_pli = true,
            ("ccm", Some("fir")) => self.ccm_fir = true,
            ("transport-cc", None) => self.transport_cc = true,
            ("goog-remb", None) => self.goog_remb = true,
            _ => {}
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            nack: self.nack | other.nack,
            nack_pli: self.nack_pli | other.nack_pli,
            ccm_fir: self.ccm_fir | other.ccm_fir,
            transport_cc: self.transport_cc | other.transport_cc,
            goog_remb: self.goog_remb | other.goog_remb,
        }
    }
}

/// RFC 8851 §10: letters, digits, `-` and `_`.
pub(crate) fn is_rid(text: &str) -> bool {
    (1..=RID_SIZE_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// RFC 8851 §10 sets none; RFC 8285's two-byte elements end at 255 bytes.
const RID_SIZE_MAX: usize = 255;

/// Only words of ours go into errors, whatever the m-line says.
fn kind_word(media: &str) -> &'static str {
    match media {
        "audio" => "audio",
        "video" => "video",
        "application" => "application",
        _ => "other",
    }
}
