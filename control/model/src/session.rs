use std::time::{Duration, Instant};

use whitewater_link::{
    Epoch, Intake, LayerInfo, Loudness, MediaKind, Role, SessionId, SessionState, ShardIndex,
    StreamId, Traffic,
};

use crate::rate::RateMeter;
use crate::{
    Answered, Authority, Cascade, Diagnosed, Now, Principal, Relay, Selection, SessionView, Stats,
    StreamName, Takeover,
};

/// Which side of its stream a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Sends media to us.
    Publish,
    /// Receives media from us.
    Subscribe,
}

impl From<Role> for Side {
    fn from(role: Role) -> Self {
        match role {
            Role::Publish { .. } => Side::Publish,
            Role::Subscribe => Side::Subscribe,
        }
    }
}

/// A session that was admitted and waits for the data plane's answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) stream: StreamId,
    pub(crate) name: StreamName,
    pub(crate) role: Role,
    pub(crate) owner: Principal,
    /// Keeps the order of arrival.
    pub(crate) serial: u64,
    /// What its owner was let in by, where anybody was asked.
    pub(crate) authority: Option<Authority>,
    /// Until when the data plane's counter-offer may be answered, if that is what is waited for.
    pub(crate) counter_offer: Option<Instant>,
    /// The publisher a viewer came under.
    pub(crate) joined_under: Option<Epoch>,
    /// What it has to do with other nodes.
    pub(crate) relay: Relay,
}

/// A session the data plane has.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: StreamName,
    pub(crate) role: Role,
    pub(crate) owner: Principal,
    pub(crate) serial: u64,
    /// What its owner was let in by, where anybody was asked.
    pub(crate) authority: Option<Authority>,
    pub(crate) shard: ShardIndex,
    pub(crate) created_unix_ms: u64,
    pub(crate) state: SessionState,
    pub(crate) ever_connected: bool,
    /// When something of the peer was heard last, as far as states and reports tell.
    pub(crate) heard_at: Instant,
    /// The data plane's word on a publisher.
    pub(crate) silent: bool,
    pub(crate) has_data_channel: bool,
    /// Names the current ICE session; another one after every restart.
    pub(crate) ice_tag: u128,
    /// Of its m-lines, counted from 0, the accepted video section.
    pub(crate) video_line: Option<u16>,
    /// The publisher a viewer came under.
    pub(crate) joined_under: Option<Epoch>,
    /// What it has to do with other nodes.
    pub(crate) relay: Relay,
    /// A viewer's choice among the layers.
    pub(crate) selection: Selection,
    /// The layer a viewer is sent, by its place in the publisher's.
    pub(crate) layer: Option<u8>,
    /// A publisher's layers, where it has several.
    pub(crate) layers: Vec<LayerInfo>,
    pub(crate) muted_audio: bool,
    pub(crate) muted_video: bool,
    pub(crate) traffic: Traffic,
    pub(crate) rate: RateMeter,
    pub(crate) video_rate: RateMeter,
    /// What the path to a viewer carries, by the last report.
    pub(crate) available_bps: Option<u64>,
    /// What a publisher brings, by the last report.
    pub(crate) intake: Option<Box<Intake>>,
    /// How loud it is.
    pub(crate) loudness: Option<Loudness>,
    /// What is wrong with it.
    pub(crate) diagnosis: Vec<Diagnosed>,
    /// What of its reports is in the totals.
    pub(crate) counted: Counted,
}

/// What is counted of a session besides its traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) repeated: Traffic,
    pub(crate) padding: Traffic,
    pub(crate) keyframes: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) lost: u64,
}

impl Session {
    pub(crate) fn new(pending: Pending, answered: &Answered, now: Now) -> Self {
        Session {
            name: pending.name,
            role: pending.role,
            owner: pending.owner,
            serial: pending.serial,
            authority: pending.authority,
            shard: answered.shard,
            created_unix_ms: now.unix_ms,
            state: SessionState::New,
            ever_connected: false,
            heard_at: now.mono,
            silent: false,
            has_data_channel: answered.has_data_channel,
            ice_tag: answered.ice_tag,
            video_line: answered.video_line,
            joined_under: pending.joined_under,
            relay: pending.relay,
            selection: Selection::default(),
            layer: None,
            layers: Vec::new(),
            muted_audio: false,
            muted_video: false,
            traffic: Traffic::default(),
            rate: RateMeter::default(),
            video_rate: RateMeter::default(),
            available_bps: None,
            intake: None,
            loudness: None,
            diagnosis: Vec::new(),
            counted: Counted::default(),
        }
    }

    /// When its owner's authority ends by itself.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.authority.as_ref()?.until
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match self.role {
            Role::Publish { epoch } => Some(epoch),
            Role::Subscribe => None,
        }
    }

    pub(crate) fn change_state(&mut self, state: SessionState, now: Now) {
        self.state = state;
        match state {
            SessionState::Connected => {
                self.ever_connected = true;
                self.heard_at = now.mono;
            }
            SessionState::Connecting => self.heard_at = now.mono,
            _ => {}
        }
    }

    pub(crate) fn set_muted(&mut self, kind: MediaKind, muted: bool) {
        match kind {
            MediaKind::Audio => self.muted_audio = muted,
            MediaKind::Video => self.muted_video = muted,
        }
    }

    /// Whether another publisher may take this one's place now.
    pub(crate) fn may_be_replaced(&self, rule: Takeover, silent_after: Duration, now: Now) -> bool {
        match rule {
            Takeover::Never => false,
            Takeover::Always => true,
            Takeover::Silent => self.is_silent(silent_after, now),
        }
    }

    fn is_silent(&self, silent_after: Duration, now: Now) -> bool {
        let unheard = now.mono.saturating_duration_since(self.heard_at) > silent_after;
        match self.state {
            SessionState::Disconnected | SessionState::Failed | SessionState::Closed => true,
            _ => self.silent || (!self.ever_connected && unheard),
        }
    }

    pub(crate) fn stats(&self, now: Now) -> Stats {
        Stats {
            bytes: self.traffic.bytes,
            packets: self.traffic.packets,
            bitrate_bps: self.rate.bps(now.mono),
        }
    }
}

impl Session {
    fn cascade(&self) -> Option<Cascade> {
        let far = self.relay.far.as_ref()?;
        let (source, target) = match Side::from(self.role) {
            Side::Publish => (Some(&far.url), None),
            Side::Subscribe => (None, Some(&far.url)),
        };
        Some(Cascade {
            source_url: source.cloned(),
            target_url: target.cloned(),
            session_url: far.session_url.clone(),
        })
    }

    /// As it is shown; `layers` are those of the stream's publisher.
    pub(crate) fn view(&self, id: SessionId, layers: &[LayerInfo], now: Now) -> SessionView {
        // The temporal layers of a simulcast layer follow each other under its name.
        let mut named = layers.chunk_by(|one, next| one.rid == next.rid);
        let layer = self.layer.and_then(|place| named.nth(usize::from(place)));
        SessionView {
            id,
            created_unix_ms: self.created_unix_ms,
            left_unix_ms: 0,
            state: self.state,
            cascade: self.cascade(),
            has_data_channel: self.has_data_channel,
            muted_audio: self.muted_audio,
            muted_video: self.muted_video,
            layer: layer.and_then(|layer| layer.first()?.rid.clone()),
            available_bps: self.available_bps,
            tracks: self
                .intake
                .as_ref()
                .map_or_else(Vec::new, |intake| intake.tracks.clone()),
            loudness: self.loudness,
            stats: self.stats(now),
        }
    }
}
