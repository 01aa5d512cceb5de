//! etcd by the JSON that it serves beside gRPC, with the same client as everything else here:
//! etcd's own protocol would bring a second HTTP stack and a compiler for its descriptions along.
//!
//! Source: etcd 3.4 and later, documentation "gRPC gateway", prefix `/v3`; numbers of 64 bits are
//! texts there, bytes are in base64.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::super::config::EtcdAccess;
use super::super::courier::{CallError, Courier};
use super::{Answer, CHANGES_MAX, Change, Entry, Lease, Store, StoreError, Swap, Version};

/// A cluster of etcd.
#[derive(Clone)]
pub(crate) struct Etcd {
    courier: Courier,
    /// Without a slash at the end.
    endpoints: Vec<String>,
    /// The one that answered last.
    at: Arc<AtomicUsize>,
    /// In front of every key.
    prefix: String,
    login: Option<Arc<Login>>,
}

/// Who asks, where etcd wants to know.
struct Login {
    username: String,
    password: String,
    /// What it gave for that. It ends after five minutes without use, and with etcd.
    token: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    revision: u64,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number")]
    mod_revision: u64,
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Txn {
    header: Header,
    #[serde(default)]
    succeeded: bool,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "ID", deserialize_with = "number")]
    id: u64,
}

#[derive(Deserialize)]
struct Kept {
    result: KeptResult,
}

#[derive(Deserialize)]
struct KeptResult {
    #[serde(default, rename = "TTL", deserialize_with = "number")]
    ttl: u64,
}

#[derive(Deserialize)]
struct Watched {
    result: Option<WatchResult>,
}

#[derive(Deserialize)]
struct WatchResult {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    r#type: String,
    kv: Pair,
}

impl Etcd {
    /// One at these addresses, `http://` or `https://`; all keys start with `prefix`.
    pub(crate) fn new(courier: Courier, access: &EtcdAccess, prefix: &str) -> Self {
        let endpoints = access.urls.iter().map(|url| url.trim_end_matches('/'));
        let login = || Login {
            username: access.username.clone(),
            password: access.password.clone(),
            token: Mutex::default(),
        };
        Etcd {
            courier,
            endpoints: endpoints.map(str::to_owned).collect(),
            at: Default::default(),
            prefix: prefix.to_owned(),
            login: (!access.username.is_empty()).then(|| Arc::new(login())),
        }
    }

    fn full(&self, key: &str) -> String {
        encode(format!("{}{key}", self.prefix).as_bytes())
    }

    fn entry(&self, pair: &Pair) -> Option<Entry> {
        Some(Entry {
            key: self.own_key(pair)?,
            value: decode(&pair.value)?.into(),
            version: pair.mod_revision,
        })
    }

    fn own_key(&self, pair: &Pair) -> Option<String> {
        let key = String::from_utf8(decode(&pair.key)?).ok()?;
        key.strip_prefix(&self.prefix).map(str::to_owned)
    }

