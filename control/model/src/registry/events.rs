//! What the data plane tells.

use std::time::Instant;

use whitewater_link::{
    CloseReason, Command, Epoch, LayerInfo, Loudness, MediaKind, Report, Role, SessionCommand,
    SessionId, SessionReport, SessionState, ShardIndex, StreamId, TrackInfo, Traffic,
};

use super::{Answered, Registry, Totals};
use crate::session::{Counted, Session};
use crate::{Diagnosed, Now, Seat, Side};

impl Registry {
    /// The data plane has made the session. False when nobody waits for it any more (its stream
    /// was destroyed, its request was given up): the data plane is then told to close it.
    pub fn answered(&mut self, session: SessionId, answered: Answered, now: Now) -> bool {
        let shard = answered.shard;
        let Some(pending) = self.pending.remove(&session) else {
            self.tell_close(session, shard, CloseReason::Deleted, now.mono);
            return false;
        };
        let Some(stream) = self.streams.get_mut(&pending.name) else {
            // Cannot be: a stream that goes takes its pending sessions with it.
            self.sources.forget(session);
            self.tell_close(session, shard, CloseReason::StreamDestroyed, now.mono);
            return false;
        };
        stream.ever_occupied = true;
        let mut replaced = None;
        let mut rerouted = false;
        match pending.role {
            Role::Publish { .. } => {
                rerouted = stream.way != pending.relay.way;
                stream.way.clone_from(&pending.relay.way);
                stream.claim = None;
                replaced = stream.publisher.replace(session);
                stream.tracks.clone_from(&answered.tracks);
                stream.heard = false;
                self.totals.opened[0] += 1;
                self.publisher_count += 1;
            }
            Role::Subscribe => {
                stream.viewers_pending = stream.viewers_pending.saturating_sub(1);
                stream.ever_watched = true;
                stream.viewers.insert(pending.serial, session);
                self.totals.opened[1] += 1;
            }
        }
        self.free_seats += usize::from(pending.relay.seat == Seat::Free);
        let live = Session::new(pending, &answered, now);
        if let Some(until) = live.until() {
            self.ends.insert((until, session));
        }
        self.sessions.insert(session, live);
        self.unconnected_count += 1;
        self.revision += 1;
        if let Some(old) = replaced {
            self.totals.takeovers += 1;
            self.hang_up(old, CloseReason::TakenOver, now);
        }
        if rerouted {
            self.reroute(session, now);
        }
        true
    }

    /// The data plane would not have the session. A stream made for it alone goes again.
    pub fn refused(&mut self, session: SessionId, now: Now) {
        let Some(pending) = self.pending.remove(&session) else {
            return;
        };
        if pending.counter_offer.is_some() {
            self.outbox.push_back(Command::Withdraw { session });
        }
        self.sources.forget(session);
        let Some(stream) = self.streams.get_mut(&pending.name) else {
            return;
        };
        match pending.role {
            Role::Publish { .. } => stream.claim = None,
            Role::Subscribe => {
                stream.viewers_pending = stream.viewers_pending.saturating_sub(1);
                stream.free_seats -= usize::from(pending.relay.seat == Seat::Free);
            }
        }
        stream.note_occupancy(now);
        if stream.came_to_nothing() {
            self.remove_stream(&pending.name, now);
        }
    }

    /// Nobody waits for the answer any more. Should it come, the session is closed again.
    pub fn abandon(&mut self, session: SessionId, now: Now) {
        if self.sessions.contains_key(&session) {
            self.hang_up(session, CloseReason::Deleted, now);
        } else {
            self.refused(session, now);
        }
    }

    /// The connection state of a session changed.
    pub fn state_changed(&mut self, session: SessionId, state: SessionState, now: Now) {
        if let Some(found) = self.sessions.get_mut(&session)
            && found.state != state
        {
            let connects = state == SessionState::Connected && !found.ever_connected;
            found.change_state(state, now);
            self.unconnected_count -= usize::from(connects);
            self.revision += 1;
            if connects {
                self.sources.forget(session);
            }
        }
    }

