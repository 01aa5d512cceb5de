//! Trickle and restart fragments (RFC 8840 §9, RFC 9725 §4.3).

use std::collections::BTreeSet;
use std::fmt;

use crate::answer::Lines;
use crate::candidate::{Candidate, CandidateLine};
use crate::error::{Malformed, Place};
use crate::limits::Limits;
use crate::local::Local;
use crate::plan::IceOptions;
use crate::text::{self, too_many};

/// A parsed `application/trickle-ice-sdpfrag` body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `a=ice-options`, where said.
    pub options: Option<IceOptions>,
    /// `a=ice-lite` is there.
    pub lite: bool,
    /// `a=ice-pacing` in ms, where said.
    pub pacing_ms: Option<u32>,
    /// The mids of `a=group:BUNDLE`; empty where there is none.
    pub bundle: Vec<String>,
    /// What stands before the first m-line, then one entry per m-line.
    pub sections: Vec<FragmentSection>,
}

/// What a fragment says about one section.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FragmentSection {
    /// `a=mid`; `None` where it is missing and before the first m-line, which then holds for the
    /// bundle's transport.
    pub mid: Option<String>,
    /// `a=ice-ufrag`, 4..=256 ICE characters.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`, 22..=256 ICE characters. Left out of `Debug`.
    pub pwd: Option<String>,
    /// Usable candidates, without repetitions; host names and unknown transports are left out.
    pub candidates: Vec<Candidate>,
    /// `a=end-of-candidates` is there.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// Shape: `text` is the body of a PATCH; lines end in CR LF or LF. Unknown lines and
    /// attributes are ignored, candidates that cannot be used are skipped silently.
    ///
    /// # Errors
    /// [`Malformed`] when it holds nothing a fragment is for (credentials, a mid, a candidate or
    /// their end), has half of a pair of credentials, or crosses a limit.
    ///
    /// Source: RFC 8840 §9 (grammar), RFC 9725 §4.3.2 (what is skipped).
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Malformed> {
        let lines = text::lines(text, limits.fragment_size_max, limits)?;
        let mut fragment = Self {
            sections: vec![FragmentSection::default()],
            ..Self::default()
        };
        let mut candidate_count = 0;
        let mut is_fragment = false;
        for line in lines {
            match line.kind {
                b'm' => {
                    if fragment.sections.len() > limits.section_count_max {
                        return Err(too_many("m-lines", limits.section_count_max));
                    }
                    fragment.sections.push(FragmentSection::default());
                }
                b'a' => {
                    let (name, value) = text::attribute(line.value);
                    if name == "candidate" {
                        candidate_count += 1;
                        if candidate_count > limits.candidate_count_max {
                            return Err(too_many("candidates", limits.candidate_count_max));
                        }
                    }
                    is_fragment |= fragment.attribute(name, value, limits)?;
                }
                _ => {}
            }
        }
        if !is_fragment {
            return Err(Malformed::session(
                "it has neither ICE credentials nor a mid, a candidate or their end",
            ));
        }
        fragment.check()?;
        Ok(fragment)
    }

    /// The credentials `(ufrag, pwd)` that hold for the bundle's transport, word by word: those of
    /// its own section, else those before the first m-line, else none. Credentials of other
    /// sections are never applied to it.
    #[must_use]
    pub fn credentials(&self, tagged_mid: &str) -> Option<(&str, &str)> {
        // Later entries are the more specific ones: the first is the session level.
        let said = |word: fn(&FragmentSection) -> Option<&str>| {
            self.for_transport(tagged_mid).filter_map(word).last()
        };
        Some((
            said(|section| section.ufrag.as_deref())?,
            said(|section| section.pwd.as_deref())?,
        ))
    }

    /// The candidates that are meant for the bundle's transport; those of other mids are ignored
    /// (RFC 8840 §4.4: candidates stand in the section that stands for the bundle).
    pub fn candidates(&self, tagged_mid: &str) -> impl Iterator<Item = &Candidate> {
        self.for_transport(tagged_mid)
            .flat_map(|section| &section.candidates)
    }

    /// Whether the bundle's transport gets no more candidates.
    #[must_use]
    pub fn end_of_candidates(&self, tagged_mid: &str) -> bool {
        self.for_transport(tagged_mid)
            .any(|section| section.end_of_candidates)
    }

    /// Whether anything in it is meant for the bundle's transport.
    #[must_use]
    pub fn applies_to(&self, tagged_mid: &str) -> bool {
        self.for_transport(tagged_mid).any(|section| {
            section.mid.is_some()
                || section.ufrag.is_some()
                || section.end_of_candidates
                || !section.candidates.is_empty()
        })
    }

    fn for_transport(&self, tagged_mid: &str) -> impl Iterator<Item = &FragmentSection> {
        self.sections.iter().filter(move |section| {
            section
                .mid
                .as_deref()
                .is_none_or(|section_mid| section_mid == tagged_mid)
        })
    }

    /// Takes one attribute in; true if it is one of those that make a text a fragment.
    fn attribute(&mut self, name: &str, value: &str, limits: &Limits) -> Result<bool, Malformed> {
        let is_session = self.sections.len() == 1;
        let place = || Place::Session;
        let Some(section) = self.sections.last_mut() else {
            return Ok(false);
        };
        match name {
            "mid" if !is_session => section.mid = Some(text::mid(value, place)?),
            "ice-ufrag" => section.ufrag = Some(text::ice_ufrag(value, place)?),
            "ice-pwd" => section.pwd = Some(text::ice_pwd(value, place)?),
            "candidate" => {
                if let CandidateLine::Usable(candidate) = Candidate::parse(value)
                    && candidate.component == 1
                    && !section.candidates.contains(&candidate)
                {
                    section.candidates.push(candidate);
                }
            }
            "end-of-candidates" => section.end_of_candidates = true,
            "ice-options" => {
                self.options
                    .get_or_insert_default()
                    .merge(IceOptions::parse(value));
                return Ok(false);
            }
            "ice-lite" => {
                self.lite = true;
                return Ok(false);
            }
            "ice-pacing" => {
                self.pacing_ms = value.parse().ok();
                return Ok(false);
            }
            "group" => {
                self.group(value, limits)?;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn group(&mut self, value: &str, limits: &Limits) -> Result<(), Malformed> {
        let mut words = value.split_ascii_whitespace();
        if words.next() != Some("BUNDLE") || !self.bundle.is_empty() {
            return Ok(());
        }
        for word in words {
            if self.bundle.len() == limits.section_count_max {
                return Err(too_many(
                    "mids in the BUNDLE group",
                    limits.section_count_max,
                ));
            }
            self.bundle.push(text::mid(word, || Place::Session)?);
        }
        Ok(())
    }

    /// The rules that span several lines.
    fn check(&self) -> Result<(), Malformed> {
        let mut mids = BTreeSet::new();
        for section in &self.sections {
            if let Some(mid) = &section.mid
                && !mids.insert(mid)
            {
                // RFC 5888 §4: the identification tag is unique in its description.
                return Err(Malformed::session("two m-sections have the same a=mid"));
            }
        }
        let session = self.sections.first();
        // The session level may hold one word and the sections the other.
        let media_start = usize::from(self.sections.len() > 1);
        for section in self.sections.iter().skip(media_start) {
            let ufrag = section.ufrag.is_some() || session.is_some_and(|s| s.ufrag.is_some());
            let pwd = section.pwd.is_some() || session.is_some_and(|s| s.pwd.is_some());
            // RFC 8839 §5.4: the two come together.
            if ufrag != pwd {
                return Err(Malformed::session(
                    "a=ice-ufrag and a=ice-pwd are only of use together",
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FragmentSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentSection")
            .field("mid", &self.mid)
            .field("candidate_count", &self.candidates.len())
            .field("end_of_candidates", &self.end_of_candidates)
            .finish_non_exhaustive()
    }
}

/// Renders the body of the 200 that answers an ICE restart.
///
/// Shape: lines end in CR LF; one section, that of `tagged_mid`, with all candidates. `local` has
/// the new credentials; what it says about lite and options must be what the answer said.
///
/// Source: RFC 9725 §4.3.3, RFC 8840 §9 (the m-line stands for nothing but a place).
#[must_use]
pub fn render_fragment(tagged_mid: &str, local: &Local) -> String {
    let mut out = Lines {
        text: String::with_capacity(512),
    };
    out.ice_abilities(local);
    out.line("m=audio 9 RTP/AVP 0");
    out.line(format_args!("a=mid:{tagged_mid}"));
    out.credentials(local);
    out.candidates(local);
    out.text
}
