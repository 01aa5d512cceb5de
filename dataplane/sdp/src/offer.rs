//! Session descriptions, parsed but not yet judged.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Malformed, Place};
use crate::limits::Limits;
use crate::section::{Level, Section};
use crate::text::{self, Line, too_many};

/// A parsed offer: sound SDP whose transport part is complete.
///
/// Shape: owned, a small multiple of the text's size. `Debug` shows neither credentials nor
/// addresses.
#[derive(Clone)]
pub struct Offer {
    pub(crate) session: Level,
    /// The mids of the first `a=group:BUNDLE`; `None` where there is no such group.
    pub(crate) bundle: Option<Vec<String>>,
    pub(crate) sections: Vec<Section>,
}

impl Offer {
    /// Reads an offer (or an answer: both have the same grammar).
    ///
    /// Shape: `text` is the body of a request; lines end in CR LF or LF. Unknown lines,
    /// attributes, candidates and codecs are skipped. Time and memory grow linearly with the text,
    /// up to `limits`.
    ///
    /// # Errors
    /// [`Malformed`] when a limit is crossed, when a line that matters cannot be understood, or
    /// when ICE credentials or the certificate's fingerprint are missing.
    ///
    /// Source: RFC 8866 §5 (grammar), RFC 9429 §5.8 (which lines matter).
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Malformed> {
        let lines = text::lines(text, limits.text_size_max, limits)?;
        let media_start = lines
            .iter()
            .position(|line| line.kind == b'm')
            .unwrap_or(lines.len());
        let (session_lines, media_lines) = lines.split_at(media_start);
        check_session_lines(session_lines)?;

        let mut offer = Self {
            session: Level::default(),
            bundle: None,
            sections: Vec::new(),
        };
        let mut candidate_count = 0;
        for line in session_lines.iter().filter(|line| line.kind == b'a') {
            offer.session_attribute(line.value, limits)?;
        }
        for line in media_lines {
            match line.kind {
                b'm' => {
                    if offer.sections.len() == limits.section_count_max {
                        return Err(too_many("m-lines", limits.section_count_max));
                    }
                    let index = offer.sections.len();
                    offer
                        .sections
                        .push(Section::start(index, line.value, limits)?);
                }
                b'a' => {
                    if line.value.starts_with("candidate:") {
                        candidate_count += 1;
                        if candidate_count > limits.candidate_count_max {
                            return Err(too_many("candidates", limits.candidate_count_max));
                        }
                    }
                    if let Some(section) = offer.sections.last_mut() {
                        section.attribute(line.value, limits)?;
                    }
                }
                _ => {}
            }
        }
        offer.check()?;
        Ok(offer)
    }

    /// The mids in the order of their m-lines; `None` for a section without one.
    pub fn mids(&self) -> impl Iterator<Item = Option<&str>> {
        self.sections.iter().map(|section| section.mid.as_deref())
    }

    /// The payload types of one section, in the offer's order; empty for data channels.
    pub fn payload_types(&self, section_index: usize) -> impl Iterator<Item = u8> {
        self.sections
            .get(section_index)
            .into_iter()
            .flat_map(|section| section.payloads.iter().map(|payload| payload.pt))
    }

    fn session_attribute(&mut self, line: &str, limits: &Limits) -> Result<(), Malformed> {
        let (name, value) = text::attribute(line);
        if name != "group" {
            return self
                .session
                .attribute(name, value, limits, || Place::Session)
                .map(drop);
        }
        let mut words = value.split_ascii_whitespace();
        if words.next() != Some("BUNDLE") || self.bundle.is_some() {
            return Ok(());
        }
        let mut mids = Vec::new();
        for word in words {
            if mids.len() == limits.section_count_max {
                return Err(too_many(
                    "mids in the BUNDLE group",
                    limits.section_count_max,
                ));
            }
            mids.push(text::mid(word, || Place::Session)?);
        }
        self.bundle = Some(mids);
        Ok(())
    }

