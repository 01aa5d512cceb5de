//! What happens because time passed.

use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use whitewater_link::{CloseReason, Event, Relay, SessionState, StreamId};

use super::{Core, Engine};
use crate::forward::egress::bit;
use crate::forward::stream::Source;
use crate::limits;
use crate::session::{Session, Side};

impl Engine {
    pub(super) fn run_timers(&mut self, now: Instant) {
        let mut fired = std::mem::take(&mut self.core.fired);
        self.core.wheel.expire(now, &mut fired);
        for key in fired.drain(..) {
            self.with_session(now, key, |session, core| {
                if session.armed.is_some_and(|armed| armed <= now) {
                    session.armed = None;
                }
                session.on_time(now, key, core);
            });
        }
        self.core.fired = fired;
        self.run_owed(now);
    }

    /// Key frame requests that had to wait, and viewers that wait for a key frame.
    fn run_owed(&mut self, now: Instant) {
        if self.core.owed_at.is_none_or(|at| at > now) {
            return;
        }
        self.core.owed_at = None;
        let mut owed = std::mem::take(&mut self.core.owed);
        owed.sort_unstable();
        owed.dedup();
        for id in owed {
            let Some(stream) = self.core.streams.get_mut(&id) else {
                continue;
            };
            let mut layers = 0;
            if stream.retry_at.is_some_and(|at| at <= now) {
                stream.retry_at = None;
                let sessions = &self.sessions;
                let awaited = |key: &u32| match sessions.get(*key as usize).map(|s| &s.side) {
                    Some(Side::Viewer(viewer)) => viewer.awaits(),
                    _ => 0,
                };
                layers = stream
                    .viewers
                    .iter()
                    .map(awaited)
                    .fold(0, |all, one| all | one);
            }
            let retry_at = stream.retry_at;
            let again = self.request_keyframe(now, id, layers);
            for at in [again, retry_at].into_iter().flatten() {
                self.core.owe(id, at);
            }
        }
    }

    /// Passes this turn's wishes on.
    pub(super) fn request_keyframes(&mut self, now: Instant) {
        let mut wanted = std::mem::take(&mut self.core.wanted);
        wanted.sort_unstable();
        // What is wanted of one stream is asked for in one go.
        wanted.dedup_by(|(id, layers), (kept, all)| {
            let same = id == kept;
            if same {
                *all |= *layers;
            }
            same
        });
        for (id, layers) in wanted.drain(..) {
            if let Some(at) = self.request_keyframe(now, id, layers) {
                self.core.owe(id, at);
            }
        }
        self.core.wanted = wanted;
    }

    fn request_keyframe(&mut self, now: Instant, id: StreamId, layers: u8) -> Option<Instant> {
        let stream = self.core.streams.get_mut(&id)?;
        match stream.source? {
            Source::There(shard) => {
                // Without simulcast there is one layer, whatever bits are set.
                let count = stream.rids().len().max(1);
                let mut passed_on = 0;
                let mut due: Option<Instant> = None;
                for (index, throttle) in (0_u8..).zip(&mut stream.throttles).take(count) {
                    let send = if layers & bit(index) != 0 {
                        throttle.request(now)
                    } else {
                        throttle.poll(now)
                    };
                    passed_on |= if send { bit(index) } else { 0 };
                    due = due.into_iter().chain(throttle.due()).min();
                }
                if passed_on != 0 {
                    let message = Relay::KeyframeWanted {
                        stream: id,
                        layers: passed_on,
                    };
                    self.core.out.relays.push((shard, message));
                }
                due
            }
            Source::Here(key) => {
                let mut due = None;
                self.with_session(now, key, |session, core| {
                    due = session.request_keyframe(now, layers);
                    session.pump(now, key, core);
                });
                due
            }
        }
    }
}

impl Core {
    /// Looks at a stream again at `at`.
    pub(super) fn owe(&mut self, id: StreamId, at: Instant) {
        self.owed.push(id);
        self.owed_at = Some(self.owed_at.map_or(at, |known| known.min(at)));
    }