    /// Asks the endpoint that answered last, then the others.
    async fn ask(&self, path: &str, body: &Value) -> Result<Bytes, StoreError> {
        let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
        let mut last = StoreError("no etcd endpoint".to_owned());
        for _ in 0..self.endpoints.len() {
            match self.ask_one(path, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Refused::Here(error) | Refused::Stranger(error)) => return Err(error),
                Err(Refused::Elsewhere(error)) => {
                    last = error;
                    self.at.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Err(last)
    }

    /// Asks one endpoint, a second time if it does not know the token any more.
    async fn ask_one(&self, path: &str, body: Bytes) -> Result<Bytes, Refused> {
        let had_token = self.log_in().await?;
        match self.ask_once(path, body.clone()).await {
            Err(Refused::Stranger(_)) if had_token => {
                self.forget_token();
                self.log_in().await?;
                self.ask_once(path, body).await
            }
            other => other,
        }
    }

    /// Gets a token where one is needed. True if there was one already.
    async fn log_in(&self) -> Result<bool, Refused> {
        let Some(login) = &self.login else {
            return Ok(false);
        };
        if login.token().is_some() {
            return Ok(true);
        }
        let body = json!({ "name": login.username, "password": login.password });
        let body = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());
        let answer = match self.ask_once("auth/authenticate", body).await {
            // etcd's answer to a wrong password; its text has the name in it.
            Err(Refused::Stranger(_) | Refused::Here(_)) => {
                let why = "etcd does not take cluster.etcd_username and cluster.etcd_password";
                return Err(Refused::Here(StoreError(why.to_owned())));
            }
            answer => answer?,
        };
        let given: Authenticated = read(&answer).map_err(Refused::Here)?;
        let token = HeaderValue::from_str(&given.token);
        let mut token =
            token.map_err(|_| Refused::Here(StoreError("etcd's token is none".to_owned())))?;
        token.set_sensitive(true);
        login.set(Some(token));
        Ok(false)
    }

    #[cfg(test)]
    pub(super) fn token(&self) -> Option<HeaderValue> {
        self.login.as_ref().and_then(|login| login.token())
    }

    fn forget_token(&self) {
        if let Some(login) = &self.login {
            login.set(None);
        }
    }

    async fn ask_once(&self, path: &str, body: Bytes) -> Result<Bytes, Refused> {
        let elsewhere = |error: CallError| Refused::Elsewhere(StoreError(error.to_string()));
        let (url, headers) = self.address(path).map_err(Refused::Here)?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let response = self
            .courier
            .exchange(Method::POST, &url, headers, body, ANSWER_SIZE_MAX, deadline)
            .await
            .map_err(elsewhere)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let error = StoreError(format!("etcd answers {status}"));
        match status {
            status if status.is_server_error() => Err(Refused::Elsewhere(error)),
            // 400 is etcd's word for a token that is older than its users are.
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => Err(Refused::Stranger(error)),
            _ => Err(Refused::Here(error)),
        }
    }

    fn address(&self, path: &str) -> Result<(Uri, HeaderMap), StoreError> {
        let at = self.at.load(Ordering::Relaxed) % self.endpoints.len().max(1);
        let base = self.endpoints.get(at).map_or("", String::as_str);
        let url = format!("{base}/v3/{path}").parse();
        let url = url.map_err(|_| StoreError("the etcd URL is none".to_owned()))?;
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        if let Some(token) = self.login.as_ref().and_then(|login| login.token()) {
            headers.insert(AUTHORIZATION, token);
        }
        Ok((url, headers))
    }

    async fn range(&self, key: String, end: Option<String>) -> Result<Range, StoreError> {
        let mut body = json!({ "key": key });
        if let Some(end) = end {
            body["range_end"] = end.into();
        }
        read(&self.ask("kv/range", &body).await?)
    }

    /// Starts to watch right after a revision.
    async fn follow(&self, prefix: &str, revision: u64) -> Result<Incoming, StoreError> {
        let body = json!({ "create_request": {
            "key": self.full(prefix),
            "range_end": self.end_of(prefix),
            "start_revision": (revision + 1).to_string(),
            "progress_notify": true,
        }});
        let body = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());
        let (url, headers) = self.address("watch")?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let response = self
            .courier
            .call(Method::POST, &url, headers, body, deadline)
            .await
            .map_err(|error| StoreError(error.to_string()))?;
        if !response.status().is_success() {
            return Err(StoreError(format!("etcd answers {}", response.status())));
        }
        Ok(response.into_body())
    }

    /// The first key after all that start so. Prefixes of ours end in ASCII.
    fn end_of(&self, prefix: &str) -> String {
        let mut end = format!("{}{prefix}", self.prefix).into_bytes();
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        encode(&end)
    }

    /// Hands on what is told, until it ends or nobody listens.
    async fn hear(self, mut body: Incoming, changes: mpsc::Sender<Change>) {
        let mut rest = BytesMut::new();
        loop {
            let frame = tokio::select! {
                frame = timeout(SILENCE_MAX, body.frame()) => frame,
                () = changes.closed() => return,
            };
            let Ok(Some(Ok(frame))) = frame else {
                return;
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            rest.extend_from_slice(data);
            while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(at + 1);
                if !self.tell(&line, &changes) {
                    return;
                }
            }
            if rest.len() > ANSWER_SIZE_MAX {
                return;
            }
        }
    }

