//! A data plane that judges offers and fragments as the real one does, and has no media.

use std::collections::HashMap;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use whitewater_link::{
    CloseReason, Command, Event, MediaKind, Negotiate, PatchOutcome, PatchRefusal, PlanePort,
    Refusal, Role, SessionCommand, SessionId, ShardIndex, StreamId, TrackInfo,
};
use whitewater_sdp::{
    Capabilities, Fragment, Limits, Offer, Plan, judge, render_answer, render_fragment,
};

use crate::local;

pub(crate) struct Plane {
    port: PlanePort,
    sessions: HashMap<SessionId, Session>,
}

struct Session {
    stream: StreamId,
    plan: Plan,
    /// The peer's.
    ufrag: String,
}

impl Plane {
    pub(crate) fn new(port: PlanePort) -> Self {
        Plane {
            port,
            sessions: HashMap::new(),
        }
    }

    /// Obeys for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let fd = self.port.bell.try_clone_fd().expect("a descriptor");
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that give their descriptor \
                      away; an OwnedFd keeps its own for as long as the AsyncFd has it"
        )]
        let bell = AsyncFd::with_interest(fd, Interest::READABLE).expect("a descriptor");
        loop {
            while let Some(command) = self.port.commands.pop() {
                self.obey(command);
            }
            self.port.bell.arm();
            if self.port.commands.is_empty() {
                bell.readable().await.expect("a runtime").clear_ready();
            }
            self.port.bell.answer();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Negotiate(wish) => {
                let (request, session) = (wish.request, wish.session);
                let event = self
                    .negotiate(&wish)
                    .unwrap_or_else(|refusal| Event::Refused {
                        request,
                        session,
                        refusal,
                    });
                self.tell(event);
            }
            Command::Session {
                session, command, ..
            } => match command {
                SessionCommand::Patch { request, fragment } => {
                    let outcome = self.patch(session, &fragment);
                    self.tell(Event::Patched {
                        request,
                        session,
                        outcome,
                    });
                }
                SessionCommand::Close { reason } => self.close(session, reason),
                _ => {}
            },
            Command::DestroyStream { stream, reason } => {
                let mut gone: Vec<SessionId> = self.sessions.keys().copied().collect();
                gone.retain(|id| self.sessions[id].stream == stream);
                gone.into_iter().for_each(|id| self.close(id, reason));
            }
            _ => {}
        }
    }

    fn negotiate(&mut self, wish: &Negotiate) -> Result<Event, Refusal> {
        let limits = Limits::default();
        let offer = Offer::parse(&wish.offer, &limits)
            .map_err(|malformed| Refusal::Malformed(malformed.to_string()))?;
        let role = match wish.role {
            Role::Publish { .. } => whitewater_sdp::Role::Publish,
            _ => whitewater_sdp::Role::Subscribe,
        };
        let plan = judge(&offer, role, &Capabilities::default())
            .map_err(|unsupported| Refusal::Unsupported(unsupported.to_string()))?;
        let mut local = local(&plan);
        local.stream_id.clone_from(&wish.msid);
        let event = Event::Answered {
            request: wish.request,
            session: wish.session,
            shard: ShardIndex(0),
            answer: render_answer(&plan, &local),
            tracks: tracks(&plan),
            has_data_channel: plan.application().is_some(),
            video_line: None,
        };
        let session = Session {
            stream: wish.stream,
            ufrag: plan.remote_ice.ufrag.clone(),
            plan,
        };
        self.sessions.insert(wish.session, session);
        Ok(event)
    }

    fn patch(&mut self, session: SessionId, text: &str) -> Result<PatchOutcome, PatchRefusal> {
        let fragment = Fragment::parse(text, &Limits::default())
            .map_err(|malformed| PatchRefusal::Malformed(malformed.to_string()))?;
        let session = self.sessions.get_mut(&session).ok_or(PatchRefusal::Gone)?;
        let mid = session.plan.tagged_mid().unwrap_or_default().to_owned();
        match fragment.credentials(&mid) {
            Some((ufrag, _)) if ufrag != session.ufrag => {
                session.ufrag = ufrag.to_owned();
                Ok(PatchOutcome::Restarted {
                    fragment: render_fragment(&mid, &local(&session.plan)),
                })
            }
            _ => Ok(PatchOutcome::Trickled),
        }
    }

    fn close(&mut self, session: SessionId, reason: CloseReason) {
        if self.sessions.remove(&session).is_some() {
            self.tell(Event::Closed { session, reason });
        }
    }

    fn tell(&mut self, event: Event) {
        assert!(
            self.port.events.send(event).is_ok(),
            "events are never lost"
        );
    }
}

fn tracks(plan: &Plan) -> Vec<TrackInfo> {
    let info = |track: &whitewater_sdp::TrackPlan| TrackInfo {
        mid: track.mid.clone(),
        kind: match track.kind {
            whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
            whitewater_sdp::MediaKind::Video => MediaKind::Video,
        },
        codec: track.codecs[0].codec.name().to_owned(),
        fmtp: track.codecs[0].fmtp.clone(),
    };
    plan.tracks().map(info).collect()
}