    /// Puts a session into the wheel, if what is there for it comes too late.
    pub(super) fn arm(&mut self, now: Instant, key: u32, session: &mut Session) {
        // An owner that is late already is looked at in the next millisecond, not in this turn.
        let due = session
            .due(&self.config)
            .max(now + Duration::from_millis(1));
        if session.armed.is_none_or(|armed| due < armed) {
            session.armed = Some(due);
            self.wheel.insert(due, key);
        }
    }
}

impl Session {
    fn on_time(&mut self, now: Instant, key: u32, core: &mut Core) {
        self.judge_silence(now, core);
        self.send_checks(now, core);
        if self.closing.is_some() {
            return;
        }
        self.send_remb(now);
        self.send_reports(now, core);
        self.look_at_layers(now, core);
        self.take_stock(now, core);
        self.release(now, core);
        self.catch_up_when_due(now, core);
        if self.channels_due.is_some_and(|due| due <= now) {
            self.channels_time(now, key, core);
        }
        if self.connection_due.is_some_and(|due| due <= now) {
            if self.connection.time(now).is_err() {
                self.closing = Some(if self.is_connected() {
                    CloseReason::PeerLost
                } else {
                    CloseReason::HandshakeFailed
                });
                return;
            }
            self.pump(now, key, core);
        }
    }

    /// Connectivity and consent checks, where it is our side that sends them.
    fn send_checks(&mut self, now: Instant, core: &mut Core) {
        let connected = self.is_connected();
        let Some(dialler) = self.ice.dialler_mut() else {
            return;
        };
        if dialler.is_over(now) {
            let reason = if connected {
                CloseReason::PeerLost
            } else {
                CloseReason::NeverConnected
            };
            self.enter(SessionState::Failed, core);
            self.closing.get_or_insert(reason);
            return;
        }
        while let Some((remote, check)) = dialler.poll(now) {
            core.send(remote, None, &check);
        }
    }

    /// RFC 7675: a peer that is not heard has no business being sent to.
    fn judge_silence(&mut self, now: Instant, core: &mut Core) {
        let config = &core.config;
        let silence = now.saturating_duration_since(self.heard_at);
        if !self.is_connected() {
            if now.saturating_duration_since(self.admitted_at) >= config.half_open_timeout {
                self.enter(SessionState::Failed, core);
                self.closing = Some(CloseReason::NeverConnected);
            }
            return;
        }
        if silence >= config.dead_peer_timeout {
            self.enter(SessionState::Failed, core);
            self.closing = Some(CloseReason::PeerLost);
            return;
        }
        let is_publisher = matches!(self.side, Side::Publisher(_));
        if is_publisher && !self.silent && silence >= config.silent_after {
            self.silent = true;
            core.out.events.push(Event::PublisherSilent {
                session: self.id,
                silent: true,
            });
        }
        if self.state == SessionState::Connected && silence >= limits::DISCONNECTED_AFTER {
            self.enter(SessionState::Disconnected, core);
        }
    }

    /// A publisher without transport-wide feedback is told that it may send what it likes; else
    /// it stays at the bitrate it started with.
    fn send_remb(&mut self, now: Instant) {
        let Side::Publisher(publisher) = &mut self.side else {
            return;
        };
        if publisher.remb_at.is_none_or(|at| at > now) {
            return;
        }
        publisher.remb_at = Some(now + REMB_INTERVAL);
        let sources: Vec<u32> = publisher
            .tracks
            .iter()
            .filter(|track| track.wants_remb)
            .flat_map(|track| track.layers.iter().filter_map(|layer| layer.ssrc))
            .collect();
        let Some(rtc) = self.connection.media() else {
            return;
        };
        let mut api = rtc.direct_api();
        for ssrc in sources {
            if let Some(stream) = api.stream_rx(&ssrc.into()) {
                stream.request_remb(Bitrate::mbps(REMB_MBPS));
            }
        }
        self.connection_due = Some(now);
    }
}

/// libwebrtc sends one about every second.
const REMB_INTERVAL: Duration = Duration::from_secs(1);
/// More than any publisher's encoder sends.
const REMB_MBPS: u64 = 20;
