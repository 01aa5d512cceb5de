//! The way of a packet: in from a publisher, into its stream's turn, out to every viewer.

use std::time::Instant;

use str0m::Rtc;
use str0m::media::KeyframeRequestKind;
use str0m::rtp::RtpPacket;
use whitewater_link::{
    CloseReason, Epoch, Event, LAYERS_ALL, MediaKind, PacketMeta, Relay, RelayPacket, Role,
    SessionId, SessionState, StreamId, TrackInfo,
};
use whitewater_rtp::demux::{Kind, classify};
use whitewater_rtp::payload::{Codec, vp9};

use super::{Core, Datagram, Engine};
use crate::config::AudioRed;
use crate::drops::DropReason;
use crate::forward::batch::Batch;
use crate::forward::egress::{Packet, Turn, bit};
use crate::forward::extension;
use crate::forward::ingress::{IngressTrack, KeyframeRequestForm};
use crate::forward::layers::ScaleMeter;
use crate::forward::pictures;
use crate::forward::runs;
use crate::forward::scale;
use crate::forward::stream::Source;
use crate::limits;
use crate::session::agent::Agent;
use crate::session::connection::{Connection, Step};
use crate::session::{Publisher, Session, Side, SourceTrack};

impl Engine {
    /// Sends this turn's packets to the viewers here and to the shards that want them.
    pub(super) fn flush_streams(&mut self, now: Instant, send: &mut dyn FnMut(&mut Batch)) {
        self.core.later_at = None;
        let mut dirty = std::mem::take(&mut self.core.dirty);
        // A stream some of whose packets wait stays among them.
        dirty.retain(|&id| self.flush_stream(now, id, send).is_some());
        self.core.dirty = dirty;
    }

    /// Sends what may be sent of one stream; `Some` when the rest waits.
    fn flush_stream(
        &mut self,
        now: Instant,
        id: StreamId,
        send: &mut dyn FnMut(&mut Batch),
    ) -> Option<()> {
        let send_time = self.core.send_time(now);
        let stream = self.core.streams.get_mut(&id)?;
        let epoch = stream.epoch?;
        let mut packets = std::mem::take(&mut stream.pending);
        let mut later = std::mem::take(&mut self.core.later);
        let hold = self.core.config.hold;
        let due = match hold.is_zero() {
            true => None,
            false => runs::part(now, hold, &mut packets, &mut later),
        };
        let viewers = std::mem::take(&mut stream.viewers);
        let tracks = stream.tracks.clone();
        if self.core.config.audio_red == AudioRed::Make {
            stream.sound.tie(&tracks, &mut packets);
        }
        self.core.relay_packets(id, epoch, &mut packets);
        if self.core.config.pad_runs {
            runs::even_out(&mut packets);
        }
        let mut waiting = false;
        let turn = Turn {
            now,
            epoch,
            tracks: &tracks,
            packets: &packets,
            send_time,
            video_bytes: video_bytes(&packets),
        };
        for &key in &viewers {
            self.with_session(now, key, |session, core| {
                waiting |= session.forward(&turn, core);
            });
            if self.core.batch.is_full() {
                self.core.send_batch(send);
            }
        }
        let stream = self.core.streams.get_mut(&id)?;
        // Nobody joins or leaves while the turn is flushed: leaving is at its end.
        stream.viewers = viewers;
        let (here, there) = (stream.viewers_admitted > 0, stream.wanted_by != 0);
        if !here && !there {
            // What has a hole at its end is nothing to begin with.
            stream.kept.clear();
        }
        for packet in packets.drain(..) {
            // Other shards are told what a viewer can begin with; they answer their own NACKs.
            if here || there && packet.meta.kind == MediaKind::Video {
                stream.keep(now, packet);
            }
        }
        // Whichever of the two is empty is room for later turns.
        (stream.pending, self.core.later) = match due {
            Some(_) => (later, packets),
            None => (packets, later),
        };
        if waiting && stream.retry_at.is_none() {
            let at = now + limits::KEYFRAME_RETRY_INTERVAL;
            stream.retry_at = Some(at);
            self.core.owe(id, at);
        }
        let due = due?;
        let earliest = self.core.later_at.map_or(due, |at| at.min(due));
        self.core.later_at = Some(earliest);
        Some(())
    }
}

