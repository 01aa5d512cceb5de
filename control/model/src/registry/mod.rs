//! Who publishes what, who watches, and what the data plane is to be told.

mod counter;
mod drain;
mod events;
mod leave;
mod look;
mod relays;
mod scene;
mod sources;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use whitewater_link::{
    CloseReason, Command, Epoch, Live, MediaKind, Role, SessionCommand, SessionId, ShardIndex,
    StreamId, TrackInfo, Traffic,
};

pub use self::drain::{Drain, Purpose};
pub use self::scene::Scene;
use self::sources::Sources;
pub use self::summary::Summary;
use crate::session::{Pending, Session};
use crate::stream::{Origin, Stream};
use crate::{
    AbsentStream, Authority, Error, Now, Policy, Principal, Relay, Seat, Side, StreamName,
};

/// All streams and sessions of one node.
///
/// A session's life: [`publish`](Self::publish) or [`subscribe`](Self::subscribe) admits it (it
/// counts, but is not listed), [`answered`](Self::answered) makes it live,
/// [`refused`](Self::refused) or [`abandon`](Self::abandon) forgets it; one whose offer was met by a
/// [counter-offer](Self::counter_offered) stays admitted until that is answered or over; a live one
/// ends by
/// [`close_session`](Self::close_session), with its stream, or by the data plane's
/// [`closed`](Self::closed).
#[derive(Debug)]
pub struct Registry {
    policy: Policy,
    streams: BTreeMap<StreamName, Stream>,
    names: HashMap<StreamId, StreamName>,
    pending: HashMap<SessionId, Pending>,
    sessions: HashMap<SessionId, Session>,
    /// Gone for the API, not yet for the data plane, and since when.
    closing: HashMap<SessionId, Instant>,
    /// Live sessions whose authorisation ends, the next one first.
    ends: BTreeSet<(Instant, SessionId)>,
    outbox: VecDeque<Command>,
    drain: Option<Drain>,
    /// Whether the data plane was told to end.
    shut_down: bool,
    stream_serial: u64,
    epoch_serial: u64,
    arrival_serial: u64,
    revision: u64,
    publisher_count: usize,
    /// Live viewers that take nobody's place.
    free_seats: usize,
    /// Live sessions that never were connected.
    unconnected_count: usize,
    sources: Sources,
    totals: Totals,
}

/// What a POST may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The stream's number.
    pub stream: StreamId,
    /// The role to negotiate.
    pub role: Role,
    /// For `a=msid` and the CNAME: token characters of RFC 8830 §2 only, 1..=64 of them; the same
    /// for all sessions of the stream.
    pub msid: String,
    /// Of a viewer: who publishes now.
    pub live: Option<Live>,
}

/// What the data plane made of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Where it lives.
    pub shard: ShardIndex,
    /// What was negotiated, in m-line order.
    pub tracks: Vec<TrackInfo>,
    /// Whether a data channel was.
    pub has_data_channel: bool,
    /// Which m-line, counted from 0, is the accepted video section.
    pub video_line: Option<u16>,
    /// Names its ICE session from now on.
    pub ice_tag: u128,
}

/// What is needed to speak to a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    /// Where it lives.
    pub shard: ShardIndex,
    /// Names its current ICE session.
    pub ice_tag: u128,
    /// Its side.
    pub side: Side,
}

/// How many there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams.
    pub streams: usize,
    /// Live publishers.
    pub publishers: usize,
    /// Live viewers.
    pub viewers: usize,
    /// Sessions being negotiated.
    pub pending: usize,
    /// Live sessions that never were connected.
    pub unconnected: usize,
    /// Sessions the data plane has not yet let go.
    pub closing: usize,
}

