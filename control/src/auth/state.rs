//! What the guard knows at one moment. A change makes another one.

use std::collections::HashSet;
use std::sync::Arc;

use whitewater_model::Authority;

use super::jwt::Unverified;
use super::key::Key;
use super::revocations::Revocations;
use super::tag::{Kind, Tag, Tagger};
use super::tokens::Token;

#[derive(Clone, Default)]
pub(super) struct State {
    /// Of the configuration.
    own_tokens: Arc<Vec<Token>>,
    /// Of the file.
    pub(super) file_tokens: Arc<Vec<Token>>,
    secret: Option<Arc<Key>>,
    /// Of each key file.
    pub(super) files: Vec<Arc<Vec<Key>>>,
    /// From the URL; `None`: nothing came yet.
    pub(super) fetched: Option<Arc<Vec<Key>>>,
    pub(super) revoked: Arc<Revocations>,
    /// The tags of all tokens and keys.
    roots: Arc<HashSet<u128>>,
}

impl State {
    /// With what the configuration says, and files not read yet.
    pub(super) fn new(tokens: Vec<Token>, secret: Option<Key>, file_count: usize) -> Self {
        State {
            own_tokens: Arc::new(tokens),
            secret: secret.map(Arc::new),
            files: vec![Arc::default(); file_count],
            ..State::default()
        }
    }

    /// The written token that this is the tag of.
    pub(super) fn token(&self, tag: &Tag) -> Option<&Token> {
        let tokens = self.own_tokens.iter().chain(self.file_tokens.iter());
        // All are compared, each in constant time, so that how long it takes tells nothing.
        tokens.fold(None, |known, token| {
            if token.tag.is(tag) {
                Some(token)
            } else {
                known
            }
        })
    }

    /// The key that made this token.
    pub(super) fn signer(&self, token: &Unverified<'_>) -> Option<&Key> {
        self.keys().find(|key| token.is_signed_by(key))
    }

    /// Whether a key is called so. Keys without a name are called anything, but not by name.
    pub(super) fn has_key_called(&self, id: &str) -> bool {
        self.keys().any(|key| key.has_id(id))
    }

    pub(super) fn key_count(&self) -> usize {
        self.keys().count()
    }

    /// Whether what came of this still holds, apart from its end.
    pub(super) fn stands(&self, authority: &Authority, unix_s: u64) -> bool {
        let is_revoked = |name: &u128| self.revoked.covers(*name, unix_s);
        self.roots.contains(&authority.root) && !authority.names.iter().any(is_revoked)
    }

    /// To be called after a change of tokens or keys.
    pub(super) fn count_roots(&mut self, tagger: &Tagger) {
        let tokens = self.own_tokens.iter().chain(self.file_tokens.iter());
        let tokens = tokens.map(|token| token.tag.number());
        let keys = self.keys().map(|key| key_root(tagger, key));
        self.roots = Arc::new(tokens.chain(keys).collect());
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let files = self.files.iter().flat_map(|keys| keys.iter());
        let fetched = self.fetched.iter().flat_map(|keys| keys.iter());
        self.secret
            .as_deref()
            .into_iter()
            .chain(files)
            .chain(fetched)
    }
}

pub(super) fn key_root(tagger: &Tagger, key: &Key) -> u128 {
    tagger.tag(Kind::Key, key.print).number()
}
