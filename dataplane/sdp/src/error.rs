//! Why a text was refused, in words for whoever wrote the client.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Where in a text something was found.
///
/// Its `Display` names the section as people count: from one, with its kind and mid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first m-line, or the text as a whole.
    Session,
    /// In one media section.
    Section {
        /// The section's position, 0-based.
        index: usize,
        /// Its kind as the m-line says it: `audio`, `video`, `application` or `other`.
        kind: &'static str,
        /// Its mid, where one was read.
        mid: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session => f.write_str("session"),
            Self::Section { index, kind, mid } => {
                write!(f, "m-section {} ({kind}", index + 1)?;
                if let Some(mid) = mid {
                    write!(f, ", mid {mid}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// The text is not the SDP it claims to be: HTTP's 400.
///
/// Never echoes credentials, addresses or free text of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where the fault is.
    pub place: Place,
    /// The rule that was broken, as a sentence without its subject.
    pub rule: Cow<'static, str>,
}

impl Malformed {
    pub(crate) fn new(place: Place, rule: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place,
            rule: rule.into(),
        }
    }

    pub(crate) fn session(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::Session, rule)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

impl Error for Malformed {}

/// The text is sound but asks for something that cannot be done: HTTP's 422.
///
/// Never echoes credentials, addresses or free text of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Which section asks for it.
    pub place: Place,
    /// What is not possible, as a sentence.
    pub reason: Cow<'static, str>,
    /// True when the only fault is that no section shares a codec or kind with us, so that a
    /// counter-offer (406) could still succeed.
    pub nothing_in_common: bool,
}

impl Unsupported {
    pub(crate) fn new(place: Place, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place,
            reason: reason.into(),
            nothing_in_common: false,
        }
    }

    pub(crate) fn session(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::Session, reason)
    }

    pub(crate) fn nothing_in_common(place: Place, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            nothing_in_common: true,
            ..Self::new(place, reason)
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl Error for Unsupported {}

/// Either reason not to take a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not the SDP it claims to be: 400.
    Malformed(Malformed),
    /// Sound, but not possible here: 422.
    Unsupported(Unsupported),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(inner) => inner.fmt(f),
            Self::Unsupported(inner) => inner.fmt(f),
        }
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed(inner) => Some(inner),
            Self::Unsupported(inner) => Some(inner),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(inner: Malformed) -> Self {
        Self::Malformed(inner)
    }
}

impl From<Unsupported> for Refusal {
    fn from(inner: Unsupported) -> Self {
        Self::Unsupported(inner)
    }
}
