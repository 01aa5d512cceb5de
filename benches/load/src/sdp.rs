//! The offers that are made, and the little that is read of an answer.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::media::VideoCodec;

/// What an offer is made of.
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) role: Role,
    pub(crate) video: Option<VideoCodec>,
    pub(crate) audio: bool,
    pub(crate) ufrag: &'a str,
    pub(crate) password: &'a str,
    /// sha-256 of the certificate.
    pub(crate) fingerprint: &'a [u8],
    /// Where the socket can be reached.
    pub(crate) address: SocketAddr,
    pub(crate) cname: &'a str,
    pub(crate) ssrcs: Ssrcs,
}

/// Which way media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publish,
    Watch,
}

/// The sources a publisher sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ssrcs {
    pub(crate) audio: u32,
    pub(crate) video: u32,
    pub(crate) rtx: u32,
}

impl Offer<'_> {
    /// RFC 9725 §4.2 and RFC 9429 §5.2.1: one bundle, ICE credentials, no trickle left to do.
    pub(crate) fn render(&self) -> String {
        let session_id = u64::from(self.ssrcs.video) << 16 | u64::from(self.ssrcs.audio & 0xffff);
        let mut text = format!(
            "v=0\r\no=- {session_id} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE{}{}\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n",
            if self.audio { " a" } else { "" },
            if self.video.is_some() { " v" } else { "" },
        );
        if self.audio {
            self.section(&mut text, "audio", "a", &format!("{OPUS_PT}"));
            text += &format!(
                "a=rtpmap:{OPUS_PT} opus/48000/2\r\n\
                 a=fmtp:{OPUS_PT} minptime=10;useinbandfec=1\r\n"
            );
            self.sources(&mut text, &[self.ssrcs.audio]);
        }
        if let Some(codec) = self.video {
            self.section(&mut text, "video", "v", &format!("{VIDEO_PT} {RTX_PT}"));
            text += &match codec {
                VideoCodec::Vp8 => format!("a=rtpmap:{VIDEO_PT} VP8/90000\r\n"),
                VideoCodec::H264 => format!(
                    "a=rtpmap:{VIDEO_PT} H264/90000\r\na=fmtp:{VIDEO_PT} \
                     level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
                ),
            };
            text += &format!(
                "a=rtcp-fb:{VIDEO_PT} transport-cc\r\na=rtcp-fb:{VIDEO_PT} ccm fir\r\n\
                 a=rtcp-fb:{VIDEO_PT} nack\r\n\
                 a=rtcp-fb:{VIDEO_PT} nack pli\r\n\
                 a=rtpmap:{RTX_PT} rtx/90000\r\na=fmtp:{RTX_PT} apt={VIDEO_PT}\r\n"
            );
            if self.role == Role::Publish {
                let Ssrcs { video, rtx, .. } = self.ssrcs;
                text += &format!("a=ssrc-group:FID {video} {rtx}\r\n");
            }
            self.sources(&mut text, &[self.ssrcs.video, self.ssrcs.rtx]);
        }
        text
    }

    fn section(&self, text: &mut String, kind: &str, mid: &str, pts: &str) {
        let (family, ip) = match self.address {
            SocketAddr::V4(address) => ("IP4", address.ip().to_string()),
            SocketAddr::V6(address) => ("IP6", address.ip().to_string()),
        };
        let port = self.address.port();
        let fingerprint = self.fingerprint.iter().map(|byte| format!("{byte:02X}"));
        let direction = match self.role {
            Role::Publish => "sendonly",
            Role::Watch => "recvonly",
        };
        *text += &format!(
            "m={kind} {port} UDP/TLS/RTP/SAVPF {pts}\r\nc=IN {family} {ip}\r\n\
             a=mid:{mid}\r\na={direction}\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\na=end-of-candidates\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:actpass\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=extmap:{MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:{TRANSPORT_SEQ_ID} {TRANSPORT_SEQ_URI}\r\n",
            self.ufrag,
            self.password,
            fingerprint.collect::<Vec<_>>().join(":"),
        );
        if self.role == Role::Publish {
            *text += &format!("a=msid:{} {mid}\r\n", self.cname);
        }
    }

    fn sources(&self, text: &mut String, ssrcs: &[u32]) {
        for ssrc in ssrcs.iter().filter(|_| self.role == Role::Publish) {
            // Writing to a String does not fail.
            let _ = write!(text, "a=ssrc:{ssrc} cname:{}\r\n", self.cname);
        }
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) lite: bool,
    /// sha-256 of the certificate.
    pub(crate) fingerprint: Vec<u8>,
    /// The server starts the DTLS handshake.
    pub(crate) server_is_active: bool,
    /// UDP candidates, in the order of the text.
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) audio: Option<Section>,
    pub(crate) video: Option<Section>,
}