/// What a turn's video comes to, headers and all.
fn video_bytes(packets: &[Packet]) -> usize {
    let video = packets.iter().filter(|p| p.meta.kind == MediaKind::Video);
    let sizes = video.map(|p| p.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL);
    sizes.sum()
}

impl Core {
    fn relay_packets(&mut self, id: StreamId, epoch: Epoch, packets: &mut [Packet]) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if stream.wanted_by == 0 || !matches!(stream.source, Some(Source::Here(_))) {
            return;
        }
        for (to, layers) in stream.wanting_shards() {
            for packet in packets.iter() {
                if packet.meta.kind == MediaKind::Video && layers & bit(packet.meta.layer) == 0 {
                    continue;
                }
                let relayed = RelayPacket {
                    stream: id,
                    epoch,
                    meta: packet.meta.clone(),
                    payload: packet.payload.clone(),
                };
                self.out.relays.push((to, Relay::Packet(relayed)));
            }
        }
    }

    /// A packet from the publisher's shard.
    pub(super) fn take_relayed(&mut self, packet: RelayPacket) {
        let Some(stream) = self.streams.get_mut(&packet.stream) else {
            return;
        };
        if stream.epoch != Some(packet.epoch) {
            self.drops.count(DropReason::StaleEpoch);
            return;
        }
        self.take_packet(packet.stream, Packet::copied(packet));
    }

    fn take_packet(&mut self, id: StreamId, packet: Packet) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.pending.len() >= limits::PACKETS_PER_TURN_MAX {
            self.drops.count(DropReason::TurnOverflow);
            return;
        }
        if stream.pending.is_empty() {
            self.dirty.push(id);
        }
        stream.pending.push(packet);
    }
}

impl Session {
    /// A connectivity check.
    pub(super) fn check(
        &mut self,
        now: Instant,
        key: u32,
        datagram: Datagram<'_>,
        core: &mut Core,
    ) {
        let (remote, local) = (datagram.source, datagram.local.ip());
        let checked = match self.ice.check(now, remote, local, datagram.bytes) {
            Ok(checked) => checked,
            Err(reason) => return core.drops.count(reason),
        };
        if !checked.reply.is_empty() {
            core.send(remote, Some(local), &checked.reply);
        }
        self.heard(now, core);
        if let Some(address) = checked.forgotten {
            core.forget_address(address, key);
        }
        if let Some(ufrag) = checked.retired_ufrag {
            core.by_ufrag.remove(&ufrag);
        }
        if let Some(address) = checked.verified {
            core.learn_address(address, key);
        }
        if self.state == SessionState::New {
            self.enter(SessionState::Connecting, core);
        }
        if checked.path_changed {
            tracing::debug!(session = ?self.id, "media path nominated");
            // The first one opens str0m's way out; later ones only change the destination.
            if !self.connect_path(now, core) {
                self.closing = Some(CloseReason::Internal);
                return;
            }
            self.pump(now, key, core);
        }
    }