    /// False when there is nothing more to be heard.
    fn tell(&self, line: &[u8], changes: &mpsc::Sender<Change>) -> bool {
        let Ok(Watched {
            result: Some(result),
        }) = serde_json::from_slice(line)
        else {
            return false;
        };
        for event in &result.events {
            let change = if event.r#type == "DELETE" {
                let version = event.kv.mod_revision;
                self.own_key(&event.kv)
                    .map(|key| Change::Gone { key, version })
            } else {
                self.entry(&event.kv).map(Change::Put)
            };
            if change.is_some_and(|change| changes.try_send(change).is_err()) {
                return false;
            }
        }
        !result.canceled
    }
}

enum Refused {
    /// Another endpoint may do better.
    Elsewhere(StoreError),
    /// It would not.
    Here(StoreError),
    /// It may be that the token is not known.
    Stranger(StoreError),
}

impl Login {
    fn token(&self) -> Option<HeaderValue> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    fn set(&self, token: Option<HeaderValue>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        async move {
            let range = self.range(self.full(key), None).await?;
            Ok(range.kvs.first().and_then(|pair| self.entry(pair)))
        }
        .boxed()
    }

    fn swap<'a>(
        &'a self,
        key: &'a str,
        expected: Version,
        value: Option<Bytes>,
        lease: Option<Lease>,
    ) -> Answer<'a, Swap> {
        async move {
            let key = self.full(key);
            let is_removal = value.is_none();
            let success = match value {
                Some(value) => json!({ "request_put": {
                    "key": key,
                    "value": encode(&value),
                    "lease": lease.map_or(0, |lease| lease.0).to_string(),
                }}),
                None => json!({ "request_delete_range": { "key": key } }),
            };
            let body = json!({
                // A key that is not there has the revision 0.
                "compare": [{
                    "key": key,
                    "target": "MOD",
                    "result": "EQUAL",
                    "mod_revision": expected.to_string(),
                }],
                "success": [success],
            });
            let txn: Txn = read(&self.ask("kv/txn", &body).await?)?;
            Ok(match (txn.succeeded, is_removal) {
                (false, _) => Swap::Conflict,
                (true, true) => Swap::Done(0),
                (true, false) => Swap::Done(txn.header.revision),
            })
        }
        .boxed()
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, Lease> {
        async move {
            let body = json!({ "TTL": ttl.as_secs().max(1).to_string(), "ID": "0" });
            let granted: Granted = read(&self.ask("lease/grant", &body).await?)?;
            Ok(Lease(granted.id))
        }
        .boxed()
    }

    fn keep(&self, lease: Lease) -> Answer<'_, bool> {
        async move {
            let body = json!({ "ID": lease.0.to_string() });
            let kept: Kept = read(&self.ask("lease/keepalive", &body).await?)?;
            Ok(kept.result.ttl > 0)
        }
        .boxed()
    }

    fn revoke(&self, lease: Lease) -> Answer<'_, ()> {
        async move {
            let body = json!({ "ID": lease.0.to_string() });
            self.ask("lease/revoke", &body).await.map(drop)
        }
        .boxed()
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<Entry>, mpsc::Receiver<Change>)> {
        async move {
            let range = self
                .range(self.full(prefix), Some(self.end_of(prefix)))
                .await?;
            let entries = range
                .kvs
                .iter()
                .filter_map(|pair| self.entry(pair))
                .collect();
            let body = self.follow(prefix, range.header.revision).await?;
            let (sender, receiver) = mpsc::channel(CHANGES_MAX);
            tokio::spawn(self.clone().hear(body, sender));
            Ok((entries, receiver))
        }
        .boxed()
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(answer).map_err(|_| StoreError("etcd's answer is broken".to_owned()))
}

/// A number, or a text with one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let parsed = match &value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    parsed.ok_or_else(|| serde::de::Error::custom("not a number"))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut room = vec![0; bytes.len().div_ceil(3) * 4];
    let text = Base64::encode(bytes, &mut room);
    text.unwrap_or_default().to_owned()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len()];
    let size = Base64::decode(text, &mut bytes).ok()?.len();
    bytes.truncate(size);
    Some(bytes)
}

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The records of 100 000 streams.
const ANSWER_SIZE_MAX: usize = 64 * 1024 * 1024;
/// etcd says every ten minutes that it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);
