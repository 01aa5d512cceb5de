//! Live777's JSON as nodes say it and LiveMan repeats it. Members that are not known are handed on.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stream {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) created_at: u64,
    #[serde(default)]
    pub(crate) publish: PubSub,
    #[serde(default)]
    pub(crate) subscribe: PubSub,
    #[serde(default)]
    codecs: Vec<Value>,
    #[serde(default)]
    stats: StreamStats,
    #[serde(default)]
    stats_scope: String,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PubSub {
    #[serde(default)]
    leave_at: u64,
    #[serde(default)]
    pub(crate) sessions: Vec<Session>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) created_at: u64,
    #[serde(default)]
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cascade: Option<Cascade>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Understood in both spellings, said in both.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "NodeCascade", into = "ManagerCascade")]
pub(crate) struct Cascade {
    pub(crate) source: Option<String>,
    pub(crate) target: Option<String>,
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeCascade {
    #[serde(alias = "src")]
    source_url: Option<String>,
    #[serde(alias = "dst")]
    target_url: Option<String>,
    #[serde(alias = "resource")]
    session_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManagerCascade {
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_url: Option<String>,
}

impl From<NodeCascade> for Cascade {
    fn from(said: NodeCascade) -> Self {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        Cascade {
            source: some(said.source_url),
            target: some(said.target_url),
            session: some(said.session_url),
        }
    }
}

impl From<Cascade> for ManagerCascade {
    fn from(own: Cascade) -> Self {
        ManagerCascade {
            src: own.source.clone(),
            dst: own.target.clone(),
            resource: own.session.clone(),
            source_url: own.source,
            target_url: own.target,
            session_url: own.session,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct StreamStats {
    #[serde(default)]
    publish: Stats,
    #[serde(default)]
    subscribe: Stats,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Stats {
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    packets: u64,
    #[serde(default)]
    bitrate: u64,
}

impl Stream {
    /// Viewers that are not nodes and have not left. `relays` are sessions that nodes have here.
    pub(crate) fn viewers(&self, relays: &HashSet<&str>) -> u32 {
        let living = self.subscribe.sessions.iter().filter(|s| s.lives());
        let own = living
            .filter(|session| session.cascade.is_none() && !relays.contains(session.id.as_str()));
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    /// The id of the session by which this node gets the stream from another one, there.
    pub(crate) fn far_session(&self) -> Option<&str> {
        let url = self.publisher()?.cascade.as_ref()?.session.as_deref()?;
        url.rsplit('/').next()
    }

    /// The publisher's session.
    pub(crate) fn publisher(&self) -> Option<&Session> {
        self.publish.sessions.iter().find(|session| session.lives())
    }

    /// The ids of the sessions by which this node brings the stream to others, there.
    pub(crate) fn pushed_sessions(&self) -> impl Iterator<Item = &str> {
        let sessions = self.subscribe.sessions.iter();
        let cascades = sessions.filter_map(|session| session.cascade.as_ref());
        let pushes = cascades.filter(|cascade| cascade.target.is_some());
        pushes.filter_map(|cascade| {
            let id = cascade.session.as_deref()?.rsplit('/').next()?;
            // By a manager it has the node's name in front.
            Some(id.split('~').nth(1).unwrap_or(id))
        })
    }

    /// Takes in what another node says of the same stream: the earliest creation, nobody has left
    /// while somebody is there, all sessions.
    fn merge(&mut self, other: &Stream) {
        self.created_at = self.created_at.min(other.created_at);
        self.publish.merge(&other.publish);
        self.subscribe.merge(&other.subscribe);
        self.codecs.clear();
        self.stats.publish.add(other.stats.publish);
        self.stats.subscribe.add(other.stats.subscribe);
        "clusterNodeWork".clone_into(&mut self.stats_scope);
    }
}

impl PubSub {
    fn merge(&mut self, other: &PubSub) {
        self.leave_at = match (self.leave_at, other.leave_at) {
            (0, _) | (_, 0) => 0,
            (own, other) => own.max(other),
        };
        self.sessions.extend(other.sessions.iter().cloned());
    }
}

impl Session {
    /// Live777 lists sessions for a while after their end.
    fn lives(&self) -> bool {
        self.state != "closed"
    }
}

impl Stats {
    fn add(&mut self, other: Stats) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        self.bitrate = self.bitrate.saturating_add(other.bitrate);
    }
}

/// The streams of several nodes as one list, sorted by id.
pub(crate) fn merge<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<Stream> {
    let mut merged = std::collections::BTreeMap::<&str, Stream>::new();
    for stream in streams {
        match merged.get_mut(stream.id.as_str()) {
            Some(found) => found.merge(stream),
            None => {
                merged.insert(&stream.id, stream.clone());
            }
        }
    }
    merged.into_values().collect()
}

/// What a node says of itself; all of it is optional, Live777 says nothing of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    pub(crate) region: Option<String>,
    pub(crate) pub_max: Option<u32>,
    pub(crate) sub_max: Option<u32>,
}

/// The part of a node's strategy that placement goes by.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Strategy {
    pub(crate) each_stream_max_sub: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> Stream {
        serde_json::from_str(text).expect("a stream")
    }

    #[test]
    fn one_stream_on_two_nodes_is_one_in_the_list() {
        let first = stream(
            r#"{"id":"a","createdAt":20,"publish":{"leaveAt":0,"sessions":[{"id":"p","createdAt":1,
            "state":"connected"}]},"subscribe":{"leaveAt":7,"sessions":[]},
            "codecs":[{"kind":"video"}],"statsScope":"node",
            "stats":{"publish":{"bytes":5,"packets":1,"bitrate":2}}}"#,
        );
        let second = stream(
            r#"{"id":"a","createdAt":10,"publish":{"leaveAt":9,"sessions":[]},
            "subscribe":{"leaveAt":8,"sessions":[{"id":"v","createdAt":1,"state":"new",
            "cascade":{"dst":"http://x/whip/a","resource":"http://x/session/a/1"}}]},
            "stats":{"publish":{"bytes":6,"packets":1,"bitrate":2}}}"#,
        );
        let alone = stream(r#"{"id":"0"}"#);
        let merged = merge([&first, &second, &alone].into_iter());
        let json = serde_json::to_value(&merged).expect("JSON");
        assert_eq!(json[0]["id"], "0");
        let one = &json[1];
        assert_eq!(one["createdAt"], 10);
        assert_eq!(one["publish"]["leaveAt"], 0);
        assert_eq!(one["subscribe"]["leaveAt"], 8);
        assert_eq!(one["codecs"], serde_json::json!([]));
        assert_eq!(one["statsScope"], "clusterNodeWork");
        assert_eq!(one["stats"]["publish"]["bytes"], 11);
        let cascade = &one["subscribe"]["sessions"][0]["cascade"];
        for (name, url) in [
            ("dst", "http://x/whip/a"),
            ("targetUrl", "http://x/whip/a"),
            ("resource", "http://x/session/a/1"),
            ("sessionUrl", "http://x/session/a/1"),
        ] {
            assert_eq!(cascade[name], url, "{name}");
        }
        assert_eq!(cascade["src"], Value::Null);
        let nobody = HashSet::new();
        assert_eq!(second.viewers(&nobody), 0, "a node is no viewer");
    }