    /// DTLS, SRTP or SRTCP from a verified address.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        key: u32,
        kind: Kind,
        datagram: Datagram<'_>,
        core: &mut Core,
    ) {
        if let Side::Viewer(_) = self.side {
            match kind {
                Kind::Rtcp => return self.feedback(now, datagram.bytes, core),
                Kind::Rtp => return core.drops.count(DropReason::UnexpectedMedia),
                _ => {}
            }
        }
        let quiet = now.saturating_duration_since(self.heard_at) >= limits::LIVENESS_CHECK_AFTER;
        if kind == Kind::Rtcp && quiet {
            let mut scratch = std::mem::take(&mut core.scratch);
            if self.is_authentic_rtcp(datagram.bytes, &mut scratch) {
                self.heard(now, core);
            }
            core.scratch = scratch;
        }
        if kind == Kind::Rtp {
            let mut scratch = std::mem::take(&mut core.scratch);
            let admitted = self.admits_source(datagram.bytes, &mut scratch);
            core.scratch = scratch;
            if let Err(reason) = admitted {
                return core.drops.count(reason);
            }
        }
        if let Err(error) = self.connection.receive(now, datagram.bytes) {
            core.drops.count(DropReason::Malformed);
            if kind == Kind::Dtls {
                tracing::debug!(session = ?self.id, %error, "DTLS refused");
            }
            if kind == Kind::Dtls && !self.is_connected() && !self.connection.is_alive() {
                self.closing = Some(CloseReason::HandshakeFailed);
                return;
            }
        }
        self.pump(now, key, core);
    }

    /// Something authentic arrived.
    pub(super) fn heard(&mut self, now: Instant, core: &mut Core) {
        self.heard_at = now;
        if self.state == SessionState::Disconnected {
            self.enter(SessionState::Connected, core);
        }
        if std::mem::take(&mut self.silent) {
            core.out.events.push(Event::PublisherSilent {
                session: self.id,
                silent: false,
            });
        }
    }

    /// Takes everything out of the connection and the data channels that there is.
    pub(super) fn pump(&mut self, now: Instant, key: u32, core: &mut Core) {
        self.pump_connection(now, key, core);
        while self.pump_channels(now, key, core) {
            self.pump_connection(now, key, core);
        }
    }

    fn pump_connection(&mut self, now: Instant, key: u32, core: &mut Core) {
        loop {
            let Session {
                connection,
                side,
                ice,
                ..
            } = self;
            let mut send = |datagram: &[u8]| pass_on(datagram, side, ice, core);
            match connection.poll(&mut send) {
                Ok(Step::Idle(at)) => {
                    self.connection_due = at;
                    return;
                }
                Ok(Step::Connected) => self.on_connected(now, key, core),
                Ok(Step::Packet(packet)) => self.on_packet(now, packet, core),
                Ok(Step::Record(record)) => self.on_record(now, record, core),
                Ok(Step::Closed) => {
                    self.closing.get_or_insert(CloseReason::PeerClosed);
                }
                Ok(Step::Other) => {}
                Err(error) => {
                    tracing::debug!(session = ?self.id, %error, "connection failed");
                    if !self.is_connected() {
                        self.enter(SessionState::Failed, core);
                        self.closing = Some(CloseReason::HandshakeFailed);
                    } else {
                        self.closing = Some(CloseReason::PeerClosed);
                    }
                    return;
                }
            }
        }
    }

    fn on_connected(&mut self, now: Instant, key: u32, core: &mut Core) {
        match self.take_keys() {
            true => self.begin(now, key, core),
            false => self.closing = Some(CloseReason::Internal),
        }
    }

    /// Everything that is needed to talk is there.
    pub(super) fn begin(&mut self, now: Instant, key: u32, core: &mut Core) {
        self.heard(now, core);
        self.enter(SessionState::Connected, core);
        if let Some(channels) = &mut self.channels {
            channels.begin();
        }
        match &mut self.side {
            Side::Viewer(_) => {
                if let Some(stream) = core.streams.get_mut(&self.stream) {
                    if stream.viewers.len() < limits::VIEWERS_PER_SHARD_MAX {
                        stream.viewers.push(key);
                    }
                    if !self.join(now, core) {
                        core.wanted.push((self.stream, self.awaited_layers()));
                    }
                }
            }
            Side::Publisher(publisher) => {
                publisher.stock.at = Some(now + limits::STOCK_INTERVAL);
                if publisher.tracks.iter().any(IngressTrack::is_layered) {
                    publisher.layers_at = Some(now);
                }
                if publisher.tracks.iter().any(|track| track.wants_remb) {
                    publisher.remb_at = Some(now);
                }
            }
        }
    }

    fn on_packet(&mut self, now: Instant, packet: RtpPacket, core: &mut Core) {
        self.heard(now, core);
        let Session {
            side: Side::Publisher(publisher),
            role: Role::Publish { epoch },
            connection: Connection::Media(rtc, _),
            stream,
            id,
            ..
        } = self
        else {
            return;
        };
        let ssrc = *packet.header.ssrc;
        let Some(source) = publisher.source_of(rtc, ssrc) else {
            return;
        };
        if packet.payload.is_empty() {
            // Padding: a probe, nothing to forward.
            return;
        }
        if core
            .streams
            .get(stream)
            .is_none_or(|s| s.epoch != Some(*epoch))
        {
            core.drops.count(DropReason::StaleEpoch);
            return;
        }
        let pt = *packet.header.payload_type;
        publisher.note_codec(now, source, pt, *stream, *epoch, core);
        let Some(packet) = publisher.packet(now, (*id, source), packet, core) else {
            return;
        };
        core.take_packet(*stream, packet);
    }

    /// Asks the publisher for key frames of these layers, one bit each, and of those that had to
    /// wait, if their time has come. Returns when to try again.
    pub(super) fn request_keyframe(&mut self, now: Instant, layers: u8) -> Option<Instant> {
        let Side::Publisher(publisher) = &mut self.side else {
            return None;
        };
        let track = publisher.video()?;
        let kind = match track.request {
            KeyframeRequestForm::Pli => KeyframeRequestKind::Pli,
            KeyframeRequestForm::Fir => KeyframeRequestKind::Fir,
            KeyframeRequestForm::None => return None,
        };
        let mut due: Option<Instant> = None;
        for (index, layer) in (0_u8..).zip(&mut track.layers) {
            // Before its first packet there is nobody to ask, and the first frame is a key frame.
            let Some(ssrc) = layer.ssrc else {
                continue;
            };
            let send = if layers & bit(index) != 0 {
                layer.throttle.request(now)
            } else {
                layer.throttle.poll(now)
            };
            if send {
                track.report.keyframe_requests += 1;
                let rtc = self.connection.media();
                let mut api = rtc.map(Rtc::direct_api);
                if let Some(stream) = api.as_mut().and_then(|api| api.stream_rx(&ssrc.into())) {
                    stream.request_keyframe(kind);
                }
            }
            due = due.into_iter().chain(layer.throttle.due()).min();
        }
        due
    }

    /// The layers whose next key frame this viewer waits for, one bit each.
    pub(super) fn awaited_layers(&self) -> u8 {
        match &self.side {
            Side::Viewer(viewer) => viewer.awaits(),
            Side::Publisher(_) => LAYERS_ALL,
        }
    }
}

