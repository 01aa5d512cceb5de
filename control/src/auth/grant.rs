use std::time::Instant;

use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use whitewater_model::{Principal, Side, StreamName};

use super::INSUFFICIENT_SCOPE;
use crate::http::problem::Problem;

/// What a request may do, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) principal: Principal,
    /// The one stream it is about; `None` for all.
    stream: Option<String>,
    rights: Rights,
    /// When it ends, and with it what was begun under it.
    pub(crate) until: Option<Instant>,
}

/// Things that may be done with a stream, as bits of the JSON Web Token's `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    pub(crate) const ADMIN: Rights = Rights(1);
    pub(crate) const PUBLISH: Rights = Rights(2);
    pub(crate) const SUBSCRIBE: Rights = Rights(4);
    /// Whichever.
    pub(crate) const ANY: Rights = Rights(7);

    fn meets(self, wanted: Rights) -> bool {
        self.0 & wanted.0 != 0
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
            rights: Rights(0),
            until: None,
        }
    }

    pub(super) fn everything(principal: Principal) -> Self {
        Grant {
            principal,
            stream: None,
            rights: Rights::ANY,
            until: None,
        }
    }

    /// `stream` as tokens name it: `*` is all.
    pub(super) fn scoped(
        principal: Principal,
        stream: String,
        mode: u8,
        until: Option<Instant>,
    ) -> Self {
        Grant {
            principal,
            stream: (stream != "*").then_some(stream),
            rights: Rights(mode),
            until,
        }
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