    #[test]
    fn a_node_that_gets_the_stream_is_no_viewer() {
        let child = stream(
            r#"{"id":"a","publish":{"sessions":[{"id":"p","cascade":{
            "sourceUrl":"http://x/whep/a","sessionUrl":"http://x/session/a/far-1"}}]}}"#,
        );
        assert_eq!(child.far_session(), Some("far-1"));
        let parent = stream(
            r#"{"id":"a","subscribe":{"sessions":[{"id":"far-1"},{"id":"v","state":"new"},
            {"id":"w","state":"closed"}]}}"#,
        );
        assert_eq!(parent.viewers(&HashSet::from(["far-1"])), 1);
        assert_eq!(parent.far_session(), None);
        let pushing = stream(
            r#"{"id":"a","subscribe":{"sessions":[{"id":"v"},{"id":"n","cascade":{
            "targetUrl":"http://m/api/whip/b/a","sessionUrl":"http://m/session/a/b~7~mark"}}]}}"#,
        );
        assert_eq!(pushing.pushed_sessions().collect::<Vec<_>>(), ["7"]);
    }

    #[test]
    fn members_nobody_knows_are_handed_on() {
        let text = r#"{"id":"a","onDemand":true,"publish":{"sessions":[{"id":"p","x":[1]}]}}"#;
        let json = serde_json::to_value(stream(text)).expect("JSON");
        assert_eq!(json["onDemand"], true);
        assert_eq!(json["publish"]["sessions"][0]["x"][0], 1);
    }
}
