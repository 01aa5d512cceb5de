//! A data plane that does as the offers say: a thread with the other end of the line.
//!
//! Offers and fragments carry their wishes as attributes, e.g. `a=x-refuse:unsupported`.

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use whitewater_link::{
    CloseReason, Command, ControlPort, Epoch, Event, Intake, Locality, LoopReport, MakeOffer,
    MediaKind, PatchOutcome, PatchRefusal, PlanePort, Reception, Refusal, Report, Role, Selection,
    SessionCommand, SessionId, SessionReport, SessionState, ShardIndex, StreamId, TrackInfo,
    TrackReport, Traffic, line,
};

/// The test's handle on it.
pub(crate) struct Fake {
    seen: Arc<Mutex<Seen>>,
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What it saw, oldest first.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// What other servers answered to restarts.
    pub(crate) restarted: Vec<String>,
    pub(crate) negotiated: Vec<(SessionId, StreamId, Role, Locality, String)>,
    pub(crate) closed: Vec<(SessionId, CloseReason)>,
    pub(crate) destroyed: Vec<StreamId>,
    pub(crate) muted: Vec<(SessionId, MediaKind, bool)>,
    pub(crate) selected: Vec<(SessionId, Selection)>,
    pub(crate) patched: Vec<(SessionId, String)>,
    pub(crate) withdrawn: Vec<SessionId>,
    pub(crate) shutdowns: usize,
    pub(crate) live: usize,
}

enum Order {
    Event(Event),
    Count(SessionId, Traffic),
    Intake(SessionId, Intake),
    Reporting(bool),
    Held(bool),
    End,
}

impl Fake {
    /// Starts one with two shards.
    pub(crate) fn start() -> (Self, ControlPort) {
        let (control, plane) = line(SHARDS, 4096).expect("descriptors");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (orders, inbox) = mpsc::channel();
        let thread = std::thread::spawn({
            let seen = seen.clone();
            move || Plane::new(plane, seen, inbox).run()
        });
        let fake = Fake {
            seen,
            orders,
            thread: Some(thread),
        };
        (fake, control)
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("no test panicked inside"))
    }

    pub(crate) fn tell(&self, event: Event) {
        self.order(Order::Event(event));
    }

    pub(crate) fn state(&self, session: SessionId, state: SessionState) {
        self.tell(Event::StateChanged { session, state });
    }

    /// From now on this session's reports say so.
    pub(crate) fn count(&self, session: SessionId, traffic: Traffic) {
        self.order(Order::Count(session, traffic));
    }

    /// From now on a publisher's reports say that it brings this.
    pub(crate) fn brings(&self, session: SessionId, intake: Intake) {
        self.order(Order::Intake(session, intake));
    }

    pub(crate) fn set_reporting(&self, on: bool) {
        self.order(Order::Reporting(on));
    }

    /// While held it reads no command.
    pub(crate) fn set_held(&self, held: bool) {
        self.order(Order::Held(held));
    }

    /// The whole data plane goes away.
    pub(crate) fn die(&mut self) {
        self.order(Order::End);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake data plane panicked");
        }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the fake data plane lives");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the fake data plane panicked");
        }
    }
}

struct Plane {
    port: PlanePort,
    seen: Arc<Mutex<Seen>>,
    orders: mpsc::Receiver<Order>,
    sessions: HashMap<SessionId, Session>,
    offered: HashMap<SessionId, whitewater_link::Negotiate>,
    late: Vec<(Instant, Event)>,
    reporting: bool,
    held: bool,
    reported_at: Option<Instant>,
    next_shard: usize,
}

struct Session {
    stream: StreamId,
    shard: usize,
    ufrag: Option<String>,
    restarts: u32,
    traffic: Traffic,
    layer: Option<u8>,
    intake: Option<Intake>,
}