/// Counters since start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// RTP from publishers.
    pub rtp_in: Traffic,
    /// RTP to viewers.
    pub rtp_out: Traffic,
    /// Sessions that were answered, publishers and viewers.
    pub opened: [u64; 2],
    /// Sessions that ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Publishers that replaced a silent one.
    pub takeovers: u64,
    /// Retransmissions to viewers.
    pub repeated: Traffic,
    /// Padding to viewers, by which paths are measured.
    pub padding: Traffic,
    /// Key frames of publishers.
    pub keyframes: u64,
    /// Requests for key frames: to publishers, from viewers.
    pub keyframe_requests: [u64; 2],
    /// Packets of publishers that never came.
    pub lost: u64,
    /// Findings that were raised, by code.
    pub found: BTreeMap<&'static str, u64>,
}

impl Registry {
    /// An empty one.
    pub fn new(policy: Policy) -> Self {
        Registry {
            policy,
            streams: BTreeMap::new(),
            names: HashMap::new(),
            pending: HashMap::new(),
            sessions: HashMap::new(),
            closing: HashMap::new(),
            ends: BTreeSet::new(),
            outbox: VecDeque::new(),
            drain: None,
            shut_down: false,
            stream_serial: 0,
            epoch_serial: 0,
            arrival_serial: 0,
            revision: 0,
            publisher_count: 0,
            free_seats: 0,
            unconnected_count: 0,
            sources: Sources::default(),
            totals: Totals::default(),
        }
    }

    /// Makes a stream that stays until it is destroyed.
    ///
    /// One that a publisher or viewer brought along becomes no other by this: it exists.
    ///
    /// # Errors
    /// `StreamExists`, `LimitReached`, `Draining`.
    pub fn create_stream(&mut self, name: &StreamName, now: Now) -> Result<(), Error> {
        if self.is_draining() {
            return Err(Error::Draining);
        }
        if self.streams.contains_key(name) {
            return Err(Error::StreamExists);
        }
        self.insert_stream(name, Origin::Created, now).map(|_| ())
    }

    /// Takes the name away and ends all its sessions; they are gone for the API at once.
    ///
    /// # Errors
    /// `NoSuchStream`.
    pub fn destroy_stream(&mut self, name: &StreamName, now: Now) -> Result<(), Error> {
        if !self.streams.contains_key(name) {
            return Err(Error::NoSuchStream);
        }
        self.remove_stream(name, now);
        Ok(())
    }

    /// Admits a publisher. It holds the stream's only claim until the data plane has answered;
    /// a publisher it replaces under the take-over rule stays until then.
    ///
    /// # Errors
    /// `AlreadyPublished`, `NoSuchStream`, `LimitReached`, `Draining`; nothing has changed then.
    pub fn publish(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        now: Now,
    ) -> Result<Admission, Error> {
        self.admit_any()?;
        match self.streams.get(name) {
            Some(stream) => self.admit_publisher(stream, &owner, now)?,
            None if self.policy.auto_create_whip => {}
            None => return Err(Error::NoSuchStream),
        }
        self.admit_to_node(name, Side::Publish)?;
        self.insert_publisher(name, session, owner, Relay::default(), now)
    }

    /// Admits a viewer.
    ///
    /// # Errors
    /// `NotLive`, `NoSuchStream`, `LimitReached`, `Draining`; nothing has changed then.
    pub fn subscribe(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        now: Now,
    ) -> Result<Admission, Error> {
        self.admit_any()?;
        let live = match self.streams.get(name) {
            Some(stream) => {
                let max = self.policy.each_stream_max_sub as usize;
                if stream.seated_count() >= max {
                    return Err(limit("strategy.each_stream_max_sub", max));
                }
                stream.publisher.is_some()
            }
            None if self.policy.auto_create_whep => false,
            None => return Err(Error::NoSuchStream),
        };
        if !live && self.policy.absent == AbsentStream::Refuse {
            return Err(Error::NotLive {
                retry_after: ABSENT_RETRY_AFTER,
            });
        }
        if self.policy.each_stream_max_sub == 0 {
            return Err(limit("strategy.each_stream_max_sub", 0));
        }
        self.admit_to_node(name, Side::Subscribe)?;
        self.insert_pending(name, session, owner, Role::Subscribe, Relay::default(), now)
    }