/// What an answer says of one media section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) pt: u8,
    pub(crate) rtx_pt: Option<u8>,
    pub(crate) mid_id: Option<u8>,
    pub(crate) transport_seq_id: Option<u8>,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer cannot be used: {}", self.0)
    }
}

impl Answer {
    /// Reads an answer to [`Offer::render`].
    ///
    /// # Errors
    /// What is missing from it.
    pub(crate) fn parse(text: &str) -> Result<Answer, Unusable> {
        if text.len() > ANSWER_SIZE_MAX {
            return Err(Unusable("it is longer than any answer needs to be"));
        }
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line.trim_end());
        }
        reader.finish()
    }
}

/// The parts of an answer as they are come across.
#[derive(Default)]
struct Reader {
    ufrag: Option<String>,
    password: Option<String>,
    lite: bool,
    fingerprint: Option<Vec<u8>>,
    setup: Option<String>,
    candidates: Vec<SocketAddr>,
    known: BTreeSet<SocketAddr>,
    sections: Vec<(String, Section)>,
    /// The section being read was refused.
    refused: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split(' ');
            let kind = words.next().unwrap_or_default();
            self.refused = words.next() == Some("0");
            let section = Section {
                pt: words.nth(1).and_then(|pt| pt.parse().ok()).unwrap_or(0),
                ..Section::default()
            };
            if !self.refused && self.sections.len() < SECTIONS_MAX {
                self.sections.push((kind.to_owned(), section));
            }
            return;
        }
        let Some(attribute) = line.strip_prefix("a=") else {
            return;
        };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let first = |slot: &mut Option<String>| {
            slot.get_or_insert_with(|| value.to_owned());
        };
        match name {
            _ if self.refused => {}
            "ice-lite" => self.lite = true,
            "ice-ufrag" => first(&mut self.ufrag),
            "ice-pwd" => first(&mut self.password),
            "setup" => first(&mut self.setup),
            "fingerprint" if self.fingerprint.is_none() => self.fingerprint = sha256(value),
            "candidate" => self.candidate(value),
            "extmap" => self.extension(value),
            "fmtp" => self.format(value),
            _ => {}
        }
    }

    /// RFC 8839 §5.1.
    fn candidate(&mut self, value: &str) {
        let words: Vec<&str> = value.split(' ').take(8).collect();
        let [_, component, transport, _, ip, port, "typ", _] = words[..] else {
            return;
        };
        let address = ip.parse().ok().zip(port.parse().ok());
        let wanted = component == "1" && transport.eq_ignore_ascii_case("udp");
        if let Some((ip, port)) = address.filter(|_| wanted) {
            let address = SocketAddr::new(ip, port);
            if self.candidates.len() < CANDIDATES_MAX && self.known.insert(address) {
                self.candidates.push(address);
            }
        }
    }

    fn extension(&mut self, value: &str) {
        let Some((id, uri)) = value.split_once(' ') else {
            return;
        };
        let id = id.split('/').next().and_then(|id| id.parse::<u8>().ok());
        let id = id.filter(|id| (1..=14).contains(id));
        if let Some((_, section)) = self.sections.last_mut() {
            match uri.split(' ').next() {
                Some("urn:ietf:params:rtp-hdrext:sdes:mid") => section.mid_id = id,
                Some(TRANSPORT_SEQ_URI) => section.transport_seq_id = id,
                _ => {}
            }
        }
    }

    /// RFC 4588 §8.6.
    fn format(&mut self, value: &str) {
        let Some((_, section)) = self.sections.last_mut() else {
            return;
        };
        let Some((pt, parameters)) = value.split_once(' ') else {
            return;
        };
        let apt = parameters
            .split(';')
            .find_map(|one| one.trim().strip_prefix("apt="))
            .and_then(|apt| apt.parse::<u8>().ok());
        if apt == Some(section.pt) {
            section.rtx_pt = pt.parse().ok();
        }
    }

    fn finish(self) -> Result<Answer, Unusable> {
        let section = |kind: &str| {
            let mut sections = self.sections.iter();
            sections
                .find(|(found, _)| found == kind)
                .map(|(_, section)| section.clone())
        };
        let (audio, video) = (section("audio"), section("video"));
        if audio.is_none() && video.is_none() {
            return Err(Unusable("it accepts no media"));
        }
        if self.candidates.is_empty() {
            return Err(Unusable("it has no UDP candidate"));
        }
        Ok(Answer {
            ufrag: self.ufrag.ok_or(Unusable("a=ice-ufrag is missing"))?,
            password: self.password.ok_or(Unusable("a=ice-pwd is missing"))?,
            lite: self.lite,
            fingerprint: self
                .fingerprint
                .ok_or(Unusable("a sha-256 a=fingerprint is missing"))?,
            server_is_active: self.setup.as_deref() == Some("active"),
            candidates: self.candidates,
            audio,
            video,
        })
    }
}