/// Sends what a connection wants sent.
fn pass_on(datagram: &[u8], side: &Side, ice: &Agent, core: &mut Core) {
    match (classify(datagram), side) {
        // The answer to `Connection::open`'s check: the inner path is on no wire.
        (Kind::Stun, _) => return,
        // Sealed under keys whose packet indices are counted elsewhere (`Outlet`).
        (Kind::Rtp | Kind::Rtcp, Side::Viewer(_)) => {
            debug_assert!(false, "a viewer's connection has no media");
            return core.drops.count(DropReason::SealRefused);
        }
        _ => {}
    }
    if let Some(path) = ice.path() {
        core.send(path.remote, Some(path.local), datagram);
    }
}

impl Publisher {
    /// Tells control which codec is in use, when that is news.
    fn note_codec(
        &mut self,
        now: Instant,
        source: SourceTrack,
        pt: u8,
        stream: StreamId,
        epoch: Epoch,
        core: &mut Core,
    ) {
        let Some(track) = self.tracks.get_mut(usize::from(source.track)) else {
            return;
        };
        let Some(layer) = track.layers.get_mut(usize::from(source.layer)) else {
            return;
        };
        layer.ssrc = Some(source.ssrc);
        if layer.pt == Some(pt) {
            return;
        }
        let codec_of = |pt: Option<u8>| {
            let description = &track.description;
            pt.and_then(|pt| description.codecs.iter().find(|codec| codec.pt == pt))
        };
        let (before, after) = (codec_of(layer.pt), codec_of(Some(pt)));
        let news = before != after;
        let names = before
            .zip(after)
            .map(|(one, other)| (&one.name, &other.name));
        // Redundancy is no other codec: it comes and goes.
        let is_red = |name: &String| name.eq_ignore_ascii_case("red");
        if names.is_some_and(|(one, other)| one != other && !is_red(one) && !is_red(other)) {
            track.switched_at = Some(now);
        }
        layer.pt = Some(pt);
        if news {
            core.out.events.push(Event::StreamUp {
                stream,
                epoch,
                tracks: self.tracks_in_use(),
            });
        }
    }

