use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hyper::header::HeaderMap;
use tokio::sync::{Notify, watch};
use whitewater_model::{Authority, Now};

use super::grant::{Grant, Rights};
use super::jwt::{Claims, Refusal, Rules, Unverified};
use super::key::{Key, Keys};
use super::revocations::{Full, Revocation, Revocations, Shown};
use super::state::{State, key_root};
use super::tag::{Kind, Tagger};
use super::tokens::Token;
use super::{CHALLENGE, URL_KEY, ambiguous, bearer, invalid, unauthenticated};
use crate::Auth;
use crate::context::Context;
use crate::http::path;
use crate::http::problem::Problem;

/// Checks credentials.
pub(crate) struct Guard {
    tagger: Tagger,
    rules: Rules,
    asks: bool,
    takes_jwt: bool,
    token_in_url: bool,
    fetches: bool,
    /// Those that succeeded and those that did not.
    fetch_counts: [AtomicU64; 2],
    state: RwLock<Arc<State>>,
    /// Told of each change of the state.
    changes: watch::Sender<()>,
    /// Told when a token names a key nobody knows.
    pub(super) wants_keys: Notify,
    /// One at a time changes revocations and the file they are kept in.
    pub(super) revocations_file: tokio::sync::Mutex<Option<PathBuf>>,
}

/// What a file of ours holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Tokens,
    /// The number of the key file.
    Keys(usize),
    Revocations,
}

impl Guard {
    /// One that knows what the configuration itself says; files are still to be read.
    ///
    /// # Errors
    /// When the kernel has no random bits.
    pub(crate) fn new(config: &Auth) -> io::Result<Self> {
        let tagger = Tagger::new()?;
        let mut tokens = Vec::new();
        for (list, rights) in [
            (&config.tokens, Rights::ANY),
            (&config.publish_tokens, Rights::PUBLISH),
            (&config.watch_tokens, Rights::SUBSCRIBE),
        ] {
            Token::collect(&mut tokens, &tagger, list, rights);
        }
        let secret = (!config.secret.is_empty()).then(|| Key::secret(&config.secret));
        let mut state = State::new(tokens, secret, config.key_files.len());
        state.count_roots(&tagger);
        Ok(Guard {
            tagger,
            rules: Rules {
                issuers: config.issuers.clone(),
                audiences: config.audiences.clone(),
                leeway: config.leeway,
            },
            asks: config.asks(),
            takes_jwt: config.takes_jwt(),
            token_in_url: config.token_in_url,
            fetches: config.jwks_url.is_some(),
            fetch_counts: Default::default(),
            state: RwLock::new(Arc::new(state)),
            changes: watch::Sender::new(()),
            wants_keys: Notify::new(),
            revocations_file: tokio::sync::Mutex::new(config.revocations_file.clone()),
        })
    }

