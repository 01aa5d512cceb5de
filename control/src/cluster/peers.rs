//! The nodes a manager knows, and what it has seen of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use whitewater_model::StreamName;
use whitewater_model::cluster::{Capacity, Cluster, Feed, NodeName, Sighting, Status};

use super::config::NodeEntry;
use super::json::{Cascade, Info, Stream};
use crate::http::path;

/// How to reach a node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) alias: NodeName,
    /// Without a slash at the end.
    pub(crate) url: String,
    pub(crate) authorization: Option<HeaderValue>,
    region: Option<String>,
    pub_max: Option<u32>,
    sub_max: Option<u32>,
}

impl Peer {
    /// `None` when the URL or the token cannot be used.
    pub(crate) fn new(entry: &NodeEntry) -> Option<Self> {
        let url = entry.url.trim_end_matches('/').to_owned();
        let parsed: Uri = url.parse().ok()?;
        let known = matches!(parsed.scheme_str(), Some("http" | "https"));
        let authority = parsed.authority().filter(|_| known)?;
        if authority.as_str().contains('@') || parsed.query().is_some() {
            return None;
        }
        let authorization = match entry.token.as_str() {
            "" => None,
            token => Some(bearer(token)?),
        };
        Some(Peer {
            alias: entry.alias.clone(),
            url,
            authorization,
            region: entry.region.clone(),
            pub_max: entry.pub_max,
            sub_max: entry.sub_max,
        })
    }

    /// The URL of one of its routes, which starts with a slash.
    pub(crate) fn at(&self, path: &str) -> Option<Uri> {
        format!("{}{path}", self.url).parse().ok()
    }

    /// The headers of the manager's own requests.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }

    fn same_way(&self, other: &Peer) -> bool {
        (&self.url, &self.authorization) == (&other.url, &other.authorization)
    }
}

/// A bearer token as a header that is not shown; `None` if it cannot be one.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a node said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) streams: Arc<Vec<Stream>>,
    /// How long it took to say it.
    pub(crate) took: Option<Duration>,
    pub(crate) strategy: Option<Value>,
    pub(crate) info: Info,
    stream_sub_max: Option<u32>,
    /// Sessions by which it gets streams from other nodes, there.
    far_sessions: Vec<String>,
    /// Sessions by which it brings streams to other nodes, there.
    pushed_sessions: Vec<String>,
    body: Bytes,
    failures: u32,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Peers {
    inner: Mutex<Inner>,
}

/// Behind the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) cluster: Cluster,
    peers: BTreeMap<NodeName, Arc<Peer>>,
    seen: HashMap<NodeName, Seen>,
    /// Streams whose publisher's node was lost, and when.
    orphans: HashMap<StreamName, Instant>,
}

impl Peers {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Peers {
            inner: Mutex::new(Inner {
                cluster,
                peers: BTreeMap::new(),
                seen: HashMap::new(),
                orphans: HashMap::new(),
            }),
        }
    }

    /// Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, alias: &NodeName) -> Option<Arc<Peer>> {
        self.lock().peers.get(alias).cloned()
    }
}

impl Inner {
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    pub(crate) fn seen(&self, alias: &NodeName) -> Option<&Seen> {
        self.seen.get(alias)
    }

    /// Makes a node known. True if it was not, or can be reached in another way now.
    pub(crate) fn add(&mut self, peer: Arc<Peer>) -> bool {
        let alias = peer.alias.clone();
        let before = self.peers.insert(alias.clone(), peer.clone());
        let is_new = before.is_none_or(|before| !before.same_way(&peer));
        if is_new {
            self.cluster.forget(&alias);
            self.seen.insert(alias.clone(), Seen::default());
        }
        self.describe(&alias);
        is_new
    }

    pub(crate) fn remove(&mut self, alias: &NodeName) {
        self.peers.remove(alias);
        self.seen.remove(alias);
        self.cluster.forget(alias);
    }