    fn tracks_in_use(&self) -> Vec<TrackInfo> {
        let info = |track: &IngressTrack| {
            let codec = track.codec(track.layers.iter().find_map(|layer| layer.pt)?)?;
            Some(TrackInfo {
                mid: track.mid.clone(),
                kind: track.kind,
                codec: codec.name.clone(),
                fmtp: codec.fmtp.clone(),
            })
        };
        self.tracks.iter().filter_map(info).collect()
    }

    fn packet(
        &mut self,
        now: Instant,
        (session, source): (SessionId, SourceTrack),
        packet: RtpPacket,
        core: &mut Core,
    ) -> Option<Packet> {
        let track = self.tracks.get_mut(usize::from(source.track))?;
        let header = &packet.header;
        let size = header.header_len + packet.payload.len();
        track.report.traffic.count(size);
        if let Some(loudness) = track.inspect(now, source.layer, &packet, size) {
            core.out.events.push(Event::Speaking { session, loudness });
        }
        let pt = *header.payload_type;
        let codec = track.readable(pt);
        if track.is_broken(pt, &packet.payload) {
            core.drops.count(DropReason::Malformed);
            return None;
        }
        let is_layered = track.is_layered();
        let layer = track.layers.get_mut(usize::from(source.layer))?;
        let descriptor = extension::dependency(&header.ext_vals);
        let keyframe_start = layer.begins_key(codec, &packet.payload, descriptor);
        layer.note(now, size, header.marker);
        if keyframe_start {
            let is_another = layer.keys.note(now, header.timestamp);
            track.report.keyframes += u64::from(is_another);
            layer.throttle.served(now);
        }
        // Parameter sets may come in packets of their own, none of which a descriptor calls the start.
        let has_sets = matches!(codec, Some(Codec::H264 | Codec::H265));
        let tells_size = keyframe_start || has_sets && layer.keys.is_of(header.timestamp);
        if tells_size {
            layer.note_size(codec.and_then(|codec| codec.picture_size(&packet.payload)));
        }
        let passed = extension::passed(&header.ext_vals);
        let frame = layer.frame(passed.dependency_descriptor.as_deref());
        let read = |codec| scale::read(codec, &packet.payload, header.marker, frame);
        let scale = codec.and_then(read);
        if let Some(scale) = scale.filter(|_| is_layered) {
            layer.note_scale(now, size, scale);
        } else if let Some(scale) = scale {
            let upper = scale.spatial > 0 || scale.temporal > 0;
            if upper && track.scalable.is_none() {
                let mut meter: Box<ScaleMeter> = Box::default();
                meter.note_sizes(layer.sizes());
                track.scalable = Some(meter);
                self.layers_at = Some(now);
            }
            if let Some(meter) = &mut track.scalable {
                meter.note(now, size, scale);
                if tells_size {
                    match codec {
                        Some(Codec::Vp9) => meter.note_sizes(vp9::sizes(&packet.payload)),
                        _ => meter.note_sizes(layer.sizes()),
                    }
                }
            }
        }
        let report = packet
            .last_sender_info
            .as_ref()
            .map(|info| (info.ntp_time, info.rtp_time.numer() as u32));
        let timestamp = header.timestamp;
        let anchor = &mut self.anchor;
        let captured_at = track.captured_at(now, source.layer, pt, timestamp, report, anchor);
        if track.muted {
            core.drops.count(DropReason::Muted);
            return None;
        }
        Some(Packet {
            meta: PacketMeta {
                track: source.track,
                kind: track.kind,
                layer: source.layer,
                pt,
                marker: header.marker,
                keyframe_start,
                ssrc: *header.ssrc,
                run: track.run,
                seq: *packet.seq_no,
                timestamp,
                captured_at,
                arrived_at: now,
                scale,
                pictures: codec.and_then(|codec| pictures::read(codec, &packet.payload)),
                extensions: passed,
            },
            payload: packet.payload,
            padded: None,
            older: None,
        })
    }
}
