//! What a viewer's player is told of its stream, and what it may choose.

use whitewater_link::{Command, Epoch, Loudness, MediaKind, SessionCommand, SessionId, ShardIndex};

use super::Registry;
use crate::{Error, Layer, Now, Principal, Selection, StreamName};

/// A stream as its viewers' players see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// The publisher that is connected; each has a number of its own.
    pub publication: Option<Epoch>,
    /// Viewers that were answered.
    pub viewer_count: usize,
    /// The layers of its video.
    pub layers: Vec<Layer>,
    /// How loud its publisher is, where packets tell.
    pub loudness: Option<Loudness>,
}

impl Registry {
    /// A stream as its viewers' players see it; `None` if there is no such stream.
    pub fn scene(&self, name: &StreamName, now: Now) -> Option<Scene> {
        let stream = self.streams.get(name)?;
        let publisher = stream.publisher.and_then(|id| self.sessions.get(&id));
        let publication = publisher.filter(|publisher| publisher.ever_connected);
        Some(Scene {
            publication: publication.and_then(|publisher| publisher.epoch()),
            viewer_count: stream.viewers.len(),
            layers: self.layers(name, now),
            loudness: publisher.and_then(|publisher| publisher.loudness),
        })
    }

    /// The layers of a stream's video: without simulcast there is one, without a name; none without
    /// a publisher or video.
    pub fn layers(&self, name: &StreamName, now: Now) -> Vec<Layer> {
        let stream = self.streams.get(name);
        let has_video = stream.is_some_and(|s| s.tracks.iter().any(|t| t.kind == MediaKind::Video));
        let publisher = stream
            .filter(|_| has_video)
            .and_then(|stream| self.sessions.get(&stream.publisher?));
        let Some(publisher) = publisher else {
            return Vec::new();
        };
        if publisher.layers.is_empty() {
            return vec![Layer {
                bitrate_bps: publisher.video_rate.bps(now.mono),
                ..Layer::default()
            }];
        }
        publisher.layers.iter().map(Layer::from).collect()
    }

    /// Which m-line of a viewer's session, counted from 0, is video.
    pub fn video_line(&self, session: SessionId) -> Option<u16> {
        self.sessions.get(&session)?.video_line
    }

    /// Whether the session lives.
    pub fn is_live(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The shard that a live session is on.
    pub fn shard_of(&self, session: SessionId) -> Option<ShardIndex> {
        self.sessions.get(&session).map(|found| found.shard)
    }

    /// A viewer chooses among the layers, and has its video on. The choice stays with the session,
    /// whoever publishes; where a later publisher has no such layer the server chooses.
    ///
    /// `line` is the m-line that is meant, the video's if absent.
    ///
    /// # Errors
    /// `NoSuchSession`, `NoSuchLayer`; nothing has changed then.
    pub fn select(
        &mut self,
        name: &StreamName,
        session: SessionId,
        principal: &Principal,
        line: Option<u16>,
        selection: Selection,
        now: Now,
    ) -> Result<(), Error> {
        self.session(name, session, principal)?;
        let layers = self.layers(name, now);
        let Some(found) = self.sessions.get_mut(&session) else {
            return Err(Error::NoSuchSession);
        };
        let is_line = line.is_none() || line == found.video_line;
        let has_layer = layers.iter().any(|layer| layer.meets(&selection));
        if !is_line || (!selection.is_automatic() && !has_layer) {
            return Err(Error::NoSuchLayer);
        }
        found.selection = selection.clone();
        let shard = found.shard;
        self.outbox.push_back(Command::Session {
            shard,
            session,
            command: SessionCommand::Select { selection },
        });
        self.mute(name, session, principal, MediaKind::Video, false)
    }

    /// What a viewer chose.
    pub fn selection(&self, session: SessionId) -> Option<&Selection> {
        self.sessions.get(&session).map(|found| &found.selection)
    }

    /// Whether a viewer that has no codec for this publisher should come again: only a publisher
    /// that came after the viewer is news to it.
    pub fn should_reconnect(&self, session: SessionId, epoch: Epoch) -> bool {
        let found = self.sessions.get(&session);
        found.is_some_and(|found| found.joined_under != Some(epoch))
    }
}