    /// What the configuration says of a node goes before what it says itself.
    fn describe(&mut self, alias: &NodeName) {
        let (Some(peer), Some(seen)) = (self.peers.get(alias), self.seen.get(alias)) else {
            return;
        };
        let usual = Capacity::default();
        let capacity = Capacity {
            pub_max: peer.pub_max.or(seen.info.pub_max).unwrap_or(usual.pub_max),
            sub_max: peer.sub_max.or(seen.info.sub_max).unwrap_or(usual.sub_max),
            stream_sub_max: seen.stream_sub_max.unwrap_or(usual.stream_sub_max),
        };
        let region = peer.region.clone().or_else(|| seen.info.region.clone());
        let region = region.unwrap_or_default();
        self.cluster.register(alias.clone(), region, capacity);
    }

    /// What a node says of itself, apart from its streams.
    pub(crate) fn introduce(
        &mut self,
        peer: &Arc<Peer>,
        strategy: Option<(Value, u32)>,
        info: Option<Info>,
    ) {
        if !self.knows(peer) {
            return;
        }
        let seen = self.seen.entry(peer.alias.clone()).or_default();
        if let Some((strategy, stream_sub_max)) = strategy {
            seen.strategy = Some(strategy);
            seen.stream_sub_max = Some(stream_sub_max);
        }
        seen.info = info.unwrap_or_default();
        self.describe(&peer.alias);
    }

    /// What a node has, as it said when it was asked at `asked_at`. False when that is no list of
    /// streams.
    pub(crate) fn observe(
        &mut self,
        peer: &Arc<Peer>,
        body: Bytes,
        asked_at: Instant,
        took: Duration,
    ) -> bool {
        if !self.knows(peer) {
            return true;
        }
        let known = self
            .seen
            .get(&peer.alias)
            .is_some_and(|seen| seen.body == body);
        if !known {
            let Ok(streams) = serde_json::from_slice::<Vec<Stream>>(&body) else {
                return false;
            };
            let seen = self.seen.entry(peer.alias.clone()).or_default();
            let far = streams.iter().filter_map(Stream::far_session);
            seen.far_sessions = far.map(str::to_owned).collect();
            let pushed = streams.iter().flat_map(Stream::pushed_sessions);
            seen.pushed_sessions = pushed.map(str::to_owned).collect();
            seen.streams = Arc::new(streams);
            seen.body = body;
        }
        let seen = self.seen.entry(peer.alias.clone()).or_default();
        seen.took = Some(took);
        seen.failures = 0;
        let streams = seen.streams.clone();
        let relays = self.seen.values().flat_map(|seen| &seen.far_sessions);
        let relays: HashSet<&str> = relays.map(String::as_str).collect();
        let pushes = self.pushes();
        let sightings = streams.iter().filter_map(|stream| {
            let name = StreamName::parse(&stream.id).ok()?;
            Some((name, self.sighting(&peer.alias, stream, &relays, &pushes)))
        });
        let sightings = sightings.collect();
        let was = self.cluster.node(&peer.alias).map(|node| node.status);
        self.cluster.observe(&peer.alias, sightings, asked_at);
        if was != Some(Status::Running) {
            tracing::info!(node = %peer.alias, "the node answers");
        }
        true
    }

    /// A node did not answer. It counts as lost at once if nobody listens there, else the second
    /// time in a row.
    pub(crate) fn missed(&mut self, peer: &Arc<Peer>, is_closed: bool) {
        if !self.knows(peer) {
            return;
        }
        let seen = self.seen.entry(peer.alias.clone()).or_default();
        seen.failures = seen.failures.saturating_add(1);
        if seen.failures < FAILURES_MAX && !is_closed {
            return;
        }
        *seen = Seen {
            strategy: seen.strategy.take(),
            info: seen.info.clone(),
            stream_sub_max: seen.stream_sub_max,
            failures: seen.failures,
            ..Seen::default()
        };
        let node = self.cluster.node(&peer.alias);
        if node.is_some_and(|node| node.status == Status::Running) {
            tracing::warn!(node = %peer.alias, "the node does not answer");
            let now = Instant::now();
            self.orphans
                .retain(|_, since| since.elapsed() < ORPHANED_FOR);
            let published = self.cluster.published(&peer.alias);
            self.orphans
                .extend(published.map(|stream| (stream.clone(), now)));
        }
        if is_closed {
            self.cluster.lost(&peer.alias);
        } else {
            self.cluster.silent(&peer.alias);
        }
    }

