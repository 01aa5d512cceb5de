//! What was taken back before its time: tokens by their id, subjects, and subjects' sessions with
//! their issuer.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::tag::{Kind, Tagger};

/// What is revoked: every token that has this claim with this value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    /// One token (RFC 7519 §4.1.7).
    Jti(String),
    /// All tokens about a subject (RFC 7519 §4.1.2).
    Sub(String),
    /// All tokens of a subject's session with its issuer (OpenID Connect Front-Channel Logout 1.0
    /// §3).
    Sid(String),
}

/// A revocation as it is asked for, kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    /// Seconds since 1970; absent: until it is taken back itself.
    #[serde(
        default,
        deserialize_with = "crate::http::body::whole",
        skip_serializing_if = "Option::is_none"
    )]
    until: Option<u64>,
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Revocation {
    name: Name,
    /// Seconds since 1970.
    until: Option<u64>,
}

/// A revocation with what it is called in URLs.
#[derive(Serialize)]
pub(crate) struct Shown {
    id: String,
    #[serde(flatten)]
    written: Written,
}

/// All that are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocations {
    by_id: BTreeMap<u128, Revocation>,
    /// Until when each tag is revoked.
    by_tag: HashMap<u128, Option<u64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    revocations: Vec<Written>,
}

/// There are as many as are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Shown {
    /// 32 hex digits.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Name {
    fn kind(&self) -> Kind {
        match self {
            Name::Jti(_) => Kind::TokenId,
            Name::Sub(_) => Kind::SubjectName,
            Name::Sid(_) => Kind::SessionId,
        }
    }

    fn text(&self) -> &str {
        match self {
            Name::Jti(text) | Name::Sub(text) | Name::Sid(text) => text,
        }
    }
}

impl TryFrom<Written> for Revocation {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let name = match (written.jti, written.sub, written.sid) {
            (Some(jti), None, None) => Name::Jti(jti),
            (None, Some(sub), None) => Name::Sub(sub),
            (None, None, Some(sid)) => Name::Sid(sid),
            _ => return Err("a revocation has one of jti, sub and sid"),
        };
        if name.text().is_empty() || name.text().len() > NAME_SIZE_MAX {
            return Err("jti, sub and sid have 1 to 1024 bytes");
        }
        Ok(Revocation {
            name,
            until: written.until,
        })
    }
}

impl Revocation {
    /// The same for the same name, in every process.
    pub(super) fn id(&self) -> u128 {
        let kind = [self.name.kind() as u8];
        let hash = digest::digest(
            &digest::SHA256,
            &[&kind, self.name.text().as_bytes()].concat(),
        );
        let leading = hash.as_ref().iter().take(16);
        leading.fold(0, |id, byte| id << 8 | u128::from(*byte))
    }

    pub(super) fn shown(&self) -> Shown {
        Shown {
            id: format!("{:032x}", self.id()),
            written: self.written(),
        }
    }

    pub(super) fn is_over(&self, unix_s: u64) -> bool {
        self.until.is_some_and(|until| until <= unix_s)
    }

    fn written(&self) -> Written {
        let mut written = Written {
            jti: None,
            sub: None,
            sid: None,
            until: self.until,
        };
        let text = Some(self.name.text().to_owned());
        match &self.name {
            Name::Jti(_) => written.jti = text,
            Name::Sub(_) => written.sub = text,
            Name::Sid(_) => written.sid = text,
        }
        written
    }
}

impl Revocations {
    /// Reads what [`render`](Self::render) writes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(tagger: &Tagger, text: &[u8]) -> Result<Self, String> {
        let file: File =
            serde_json::from_slice(text).map_err(|error| format!("it is broken: {error}"))?;
        let mut all = Revocations::default();
        for written in file.revocations {
            let revocation = Revocation::try_from(written)?;
            all.insert(tagger, revocation)
                .map_err(|Full| "it has more than 10000 revocations".to_owned())?;
        }
        Ok(all)
    }

    pub(super) fn render(&self) -> String {
        let file = File {
            revocations: self.by_id.values().map(Revocation::written).collect(),
        };
        // Strings and numbers always serialise.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    /// Adds one, or gives one that is there its new end.
    ///
    /// # Errors
    /// `Full`.
    pub(super) fn insert(&mut self, tagger: &Tagger, revocation: Revocation) -> Result<(), Full> {
        let id = revocation.id();
        if self.by_id.len() >= REVOCATIONS_MAX && !self.by_id.contains_key(&id) {
            return Err(Full);
        }
        let name = &revocation.name;
        let tag = tagger.tag(name.kind(), name.text());
        self.by_tag.insert(tag.number(), revocation.until);
        self.by_id.insert(id, revocation);
        Ok(())
    }

    /// False when there is none of this id.
    pub(super) fn remove(&mut self, tagger: &Tagger, id: u128) -> bool {
        let Some(gone) = self.by_id.remove(&id) else {
            return false;
        };
        let tag = tagger.tag(gone.name.kind(), gone.name.text());
        self.by_tag.remove(&tag.number());
        true
    }

    /// Forgets those whose time is over; false when there were none.
    pub(super) fn expire(&mut self, tagger: &Tagger, unix_s: u64) -> bool {
        let over = self.by_id.iter();
        let over: Vec<u128> = over
            .filter(|(_, revocation)| revocation.is_over(unix_s))
            .map(|(id, _)| *id)
            .collect();
        for id in &over {
            self.remove(tagger, *id);
        }
        !over.is_empty()
    }

    pub(super) fn has_expired(&self, unix_s: u64) -> bool {
        self.by_id
            .values()
            .any(|revocation| revocation.is_over(unix_s))
    }

    /// Whether something with this tag is revoked.
    pub(super) fn covers(&self, tag: u128, unix_s: u64) -> bool {
        let until = self.by_tag.get(&tag);
        until.is_some_and(|until| until.is_none_or(|until| unix_s < until))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        self.by_id.values().map(Revocation::shown).collect()
    }
}

/// Two megabytes, mostly names.
const REVOCATIONS_MAX: usize = 10_000;
const NAME_SIZE_MAX: usize = 1024;
