use std::ops::BitOr;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use whitewater_model::{Authority, Principal, Side, StreamName};

use super::INSUFFICIENT_SCOPE;
use crate::http::problem::Problem;

/// What a request may do, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) principal: Principal,
    /// The one stream it is about; `None` for all.
    stream: Option<String>,
    rights: Rights,
    /// With it ends what was begun; `None` where nobody is asked.
    pub(crate) authority: Option<Authority>,
}

/// Things that may be done with a stream, as bits of the JSON Web Token's `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    pub(crate) const NONE: Rights = Rights(0);
    pub(crate) const ADMIN: Rights = Rights(1);
    pub(crate) const PUBLISH: Rights = Rights(2);
    pub(crate) const SUBSCRIBE: Rights = Rights(4);
    /// All of them; as a wish, whichever.
    pub(crate) const ANY: Rights = Rights(7);

    /// From the word that stands for it in files.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "all" => Some(Rights::ANY),
            "manage" => Some(Rights::ADMIN),
            "publish" => Some(Rights::PUBLISH),
            "watch" => Some(Rights::SUBSCRIBE),
            _ => None,
        }
    }

    /// From a token's `mode`; other bits mean nothing.
    pub(super) fn from_bits(bits: u8) -> Self {
        Rights(bits & Rights::ANY.0)
    }

    #[cfg(test)]
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    fn meets(self, wanted: Rights) -> bool {
        self.0 & wanted.0 != 0
    }
}

impl BitOr for Rights {
    type Output = Rights;

    fn bitor(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
}

impl From<Side> for Rights {
    fn from(side: Side) -> Self {
        match side {
            Side::Publish => Rights::PUBLISH,
            Side::Subscribe => Rights::SUBSCRIBE,
        }
    }
}

impl Grant {
    /// Nobody's, for nothing.
    pub(crate) fn nothing() -> Self {
        Grant {
            principal: Principal::Anonymous,
            stream: None,
            rights: Rights::NONE,
            authority: None,
        }
    }

    /// Everybody's, where nobody is asked.
    pub(super) fn everything() -> Self {
        Grant {
            rights: Rights::ANY,
            ..Grant::nothing()
        }
    }

    /// `stream` as tokens name it: `*` is all.
    pub(super) fn scoped(
        principal: Principal,
        stream: String,
        rights: Rights,
        authority: Authority,
    ) -> Self {
        Grant {
            principal,
            stream: (stream != "*").then_some(stream),
            rights,
            authority: Some(authority),
        }
    }

    /// When it ends by itself.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.authority.as_ref()?.until
    }

    /// Checks that it gives one of the rights `wanted` on a stream.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn on(&self, stream: &StreamName, wanted: Rights) -> Result<(), Problem> {
        let covered = self
            .stream
            .as_ref()
            .is_none_or(|own| own == stream.as_str());
        self.check(covered && self.rights.meets(wanted))
    }

    /// Checks that it gives one of the rights `wanted` on all streams.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn on_all(&self, wanted: Rights) -> Result<(), Problem> {
        self.check(self.stream.is_none() && self.rights.meets(wanted))
    }

    fn check(&self, allowed: bool) -> Result<(), Problem> {
        if allowed {
            return Ok(());
        }
        Err(
            Problem::new(StatusCode::FORBIDDEN, "the token does not allow this")
                .with(WWW_AUTHENTICATE, INSUFFICIENT_SCOPE),
        )
    }
}