    /// Whether a stream lost its publisher's node a moment ago: the publisher may come back.
    pub(crate) fn is_orphan(&self, stream: &StreamName) -> bool {
        let since = self.orphans.get(stream);
        since.is_some_and(|since| since.elapsed() < ORPHANED_FOR)
    }

    /// Not when it was removed or moved meanwhile.
    fn knows(&self, peer: &Arc<Peer>) -> bool {
        let known = self.peers.get(&peer.alias);
        known.is_some_and(|known| known.same_way(peer))
    }

    /// Who brings a stream to another node, by the id of the session there.
    fn pushes(&self) -> HashMap<&str, &NodeName> {
        let each = self.seen.iter();
        let each = each.flat_map(|(node, seen)| {
            let sessions = seen.pushed_sessions.iter();
            sessions.map(move |session| (session.as_str(), node))
        });
        each.collect()
    }

    fn sighting(
        &self,
        at: &NodeName,
        stream: &Stream,
        relays: &HashSet<&str>,
        pushes: &HashMap<&str, &NodeName>,
    ) -> Sighting {
        let feed = stream.publisher().map_or(Feed::None, |session| {
            let pulled = session.cascade.as_ref();
            let pulled = pulled.and_then(|cascade| self.source(at, cascade, &stream.id));
            let pushed = || pushes.get(session.id.as_str()).copied().cloned();
            match pulled.or_else(pushed).filter(|from| from != at) {
                Some(from) => Feed::Relay {
                    session: session.id.clone(),
                    from,
                },
                None => Feed::Direct {
                    session: session.id.clone(),
                    created_unix_ms: session.created_at,
                },
            }
        });
        Sighting {
            feed,
            viewers: stream.viewers(relays),
        }
    }

    /// The node that a stream is pulled from; `None` when that is none of the nodes, or another
    /// stream.
    fn source(&self, at: &NodeName, cascade: &Cascade, stream: &str) -> Option<NodeName> {
        let url = cascade.source.as_deref()?;
        let found = self.peers.values().find_map(|peer| {
            let rest = url.strip_prefix(&peer.url)?.strip_prefix("/whep/")?;
            let name = rest.split(['?', '/']).next().unwrap_or_default();
            let name = path::stream_name(name).ok()?;
            (name.as_str() == stream).then(|| peer.alias.clone())
        });
        found.filter(|found| found != at)
    }
}