    /// A session's ICE session was replaced by the one that `ice_tag` names from now on.
    pub fn restarted(&mut self, session: SessionId, ice_tag: u128) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.ice_tag = ice_tag;
        }
    }

    /// The data plane has let the session go.
    pub fn closed(&mut self, session: SessionId, reason: CloseReason, now: Now) {
        if self.closing.remove(&session).is_none() {
            self.leave(session, reason, now);
        }
    }

    /// The codecs a publisher sends. Word of one that was replaced is not heard.
    pub fn stream_up(&mut self, stream: StreamId, epoch: Epoch, tracks: Vec<TrackInfo>) {
        let Some(stream) = self
            .names
            .get(&stream)
            .and_then(|name| self.streams.get_mut(name))
        else {
            return;
        };
        let current = stream
            .publisher
            .and_then(|id| self.sessions.get(&id))
            .and_then(Session::epoch);
        if current != Some(epoch) {
            return;
        }
        stream.heard = true;
        if stream.tracks != tracks {
            stream.tracks = tracks;
            self.revision += 1;
        }
    }

    /// What the layers of a publisher's video carry.
    pub fn layers_are(&mut self, session: SessionId, layers: Vec<LayerInfo>) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.layers = layers;
        }
    }

    /// Somebody at a publisher's microphone began or ceased to speak.
    pub fn speaking(&mut self, session: SessionId, loudness: Loudness) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.loudness = Some(loudness);
            self.revision += 1;
        }
    }

    /// A publisher fell silent or was heard again.
    pub fn publisher_silent(&mut self, session: SessionId, silent: bool, now: Now) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.silent = silent;
            if !silent {
                found.heard_at = now.mono;
            }
        }
    }

    /// Takes the counters of one shard's sessions; those of sessions it does not know are left.
    pub fn report(&mut self, report: &Report, now: Now) {
        let mut moved = false;
        for entry in &report.sessions {
            let Some(session) = self.sessions.get_mut(&entry.session) else {
                continue;
            };
            let grown = Traffic {
                packets: entry
                    .traffic
                    .packets
                    .saturating_sub(session.traffic.packets),
                bytes: entry.traffic.bytes.saturating_sub(session.traffic.bytes),
            };
            let total = match Side::from(session.role) {
                Side::Publish => &mut self.totals.rtp_in,
                Side::Subscribe => &mut self.totals.rtp_out,
            };
            add(total, grown);
            add(&mut session.traffic, grown);
            moved |= grown.packets > 0;
            session.available_bps = entry.available_bps;
            moved |= take_intake(session, entry, &mut self.totals, now);
            count(session, entry, &mut self.totals);
            session.rate.sample(now.mono, session.traffic.bytes);
            let video = entry.tracks.iter().filter(|t| t.kind == MediaKind::Video);
            let video_bytes = video.map(|track| track.traffic.bytes).sum();
            session.video_rate.sample(now.mono, video_bytes);
            let layer = entry.tracks.iter().find_map(|track| track.layer);
            moved |= session.layer != layer;
            session.layer = layer;
            if let Some(heard_at) = now.mono.checked_sub(entry.silent_for) {
                session.heard_at = session.heard_at.max(heard_at);
            }
        }
        if moved {
            self.revision += 1;
        }
    }

    pub(super) fn tell_close(
        &mut self,
        session: SessionId,
        shard: ShardIndex,
        reason: CloseReason,
        at: Instant,
    ) {
        self.closing.insert(session, at);
        self.outbox.push_back(Command::Session {
            shard,
            session,
            command: SessionCommand::Close { reason },
        });
    }
}

/// Takes what a publisher brings; true if that changes what is shown.
fn take_intake(
    session: &mut Session,
    entry: &SessionReport,
    totals: &mut Totals,
    now: Now,
) -> bool {
    let Some(intake) = &entry.intake else {
        return false;
    };
    let before = session.diagnosis.clone();
    let is_news = Diagnosed::update(&mut session.diagnosis, &intake.findings, now.unix_ms);
    for diagnosed in session.diagnosis.iter().filter(|_| is_news) {
        let code = diagnosed.finding.code;
        let is = |known: &Diagnosed| {
            (known.finding.code, known.finding.kind) == (code, diagnosed.finding.kind)
        };
        if !before.iter().any(is) {
            *totals.found.entry(code.as_str()).or_default() += 1;
        }
    }
    // Who speaks is told by events, which may be newer than a report.
    let known = session.loudness.map(|known| known.is_speaking);
    session.loudness = intake.loudness.map(|told| Loudness {
        is_speaking: known.unwrap_or(told.is_speaking),
        ..told
    });
    session.intake = Some(intake.clone());
    is_news
}

/// Adds to the totals what a session's counters have grown by.
fn count(session: &mut Session, entry: &SessionReport, totals: &mut Totals) {
    let mut counted = Counted::default();
    for track in &entry.tracks {
        add(&mut counted.repeated, track.repeated);
        add(&mut counted.padding, track.padding);
        counted.keyframes += track.keyframes;
        counted.keyframe_requests += track.keyframe_requests;
    }
    let tracks = entry.intake.iter().flat_map(|intake| &intake.tracks);
    let layers = tracks.flat_map(|track| &track.layers);
    counted.lost = layers.map(|layer| layer.packets_lost).sum();
    let before = std::mem::replace(&mut session.counted, counted);
    let grown = |now: Traffic, before: Traffic| Traffic {
        packets: now.packets.saturating_sub(before.packets),
        bytes: now.bytes.saturating_sub(before.bytes),
    };
    add(
        &mut totals.repeated,
        grown(counted.repeated, before.repeated),
    );
    add(&mut totals.padding, grown(counted.padding, before.padding));
    let [to_publishers, from_viewers] = &mut totals.keyframe_requests;
    let requests = counted
        .keyframe_requests
        .saturating_sub(before.keyframe_requests);
    match Side::from(session.role) {
        Side::Publish => {
            *to_publishers += requests;
            totals.keyframes += counted.keyframes.saturating_sub(before.keyframes);
        }
        Side::Subscribe => *from_viewers += requests,
    }
    totals.lost += counted.lost.saturating_sub(before.lost);
}

pub(super) fn add(total: &mut Traffic, more: Traffic) {
    total.packets = total.packets.saturating_add(more.packets);
    total.bytes = total.bytes.saturating_add(more.bytes);
}