    /// The rules that span several lines.
    fn check(&self) -> Result<(), Malformed> {
        if self.sections.is_empty() {
            return Err(Malformed::session("there is no m-line"));
        }
        let mut mids = BTreeSet::new();
        for section in &self.sections {
            if let Some(mid) = section.mid.as_deref()
                && !mids.insert(mid)
            {
                // RFC 5888 §4: the identification tag is unique in its description.
                return Err(Malformed::new(
                    section.place(),
                    "another m-section has the same a=mid",
                ));
            }
        }
        let mut grouped = BTreeSet::new();
        for mid in self.bundle.iter().flatten() {
            if !mids.contains(mid.as_str()) {
                return Err(Malformed::session(format!(
                    "the BUNDLE group names mid {mid}, which no m-section has"
                )));
            }
            if !grouped.insert(mid.as_str()) {
                return Err(Malformed::session(format!(
                    "the BUNDLE group names mid {mid} twice"
                )));
            }
        }
        let Some(section) = self.transport_section() else {
            // Every m-line has port 0: judged later, there is no transport to check.
            return Ok(());
        };
        if self.credentials(section).is_none() {
            // RFC 8839 §5.4: both must be there, at session or media level.
            return Err(Malformed::new(
                section.place(),
                "a=ice-ufrag and a=ice-pwd are needed, here or at session level",
            ));
        }
        if !section.level.fingerprint_seen && !self.session.fingerprint_seen {
            // RFC 8842 §5.1: without it the peer's certificate cannot be trusted.
            return Err(Malformed::new(
                section.place(),
                "a=fingerprint is needed, here or at session level",
            ));
        }
        Ok(())
    }

    /// The section that stands for the transport: the first of the BUNDLE group that is not
    /// turned down by the offer itself (RFC 9143 §7.2, "offerer-tagged"), else the first m-line.
    pub(crate) fn transport_section(&self) -> Option<&Section> {
        let in_use = |section: &&Section| !self.is_disabled(section);
        self.bundle
            .iter()
            .flatten()
            .find_map(|mid| self.section_of(mid).filter(in_use))
            .or_else(|| self.sections.iter().find(in_use))
    }

    pub(crate) fn section_of(&self, mid: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.mid.as_deref() == Some(mid))
    }

    /// Whether the BUNDLE group has this section.
    pub(crate) fn is_bundled(&self, section: &Section) -> bool {
        match (&self.bundle, section.mid.as_deref()) {
            (Some(bundle), Some(mid)) => bundle.iter().any(|grouped| grouped == mid),
            _ => false,
        }
    }

    /// RFC 3264 §5.1: port 0 turns a stream down, except where it only says that the section has
    /// no transport of its own (RFC 9143 §6, `a=bundle-only`). Clients forget that attribute, so
    /// being in the BUNDLE group is enough.
    pub(crate) fn is_disabled(&self, section: &Section) -> bool {
        section.port == 0 && !self.is_bundled(section)
    }

    /// The credentials that hold for `section`: its own or the session's, word by word.
    pub(crate) fn credentials<'a>(&'a self, section: &'a Section) -> Option<(&'a str, &'a str)> {
        let ufrag = section.level.ufrag.as_deref();
        let pwd = section.level.pwd.as_deref();
        Some((
            ufrag.or(self.session.ufrag.as_deref())?,
            pwd.or(self.session.pwd.as_deref())?,
        ))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("bundle", &self.bundle)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

/// RFC 8866 §5: `v=`, `o=`, `s=` and `t=` are mandatory, `v=` comes first and is zero.
fn check_session_lines(lines: &[Line<'_>]) -> Result<(), Malformed> {
    match lines.first() {
        Some(line) if line.kind == b'v' && line.value.trim_ascii() == "0" => {}
        Some(line) if line.kind == b'v' => {
            return Err(Malformed::session("only SDP version 0 (v=0) exists"));
        }
        _ => return Err(Malformed::session("it does not start with v=0")),
    }
    for (kind, rule) in [
        (b'o', "the o= line is missing"),
        (b's', "the s= line is missing"),
        (b't', "the t= line is missing"),
    ] {
        if !lines.iter().any(|line| line.kind == kind) {
            return Err(Malformed::session(rule));
        }
    }
    let origin = lines.iter().find(|line| line.kind == b'o');
    if origin.is_some_and(|line| line.value.split_ascii_whitespace().count() != 6) {
        return Err(Malformed::session("the o= line needs six fields"));
    }
    Ok(())
}