/// Answers that a node may fail to give in a row.
const FAILURES_MAX: u32 = 2;
/// Publishers that have not come back by then do not.
const ORPHANED_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use whitewater_model::Side;

    use super::*;

    fn entry(alias: &str, url: &str) -> NodeEntry {
        NodeEntry {
            alias: NodeName::parse(alias).expect("an alias"),
            url: url.to_owned(),
            token: "hush".to_owned(),
            region: None,
            pub_max: None,
            sub_max: Some(7),
        }
    }

    fn inner() -> Inner {
        let peers = Peers::new(Cluster::default());
        let mut inner = peers.inner.into_inner().expect("not poisoned");
        for (alias, url) in [("a", "http://a.example:1/"), ("b", "http://b.example/sub")] {
            let peer = Peer::new(&entry(alias, url)).expect("a good entry");
            assert!(inner.add(Arc::new(peer)));
        }
        inner
    }

    fn peer(inner: &Inner, alias: &str) -> Arc<Peer> {
        inner.peers[&NodeName::parse(alias).expect("an alias")].clone()
    }

    fn list(source: &str) -> Bytes {
        let text = format!(
            r#"[{{"id":"my cam","publish":{{"sessions":[{{"id":"1","createdAt":5,
            "cascade":{{"sourceUrl":"{source}"}}}}]}}}}]"#
        );
        text.into()
    }

    #[test]
    fn urls_and_tokens_that_cannot_be_used_are_refused() {
        for url in [
            "",
            "a.example",
            "ftp://a",
            "http://u:p@a/",
            "http://a/?q",
            "http://",
        ] {
            assert!(Peer::new(&entry("a", url)).is_none(), "{url}");
        }
        let mut bad = entry("a", "http://a");
        bad.token = "a\nb".to_owned();
        assert!(Peer::new(&bad).is_none());
        let peer = Peer::new(&entry("a", "https://[::1]:8/x/")).expect("a good entry");
        assert_eq!(peer.url, "https://[::1]:8/x");
        assert!(!format!("{peer:?}").contains("hush"));
    }

    #[test]
    fn a_publisher_that_is_pulled_from_a_node_is_a_relay() {
        let mut inner = inner();
        let a = peer(&inner, "a");
        let cam = StreamName::parse("my cam").expect("a name");
        for (source, relay) in [
            ("http://b.example/sub/whep/my%20cam", true),
            ("http://b.example/sub/whep/other", false),
            ("http://a.example:1/whep/my%20cam", false),
            ("http://far.example/whep/my%20cam", false),
            ("http://b.example/whep/my%20cam", false),
        ] {
            let now = Instant::now();
            assert!(inner.observe(&a, list(source), now, Duration::ZERO));
            let node = inner.cluster.node(&a.alias).expect("known");
            let feed = &node.streams[&cam].feed;
            assert_eq!(matches!(feed, Feed::Relay { .. }), relay, "{source}");
            assert_eq!(feed.is_direct(), !relay, "{source}");
        }
        assert!(!inner.observe(&a, "{".into(), Instant::now(), Duration::ZERO));
    }

    #[test]
    fn what_was_published_on_a_lost_node_is_waited_for_seen_there_or_not() {
        let mut inner = inner();
        let (a, now) = (peer(&inner, "a"), Instant::now());
        assert!(inner.observe(&a, "[]".into(), now, Duration::ZERO));
        let name = |text: &str| StreamName::parse(text).expect("a name");
        let (made, begun) = (name("made"), name("begun"));
        let place = inner.cluster.reserve(&a.alias, &made, Side::Publish, now);
        inner.cluster.settle(&place, now);
        let _ = inner.cluster.reserve(&a.alias, &begun, Side::Publish, now);
        inner.missed(&a, true);
        assert!(inner.is_orphan(&made));
        assert!(!inner.is_orphan(&begun));
    }

    #[test]
    fn a_node_is_lost_at_the_second_silence_or_when_nobody_listens() {
        let mut inner = inner();
        let a = peer(&inner, "a");
        let status = |inner: &Inner| inner.cluster.node(&a.alias).map(|node| node.status);
        let saw = |inner: &mut Inner| {
            assert!(inner.observe(&a, "[]".into(), Instant::now(), Duration::ZERO));
        };
        saw(&mut inner);
        assert_eq!(status(&inner), Some(Status::Running));
        inner.missed(&a, false);
        assert_eq!(status(&inner), Some(Status::Running));
        inner.missed(&a, false);
        assert_eq!(status(&inner), Some(Status::Stopped));
        saw(&mut inner);
        inner.missed(&a, true);
        assert_eq!(status(&inner), Some(Status::Stopped));
        // What an answer from the old address says means nothing after it moved.
        let moved = Arc::new(Peer::new(&entry("a", "http://new.example")).expect("good"));
        assert!(inner.add(moved.clone()));
        assert!(!inner.add(moved));
        saw(&mut inner);
        assert_eq!(status(&inner), Some(Status::Stopped));
        let node = inner.cluster.node(&a.alias).expect("known");
        assert_eq!(node.capacity.sub_max, 7);
    }
}