    /// Says what an admitted session, which the data plane has not answered yet, was admitted
    /// under: it ends with that.
    pub fn rest_on(&mut self, session: SessionId, authority: Authority) {
        if let Some(pending) = self.pending.get_mut(&session) {
            pending.authority = Some(authority);
        }
    }

    /// A live session of this stream, if it is this principal's.
    ///
    /// # Errors
    /// `NoSuchSession`, also when the stream is unknown: both look the same from outside.
    pub fn session(
        &self,
        name: &StreamName,
        session: SessionId,
        principal: &Principal,
    ) -> Result<SessionRef, Error> {
        let found = self.sessions.get(&session).ok_or(Error::NoSuchSession)?;
        if found.name != *name || found.owner != *principal {
            return Err(Error::NoSuchSession);
        }
        Ok(SessionRef {
            shard: found.shard,
            ice_tag: found.ice_tag,
            side: found.role.into(),
        })
    }

    /// Ends a session on its owner's wish; it is gone for the API at once. A stream stays when
    /// its publisher goes.
    ///
    /// # Errors
    /// `NoSuchSession`.
    pub fn close_session(
        &mut self,
        name: &StreamName,
        session: SessionId,
        principal: &Principal,
        now: Now,
    ) -> Result<(), Error> {
        if self.counter_offer(name, session, principal).is_ok() {
            self.refused(session, now);
            return Ok(());
        }
        self.session(name, session, principal)?;
        self.hang_up(session, CloseReason::Deleted, now);
        Ok(())
    }

    /// Pauses or resumes one kind of media of a session: what a viewer is sent, or what a
    /// publisher's viewers are sent.
    ///
    /// # Errors
    /// `NoSuchSession`.
    pub fn mute(
        &mut self,
        name: &StreamName,
        session: SessionId,
        principal: &Principal,
        kind: MediaKind,
        muted: bool,
    ) -> Result<(), Error> {
        let SessionRef { shard, .. } = self.session(name, session, principal)?;
        if let Some(found) = self.sessions.get_mut(&session) {
            found.set_muted(kind, muted);
        }
        self.outbox.push_back(Command::Session {
            shard,
            session,
            command: SessionCommand::Mute { kind, muted },
        });
        self.revision += 1;
        Ok(())
    }

    /// What the data plane is to be told, oldest first. To be emptied after every verb; the
    /// commands in it must not be lost.
    pub fn outbox(&mut self) -> &mut VecDeque<Command> {
        &mut self.outbox
    }

    fn admit_any(&self) -> Result<(), Error> {
        if self.is_draining() {
            return Err(Error::Draining);
        }
        if self.is_full_of_half_open() {
            let half_open_max = self.policy.half_open_max as usize;
            return Err(limit("limits.sessions_half_open_max", half_open_max));
        }
        let sessions_max = self.policy.sessions_max as usize;
        if self.session_count() >= sessions_max {
            return Err(limit("limits.sessions_max", sessions_max));
        }
        Ok(())
    }

    /// What the node takes of each side. Who replaces a publisher takes his place.
    fn admit_to_node(&self, name: &StreamName, side: Side) -> Result<(), Error> {
        let stream = self.streams.get(name);
        let replaces = stream.is_some_and(|stream| stream.publisher.is_some());
        let (what, max, live) = match side {
            Side::Publish if replaces => return Ok(()),
            Side::Publish => ("node.pub_max", self.policy.pub_max, self.publisher_count),
            Side::Subscribe => {
                let viewers = self.sessions.len() - self.publisher_count;
                // Those that pass a stream on take nobody's place.
                let seated = viewers.saturating_sub(self.free_seats);
                ("node.sub_max", self.policy.sub_max, seated)
            }
        };
        let max = max as usize;
        let pending = self.pending.values();
        let counts = |pending: &&Pending| {
            Side::from(pending.role) == side && pending.relay.seat == Seat::Counted
        };
        let pending = pending.filter(counts);
        if live + pending.count() >= max {
            return Err(limit(what, max));
        }
        Ok(())
    }

    fn is_full_of_half_open(&self) -> bool {
        self.pending.len() + self.unconnected_count >= self.policy.half_open_max as usize
    }