impl Plane {
    fn new(port: PlanePort, seen: Arc<Mutex<Seen>>, orders: mpsc::Receiver<Order>) -> Self {
        Plane {
            port,
            seen,
            orders,
            sessions: HashMap::new(),
            offered: HashMap::new(),
            late: Vec::new(),
            reporting: true,
            held: false,
            reported_at: None,
            next_shard: 0,
        }
    }

    fn run(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Event(event) => self.tell(event),
                    Order::Count(session, traffic) => {
                        if let Some(found) = self.sessions.get_mut(&session) {
                            found.traffic = traffic;
                        }
                    }
                    Order::Intake(session, intake) => {
                        if let Some(found) = self.sessions.get_mut(&session) {
                            found.intake = Some(intake);
                        }
                    }
                    Order::Reporting(on) => self.reporting = on,
                    Order::Held(held) => self.held = held,
                    Order::End => return,
                }
            }
            while !self.held
                && let Some(command) = self.port.commands.pop()
            {
                self.obey(command);
            }
            self.tell_late();
            self.report();
            self.note(|seen, live| seen.live = live);
            self.port.bell.arm();
            if self.held || self.port.commands.is_empty() {
                self.port.bell.wait_for(Duration::from_millis(2));
            }
            self.port.bell.answer();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Negotiate(wish) => {
                self.note(|seen, _| {
                    let shown = (
                        wish.session,
                        wish.stream,
                        wish.role,
                        wish.locality,
                        wish.msid.clone(),
                    );
                    seen.negotiated.push(shown);
                });
                self.negotiate(*wish);
            }
            Command::Offer(wish) => self.offer(*wish),
            Command::Answer(answer) => self.answered(&answer),
            Command::Withdraw { session } => {
                self.offered.remove(&session);
                self.note(|seen, _| seen.withdrawn.push(session));
            }
            Command::Session {
                session, command, ..
            } => self.obey_session(session, command),
            Command::DestroyStream { stream, reason } => {
                self.note(|seen, _| seen.destroyed.push(stream));
                self.close_all(reason, |session| session.stream == stream);
            }
            Command::Shutdown => {
                self.note(|seen, _| seen.shutdowns += 1);
                self.close_all(CloseReason::Shutdown, |_| true);
            }
        }
    }

    fn negotiate(&mut self, wish: whitewater_link::Negotiate) {
        let (request, session) = (wish.request, wish.session);
        if let Some(refusal) = refusal(&wish.offer) {
            if let Refusal::CounterOffer(_) = refusal {
                self.offered.insert(session, wish);
            }
            return self.tell(Event::Refused {
                request,
                session,
                refusal,
            });
        }
        self.make(wish);
    }

    /// Offers to another server.
    fn offer(&mut self, wish: MakeOffer) {
        let (request, session) = (wish.request, wish.session);
        self.offered.insert(
            session,
            whitewater_link::Negotiate {
                request,
                session,
                stream: wish.stream,
                role: wish.role,
                offer: String::new(),
                locality: wish.locality,
                msid: wish.msid,
                live: wish.live,
            },
        );
        let offer = crate::world::OFFER.to_owned();
        self.tell(Event::Offered {
            request,
            session,
            offer,
        });
    }

    fn answered(&mut self, answer: &whitewater_link::Answer) {
        let refusal = refusal(&answer.answer);
        let (request, session) = (answer.request, answer.session);
        match (self.offered.remove(&session), refusal) {
            (Some(wish), None) => {
                let offer = answer.answer.clone();
                self.make(whitewater_link::Negotiate {
                    request,
                    offer,
                    ..wish
                });
            }
            (wish, refusal) => {
                self.offered.extend(wish.map(|wish| (session, wish)));
                self.tell(Event::Refused {
                    request,
                    session,
                    refusal: refusal.unwrap_or(Refusal::Internal),
                });
            }
        }
    }

    fn make(&mut self, wish: whitewater_link::Negotiate) {
        let (request, session) = (wish.request, wish.session);
        let shard = self.next_shard % SHARDS;
        self.next_shard += 1;
        let made = Session {
            stream: wish.stream,
            shard,
            ufrag: attribute(&wish.offer, "ice-ufrag").map(str::to_owned),
            restarts: 0,
            traffic: Traffic::default(),
            layer: None,
            intake: None,
        };
        self.sessions.insert(session, made);
        let direction = match wish.role {
            Role::Publish { .. } => "recvonly",
            Role::Subscribe => "sendonly",
        };
        let answered = Event::Answered {
            request,
            session,
            shard: ShardIndex(shard as u16),
            answer: format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na={direction}\r\n"),
            tracks: vec![track("VP8")],
            has_data_channel: wish.offer.contains("m=application"),
            video_line: Some(0),
        };
        match attribute(&wish.offer, "x-answer-after-ms") {
            None => self.tell(answered),
            Some("never") => {}
            Some(millis) => {
                let after = Duration::from_millis(millis.parse().expect("a number"));
                self.late.push((Instant::now() + after, answered));
            }
        }
    }

    fn obey_session(&mut self, session: SessionId, command: SessionCommand) {
        match command {
            SessionCommand::Patch { request, fragment } => {
                self.note(|seen, _| seen.patched.push((session, fragment.clone())));
                let outcome = self.patch(session, &fragment);
                let event = Event::Patched {
                    request,
                    session,
                    outcome,
                };
                match attribute(&fragment, "x-answer-after-ms") {
                    None => self.tell(event),
                    Some("never") => {}
                    Some(millis) => {
                        let after = Duration::from_millis(millis.parse().expect("a number"));
                        self.late.push((Instant::now() + after, event));
                    }
                }
            }
            SessionCommand::Restart { request, answer } => {
                let outcome = match &answer {
                    None => Ok(PatchOutcome::Restarted {
                        fragment: "a=ice-ufrag:again\r\na=ice-pwd:again-and-again-and-again\r\n"
                            .into(),
                    }),
                    Some(_) => Ok(PatchOutcome::Trickled),
                };
                self.note(|seen, _| seen.restarted.extend(answer));
                self.tell(Event::Patched {
                    request,
                    session,
                    outcome,
                });
            }
            SessionCommand::Close { reason } => {
                self.note(|seen, _| seen.closed.push((session, reason)));
                if self.sessions.remove(&session).is_some() {
                    self.tell(Event::Closed { session, reason });
                }
            }
            SessionCommand::Mute { kind, muted } => {
                self.note(|seen, _| seen.muted.push((session, kind, muted)));
            }
            SessionCommand::Select { selection } => {
                let place = selection.rid.as_deref().and_then(|rid| "hml".find(rid));
                if let Some(found) = self.sessions.get_mut(&session) {
                    found.layer = place.and_then(|place| u8::try_from(place).ok());
                }
                self.note(|seen, _| seen.selected.push((session, selection)));
            }
        }
    }

    fn patch(&mut self, session: SessionId, fragment: &str) -> Result<PatchOutcome, PatchRefusal> {
        let found = self.sessions.get_mut(&session).ok_or(PatchRefusal::Gone)?;
        match attribute(fragment, "x-refuse") {
            Some("unsupported") => return Err(PatchRefusal::Unsupported("no such thing".into())),
            Some("too-many") => return Err(PatchRefusal::TooMany),
            Some("gone") => return Err(PatchRefusal::Gone),
            _ => {}
        }
        let Some(ufrag) = attribute(fragment, "ice-ufrag") else {
            return Err(PatchRefusal::Malformed(
                "a fragment needs a=ice-ufrag".into(),
            ));
        };
        if found.ufrag.as_deref() == Some(ufrag) {
            return Ok(PatchOutcome::Trickled);
        }
        found.ufrag = Some(ufrag.to_owned());
        found.restarts += 1;
        let fragment = format!(
            "a=ice-ufrag:srv{}\r\na=ice-pwd:{:024}\r\n",
            found.restarts, 7
        );
        Ok(PatchOutcome::Restarted { fragment })
    }

    fn close_all(&mut self, reason: CloseReason, which: impl Fn(&Session) -> bool) {
        let gone: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| which(session))
            .map(|(id, _)| *id)
            .collect();
        for session in gone {
            self.sessions.remove(&session);
            self.tell(Event::Closed { session, reason });
        }
    }

    /// By the queue the real one would use: answers by the negotiator's, the rest by the shard's.
    fn tell(&mut self, event: Event) {
        if let Event::Closed { session, .. } = &event {
            self.sessions.remove(session);
        }
        let negotiator = matches!(
            event,
            Event::Answered { .. } | Event::Offered { .. } | Event::Refused { .. }
        );
        let queue = if negotiator {
            &mut self.port.events
        } else {
            &mut self.port.shards[0].events
        };
        assert!(queue.send(event).is_ok(), "events are never lost");
    }

    fn tell_late(&mut self) {
        let now = Instant::now();
        let mut index = 0;
        while index < self.late.len() {
            if self.late[index].0 <= now {
                let (_, event) = self.late.remove(index);
                self.tell(event);
            } else {
                index += 1;
            }
        }
    }

    fn report(&mut self) {
        let due = self
            .reported_at
            .is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if !self.reporting || !due {
            return;
        }
        self.reported_at = Some(Instant::now());
        for (index, shard) in self.port.shards.iter_mut().enumerate() {
            let sessions = self
                .sessions
                .iter()
                .filter(|(_, session)| session.shard == index);
            let report = Report {
                shard: ShardIndex(index as u16),
                sessions: sessions
                    .map(|(id, session)| SessionReport {
                        session: *id,
                        traffic: session.traffic,
                        tracks: vec![TrackReport {
                            kind: MediaKind::Video,
                            traffic: session.traffic,
                            keyframe_requests: 0,
                            keyframes: 0,
                            repeated: Traffic::default(),
                            layer: session.layer,
                            padding: Traffic::default(),
                            reception: Reception::default(),
                        }],
                        available_bps: None,
                        intake: session.intake.clone().map(Box::new),
                        silent_for: Duration::from_secs(3600),
                    })
                    .collect(),
                run: LoopReport {
                    backend: "fake",
                    turns: 7,
                    ..LoopReport::default()
                },
                drops: vec![("unknown-peer", 3)],
            };
            let _ = shard.reports.send(report);
        }
    }

    fn note(&self, write: impl FnOnce(&mut Seen, usize)) {
        write(
            &mut self.seen.lock().expect("no test panicked inside"),
            self.sessions.len(),
        );
    }
}