    /// What the credentials of a request allow.
    ///
    /// # Errors
    /// 401 without valid ones, 400 with more than one; both name the scheme that is asked for
    /// (RFC 6750 §3).
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        query: &str,
        now: Now,
    ) -> Result<Grant, Problem> {
        if !self.asks {
            return Ok(Grant::everything());
        }
        match (bearer::read(headers)?, self.url_token(query)?) {
            // RFC 6750 §2: one method of sending it per request.
            (Some(_), Some(_)) => Err(ambiguous()),
            (Some(token), None) => self.judge(token, now),
            (None, Some(token)) => self.judge(&token, now),
            (None, None) => Err(unauthenticated("this needs a bearer token", CHALLENGE)),
        }
    }

    /// Checks that nothing a request was let in by was taken back since.
    ///
    /// # Errors
    /// 401.
    pub(crate) fn check(&self, grant: &Grant, now: Now) -> Result<(), Problem> {
        if self.stands(grant.authority.as_ref(), now) {
            Ok(())
        } else {
            Err(invalid(REVOKED))
        }
    }

    /// Whether this was not taken back; how long it lasts is not asked.
    pub(crate) fn stands(&self, authority: Option<&Authority>, now: Now) -> bool {
        authority.is_none_or(|authority| self.state().stands(authority, unix_s(now)))
    }

    /// Wakes up at every change of what is known.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Ends the sessions of those who would not be let in any more, and says how many these were.
    pub(crate) fn sweep(&self, context: &Context) -> usize {
        let ended = context.act(|registry, now| {
            let state = self.state();
            let stands = |authority: &Authority| state.stands(authority, unix_s(now));
            registry.end_unless(stands, now)
        });
        if ended > 0 {
            tracing::info!(count = ended, "sessions ended: their tokens hold no longer");
        }
        ended
    }

    /// Whether keys are to come by URL and none came yet.
    pub(crate) fn waits_for_keys(&self) -> bool {
        self.fetches && self.state().fetched.is_none()
    }

    /// Keys and revocations.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.key_count(), state.revoked.len())
    }

    /// Takes in what a file holds now.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub(super) fn take(&self, content: Content, text: &[u8]) -> Result<(), String> {
        match content {
            Content::Tokens => {
                let tokens = Token::parse(&self.tagger, text)?;
                tracing::info!(count = tokens.len(), "tokens read");
                self.change(|state| state.file_tokens = Arc::new(tokens));
            }
            Content::Keys(index) => {
                let keys = Keys::parse(text).map_err(|why| why.to_string())?;
                keys.check()?;
                note("keys of tokens read", &keys);
                self.change(|state| {
                    if let Some(slot) = state.files.get_mut(index) {
                        *slot = Arc::new(keys.usable);
                    }
                });
            }
            Content::Revocations => {
                let revoked = Revocations::parse(&self.tagger, text)?;
                tracing::info!(count = revoked.len(), "revocations read");
                self.change(|state| state.revoked = Arc::new(revoked));
            }
        }
        Ok(())
    }

    /// Takes in what was fetched.
    pub(super) fn take_fetched(&self, keys: Keys) {
        let current = self.state().fetched.clone();
        // Mostly they are as before.
        let same = |current: &Arc<Vec<Key>>| {
            let names = current.iter().map(Key::name);
            names.eq(keys.usable.iter().map(Key::name))
        };
        if !current.as_ref().is_some_and(same) {
            note("keys of tokens fetched", &keys);
            self.change(|state| state.fetched = Some(Arc::new(keys.usable)));
        }
    }

    pub(super) fn count_fetch(&self, succeeded: bool) {
        let [succeeded_count, failed_count] = &self.fetch_counts;
        let counter = if succeeded {
            succeeded_count
        } else {
            failed_count
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Fetches that brought keys, and those that did not.
    pub(crate) fn fetch_counts(&self) -> [u64; 2] {
        let [succeeded, failed] = &self.fetch_counts;
        [
            succeeded.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed),
        ]
    }

    pub(super) fn revoke(&self, revocation: Revocation) -> Result<(), Full> {
        self.change_revocations(|all, tagger| all.insert(tagger, revocation))
    }

    /// False when there is none of this id.
    pub(super) fn take_back(&self, id: u128) -> bool {
        self.change_revocations(|all, tagger| all.remove(tagger, id))
    }

    /// Forgets revocations whose time is over; false when there were none.
    pub(super) fn expire(&self, now: Now) -> bool {
        // Most of the time there is nothing to change.
        self.state().revoked.has_expired(unix_s(now))
            && self.change_revocations(|all, tagger| all.expire(tagger, unix_s(now)))
    }

    pub(super) fn revocations(&self) -> Vec<Shown> {
        self.state().revoked.shown()
    }

    /// What the file of revocations should hold.
    pub(super) fn render_revocations(&self) -> String {
        self.state().revoked.render()
    }

    fn change_revocations<T>(&self, change: impl FnOnce(&mut Revocations, &Tagger) -> T) -> T {
        self.change(|state| {
            let mut all = Revocations::clone(&state.revoked);
            let outcome = change(&mut all, &self.tagger);
            state.revoked = Arc::new(all);
            outcome
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut slot = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&slot);
        let outcome = change(&mut state);
        state.count_roots(&self.tagger);
        *slot = Arc::new(state);
        drop(slot);
        self.changes.send_replace(());
        outcome
    }

    fn state(&self) -> Arc<State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    fn url_token(&self, query: &str) -> Result<Option<String>, Problem> {
        if !self.token_in_url {
            return Ok(None);
        }
        let mut tokens = path::query_values(query, URL_KEY)?;
        if tokens.len() > 1 {
            return Err(ambiguous());
        }
        Ok(tokens.pop())
    }

    fn judge(&self, text: &str, now: Now) -> Result<Grant, Problem> {
        if text.len() > TOKEN_SIZE_MAX {
            return Err(invalid(NOT_VALID));
        }
        let state = self.state();
        let tag = self.tagger.tag(Kind::Token, text);
        if let Some(token) = state.token(&tag) {
            let authority = Authority {
                until: None,
                root: tag.number(),
                names: Vec::new(),
            };
            let stream = token.stream.clone();
            return Ok(Grant::scoped(
                tag.principal(),
                stream,
                token.rights,
                authority,
            ));
        }
        if !self.takes_jwt {
            return Err(invalid(NOT_VALID));
        }
        let (claims, root) = self.verify(&state, text, now).map_err(|refusal| {
            invalid(match refusal {
                Refusal::Invalid => NOT_VALID,
                Refusal::Expired => "the token has expired",
                Refusal::TooEarly => "the token is not valid yet",
                Refusal::Issuer => "the token is from an issuer that is not accepted here",
                Refusal::Audience => "the token is not meant for this server",
            })
        })?;
        let grant = self.grant(text, claims, root, now);
        if grant
            .authority
            .as_ref()
            .is_some_and(|own| !state.stands(own, unix_s(now)))
        {
            return Err(invalid(REVOKED));
        }
        Ok(grant)
    }

    fn verify(&self, state: &State, text: &str, now: Now) -> Result<(Claims, u128), Refusal> {
        let token = Unverified::parse(text)?;
        let Some(key) = state.signer(&token) else {
            // The issuer may have made a new one.
            if self.fetches && token.key_id().is_some_and(|id| !state.has_key_called(id)) {
                self.wants_keys.notify_one();
            }
            return Err(Refusal::Invalid);
        };
        let claims = token.claims(&self.rules, now.unix_ms)?;
        Ok((claims, key_root(&self.tagger, key)))
    }

    fn grant(&self, text: &str, claims: Claims, root: u128, now: Now) -> Grant {
        // RFC 7519 §4.1.2: the subject is who the token is about, whichever token it is, and one
        // issuer's is not another's. Without one every token is a principal of its own.
        let own = match &claims.subject {
            Some(subject) => {
                let issuer = claims.issuer.as_deref().unwrap_or_default();
                let whole = format!("{}:{issuer}{subject}", issuer.len());
                self.tagger.tag(Kind::Subject, whole)
            }
            None => self.tagger.tag(Kind::Jwt, text),
        };
        let names = [
            (Kind::TokenId, claims.token_id),
            (Kind::SubjectName, claims.subject),
            (Kind::SessionId, claims.session_id),
        ];
        let names = names.into_iter().filter_map(|(kind, name)| {
            let name = name?;
            Some(self.tagger.tag(kind, name).number())
        });
        let authority = Authority {
            until: now.mono.checked_add(claims.lifetime),
            root,
            names: names.collect(),
        };
        let rights = Rights::from_bits(claims.mode);
        Grant::scoped(own.principal(), claims.id, rights, authority)
    }
}

fn note(what: &'static str, keys: &Keys) {
    tracing::info!(count = keys.usable.len(), "{what}");
    for why in &keys.unusable {
        tracing::warn!(%why, "a key of tokens is left out");
    }
}

fn unix_s(now: Now) -> u64 {
    now.unix_ms / 1000
}

/// Nothing is hashed that is longer.
const TOKEN_SIZE_MAX: usize = 8 * 1024;

const NOT_VALID: &str = "the token is not valid";
const REVOKED: &str = "the token was revoked";