/// RFC 8122 §5.
fn sha256(value: &str) -> Option<Vec<u8>> {
    let (hash, bytes) = value.split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let bytes = bytes.trim().split(':');
    let bytes: Option<Vec<u8>> = bytes.map(|hex| u8::from_str_radix(hex, 16).ok()).collect();
    bytes.filter(|bytes| bytes.len() == 32)
}

const OPUS_PT: u8 = 111;
const VIDEO_PT: u8 = 96;
const RTX_PT: u8 = 97;
const MID_ID: u8 = 4;
const TRANSPORT_SEQ_ID: u8 = 3;
const TRANSPORT_SEQ_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ANSWER_SIZE_MAX: usize = 256 * 1024;
const SECTIONS_MAX: usize = 8;
const CANDIDATES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(role: Role) -> String {
        Offer {
            role,
            video: Some(VideoCodec::H264),
            audio: true,
            ufrag: "abcd",
            password: "0123456789012345678901",
            fingerprint: &[0xab; 32],
            address: "192.0.2.1:5000".parse().unwrap(),
            cname: "load",
            ssrcs: Ssrcs {
                audio: 1,
                video: 2,
                rtx: 3,
            },
        }
        .render()
    }

    #[test]
    fn sources_are_named_by_publishers_only() {
        let publisher = offer(Role::Publish);
        assert!(publisher.contains("a=ssrc-group:FID 2 3\r\n"));
        assert!(publisher.contains("a=ssrc:1 cname:load\r\n"));
        assert!(publisher.contains("a=sendonly\r\n"));
        let viewer = offer(Role::Watch);
        assert!(!viewer.contains("ssrc") && !viewer.contains("msid:"));
        assert!(viewer.contains("a=recvonly\r\n"));
    }

    #[test]
    fn an_answer_is_read() {
        let fingerprint = vec!["0A"; 32].join(":");
        let text = format!(
            "v=0\r\na=ice-lite\r\na=fingerprint:sha-1 00\r\na=fingerprint:SHA-256 {fingerprint}\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:passive\r\n\
             a=candidate:1 1 udp 1 192.0.2.9 3478 typ host\r\n\
             a=candidate:2 1 tcp 1 192.0.2.9 3478 typ host tcptype passive\r\n\
             a=candidate:3 1 UDP 1 2001:db8::1 3478 typ host\r\n\
             a=candidate:3 1 udp 1 name.local 3478 typ host\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 120 121\r\na=ice-ufrag:u\r\n\
             a=candidate:1 1 udp 1 192.0.2.9 3478 typ host\r\n\
             a=extmap:5/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\r\na=fmtp:121 apt=120\r\n"
        );
        let answer = Answer::parse(&text).unwrap();
        assert_eq!(
            (answer.ufrag.as_str(), answer.password.as_str()),
            ("u", "p")
        );
        assert!(answer.lite && !answer.server_is_active);
        assert_eq!(answer.fingerprint, [0x0a; 32]);
        let expected = ["192.0.2.9:3478", "[2001:db8::1]:3478"].map(|one| one.parse().unwrap());
        assert_eq!(answer.candidates, expected);
        assert_eq!(answer.audio.unwrap().pt, 111);
        let video = Section {
            pt: 120,
            rtx_pt: Some(121),
            mid_id: Some(5),
            transport_seq_id: None,
        };
        assert_eq!(answer.video, Some(video));
    }

    #[test]
    fn what_is_missing_is_named() {
        let fingerprint = vec!["0A"; 32].join(":");
        let media = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let candidate = "a=candidate:1 1 udp 1 192.0.2.9 3478 typ host\r\n";
        for (text, wanted) in [
            (String::new(), "no media"),
            (media.replace(" 9 ", " 0 "), "no media"),
            (media.to_owned(), "candidate"),
            (format!("{media}{candidate}"), "ice-ufrag"),
            (format!("{media}{candidate}a=ice-ufrag:u\n"), "ice-pwd"),
            (
                format!("{media}{candidate}a=ice-ufrag:u\na=ice-pwd:p\n"),
                "fingerprint",
            ),
            (
                format!(
                    "{media}{candidate}a=fingerprint:sha-256 {}\n",
                    &fingerprint[3..]
                ),
                "ice-ufrag",
            ),
            ("x".repeat(ANSWER_SIZE_MAX + 1), "longer"),
        ] {
            let error = Answer::parse(&text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}: {wanted}");
        }
    }
}