    fn admit_publisher(&self, stream: &Stream, owner: &Principal, now: Now) -> Result<(), Error> {
        let occupied = Error::AlreadyPublished {
            retry_after: self.policy.silent_after,
        };
        if stream.claim.is_some() {
            return Err(occupied);
        }
        let Some(publisher) = stream.publisher.and_then(|id| self.sessions.get(&id)) else {
            return Ok(());
        };
        let silent_after = self.policy.silent_after;
        if publisher.owner == *owner
            && publisher.may_be_replaced(self.policy.takeover, silent_after, now)
        {
            Ok(())
        } else {
            Err(occupied)
        }
    }

    fn insert_stream(
        &mut self,
        name: &StreamName,
        origin: Origin,
        now: Now,
    ) -> Result<StreamId, Error> {
        let max = self.policy.streams_max as usize;
        if self.streams.len() >= max {
            return Err(limit("limits.streams_max", max));
        }
        self.stream_serial += 1;
        let id = StreamId(self.stream_serial);
        self.streams
            .insert(name.clone(), Stream::new(id, origin, now));
        self.names.insert(id, name.clone());
        self.revision += 1;
        Ok(id)
    }

    fn insert_publisher(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        relay: Relay,
        now: Now,
    ) -> Result<Admission, Error> {
        let epoch = Epoch(self.epoch_serial + 1);
        let role = Role::Publish { epoch };
        let admission = self.insert_pending(name, session, owner, role, relay, now)?;
        self.epoch_serial = epoch.0;
        Ok(admission)
    }

    fn insert_pending(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        role: Role,
        relay: Relay,
        now: Now,
    ) -> Result<Admission, Error> {
        let id = match self.streams.get(name) {
            Some(stream) => stream.id,
            None => self.insert_stream(name, Origin::Auto, now)?,
        };
        if let Some(stream) = self.streams.get_mut(name) {
            match role {
                Role::Publish { .. } => stream.claim = Some(session),
                Role::Subscribe => {
                    stream.viewers_pending += 1;
                    stream.free_seats += usize::from(relay.seat == Seat::Free);
                }
            }
            stream.note_occupancy(now);
        }
        self.arrival_serial += 1;
        let live = match role {
            Role::Publish { .. } => None,
            Role::Subscribe => self.live(name),
        };
        let pending = Pending {
            stream: id,
            name: name.clone(),
            role,
            owner,
            serial: self.arrival_serial,
            authority: None,
            counter_offer: None,
            joined_under: live.as_ref().map(|live| live.epoch),
            relay,
        };
        let earlier = self.pending.insert(session, pending);
        debug_assert!(earlier.is_none(), "session ids are random and used once");
        Ok(Admission {
            stream: id,
            role,
            msid: msid(name, id),
            live,
        })
    }

    fn live(&self, name: &StreamName) -> Option<Live> {
        let stream = self.streams.get(name)?;
        let publisher = self.sessions.get(&stream.publisher?)?;
        // Before the first packet it may be any of the agreed codecs.
        let tracks = if stream.heard {
            stream.tracks.clone()
        } else {
            Vec::new()
        };
        Some(Live {
            epoch: publisher.epoch()?,
            tracks,
        })
    }

    fn session_count(&self) -> usize {
        self.pending.len() + self.sessions.len() + self.closing.len()
    }
}

fn limit(what: &'static str, max: usize) -> Error {
    Error::LimitReached {
        what,
        max: max as u64,
    }
}

/// The stream's name where it can stand in an `a=msid`, else its number.
fn msid(name: &StreamName, id: StreamId) -> String {
    // RFC 8830 §2: an msid-id has 1..=64 token characters, which RFC 4566 §9 lists.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b);
    let text = name.as_str();
    // "-" alone says "no stream" (RFC 8830 §2).
    if text.len() <= 64 && text.bytes().all(token) && text != "-" {
        text.to_owned()
    } else {
        format!("stream-{}", id.0)
    }
}

/// A viewer asks again after this long: short, the publisher may be about to start.
const ABSENT_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);