pub(crate) fn track(codec: &str) -> TrackInfo {
    TrackInfo {
        mid: "0".into(),
        kind: MediaKind::Video,
        codec: codec.into(),
        fmtp: String::new(),
    }
}

pub(crate) fn epoch_of(role: Role) -> Epoch {
    match role {
        Role::Publish { epoch } => epoch,
        Role::Subscribe => panic!("a viewer has no epoch"),
    }
}

fn refusal(offer: &str) -> Option<Refusal> {
    if !offer.starts_with("v=0") {
        return Some(Refusal::Malformed("an offer begins with v=0".into()));
    }
    match attribute(offer, "x-refuse")? {
        "unsupported" => Some(Refusal::Unsupported(
            "m-section 0 has no codec we know".into(),
        )),
        "counter" => Some(Refusal::CounterOffer("v=0\r\na=sendonly\r\n".into())),
        "full" => Some(Refusal::Full {
            what: "media.max_sessions",
            max: 7,
        }),
        "draining" => Some(Refusal::Draining),
        _ => Some(Refusal::Internal),
    }
}

fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix("a=")?.strip_prefix(name)?;
        value.strip_prefix(':')
    })
}

const SHARDS: usize = 2;
const REPORT_EVERY: Duration = Duration::from_millis(100);
