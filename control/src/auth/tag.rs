//! Secrets and names as numbers that tell nothing about them.

use std::io;

use aws_lc_rs::hmac;
use whitewater_model::Principal;

/// Makes them, with a key of this process.
pub(super) struct Tagger {
    key: hmac::Key,
}

/// What a tag is made of, so that a subject never equals a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Token = 0,
    Jwt = 1,
    Subject = 2,
    Key = 3,
    /// What tokens are revoked by.
    TokenId = 4,
    SubjectName = 5,
    SessionId = 6,
}

/// Compared in constant time, see [`Tag::is`].
#[derive(Clone, Copy)]
pub(super) struct Tag([u8; 16]);

impl Tagger {
    /// # Errors
    /// When the kernel has no random bits.
    pub(super) fn new() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Tagger {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        })
    }

    pub(super) fn tag(&self, kind: Kind, text: impl AsRef<[u8]>) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[kind as u8]);
        context.update(text.as_ref());
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Tag(short)
    }
}

impl Tag {
    /// Whether they are the same, in a time that tells nothing about either.
    pub(super) fn is(&self, other: &Tag) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    pub(super) fn number(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    pub(super) fn principal(&self) -> Principal {
        Principal::Bearer(self.number())
    }
}
