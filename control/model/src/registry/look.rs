//! What can be seen from outside.

use whitewater_link::{SessionId, Traffic};

use super::{Counts, Registry, Totals};
use crate::stream::Stream;
use crate::{Diagnosed, Now, Policy, SideView, Stats, StreamName, StreamView};

impl Registry {
    /// All streams, sorted by name.
    pub fn streams(&self, now: Now) -> Vec<StreamView> {
        self.streams
            .iter()
            .map(|(name, stream)| self.view(name, stream, now))
            .collect()
    }

    /// One stream.
    pub fn stream(&self, name: &StreamName, now: Now) -> Option<StreamView> {
        self.streams
            .get(name)
            .map(|stream| self.view(name, stream, now))
    }

    /// Grows with every change that [`streams`](Self::streams) shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many there are now.
    pub fn counts(&self) -> Counts {
        Counts {
            streams: self.streams.len(),
            publishers: self.publisher_count,
            viewers: self.sessions.len() - self.publisher_count,
            pending: self.pending.len(),
            unconnected: self.unconnected_count,
            closing: self.closing.len(),
        }
    }

    /// Counters since start.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The policy it was made with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether it takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    fn view(&self, name: &StreamName, stream: &Stream, now: Now) -> StreamView {
        let left = stream.publish_left.map_or(0, |left| left.unix_ms);
        StreamView {
            name: name.clone(),
            created_unix_ms: stream.created_unix_ms,
            publish: self.side(
                stream,
                stream.publisher.iter(),
                left,
                stream.published_before,
                now,
            ),
            subscribe: self.side(
                stream,
                stream.viewers.values(),
                stream.subscribe_left.unix_ms,
                stream.subscribed_before,
                now,
            ),
            tracks: stream.tracks.clone(),
            diagnosis: self.diagnosis(stream),
        }
    }

    fn diagnosis(&self, stream: &Stream) -> Vec<Diagnosed> {
        let publisher = stream.publisher.and_then(|id| self.sessions.get(&id));
        publisher.map_or_else(Vec::new, |publisher| publisher.diagnosis.clone())
    }

    fn side<'a>(
        &self,
        stream: &Stream,
        ids: impl Iterator<Item = &'a SessionId>,
        left_unix_ms: u64,
        before: Traffic,
        now: Now,
    ) -> SideView {
        let publisher = stream.publisher.and_then(|id| self.sessions.get(&id));
        let layers = publisher.map_or(&[][..], |publisher| &publisher.layers);
        let view = |id| Some(self.sessions.get(id)?.view(*id, layers, now));
        let sessions: Vec<_> = ids.filter_map(view).collect();
        let start = Stats {
            bytes: before.bytes,
            packets: before.packets,
            bitrate_bps: 0,
        };
        let stats = sessions.iter().fold(start, |sum, session| Stats {
            bytes: sum.bytes.saturating_add(session.stats.bytes),
            packets: sum.packets.saturating_add(session.stats.packets),
            bitrate_bps: sum.bitrate_bps.saturating_add(session.stats.bitrate_bps),
        });
        SideView {
            left_unix_ms: if sessions.is_empty() { left_unix_ms } else { 0 },
            sessions,
            stats,
        }
    }
}
