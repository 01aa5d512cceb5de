//! What comes from others than the world's peers: single datagrams, and sessions whose datagrams are
//! the caller's affair.

use std::net::SocketAddr;

use rand::RngExt;
use whitewater_engine::Command;
use whitewater_engine::admission::{Fragment, HostCandidate, HostTransport, Limits};
use whitewater_link::{
    CloseReason, Epoch, Event, Live, Locality, Negotiate, PatchOutcome, PatchRefusal, Refusal,
    RequestId, Role, SessionId, ShardIndex, StreamId,
};

use super::World;
use crate::due::What;

impl World {
    /// A datagram from anywhere, at the server now.
    pub fn inject(&mut self, source: SocketAddr, bytes: &[u8]) {
        self.inject_to(source, self.server, bytes);
    }

    /// A datagram from anywhere to any of the server's addresses.
    pub fn inject_to(&mut self, source: SocketAddr, local: SocketAddr, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.push(
            self.now,
            What::ToServer {
                source,
                local,
                bytes,
            },
        );
    }

    /// Answers the offer of a publisher (with a new epoch) or viewer. Its session is on shard 0.
    ///
    /// # Errors
    /// Why the server refuses.
    pub fn admit(
        &mut self,
        stream: &str,
        offer: &str,
        epoch: Option<Epoch>,
    ) -> Result<(SessionId, String), Refusal> {
        self.numbers += 1;
        let number = self.numbers;
        let stream = *self
            .streams
            .entry(stream.to_owned())
            .or_insert(StreamId(number));
        let id = SessionId(self.rng.random());
        let negotiate = Negotiate {
            request: RequestId(number),
            session: id,
            stream,
            role: epoch.map_or(Role::Subscribe, |epoch| Role::Publish { epoch }),
            offer: offer.to_owned(),
            locality: Locality::Remote,
            msid: format!("stream-{}", stream.0),
            live: self.live(stream),
        };
        let candidate = HostCandidate {
            transport: HostTransport::Udp,
            addr: self.server,
        };
        let shard = ShardIndex(0);
        let admission = self
            .negotiator
            .admit(self.now, &negotiate, shard, &[candidate])?;
        self.command(shard, Command::Admit(admission));
        let answered = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Answered {
                session, answer, ..
            } if *session == id => Some(answer.clone()),
            _ => None,
        });
        Ok((id, answered.expect("an admitted session is answered")))
    }

    /// PATCH of a session whose datagrams are the caller's affair.
    ///
    /// # Errors
    /// Why the server refuses.
    pub fn patch_session(
        &mut self,
        session: SessionId,
        text: &str,
    ) -> Result<PatchOutcome, PatchRefusal> {
        self.patch_at(ShardIndex(0), session, text)
    }

    /// PATCH of any session.
    pub(super) fn patch_at(
        &mut self,
        shard: ShardIndex,
        session: SessionId,
        text: &str,
    ) -> Result<PatchOutcome, PatchRefusal> {
        let fragment = Fragment::parse(text, &Limits::default())
            .map_err(|malformed| PatchRefusal::Malformed(malformed.to_string()))?;
        self.numbers += 1;
        let number = RequestId(self.numbers);
        let command = Command::Patch {
            request: number,
            session,
            fragment: Box::new(fragment),
        };
        self.command(shard, command);
        let outcome = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Patched {
                request, outcome, ..
            } if *request == number => Some(outcome.clone()),
            _ => None,
        });
        outcome.expect("a PATCH is answered")
    }

    /// Who publishes a stream, as its shard told last.
    fn live(&self, wanted: StreamId) -> Option<Live> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::StreamUp {
                stream,
                epoch,
                tracks,
            } if *stream == wanted => Some(Live {
                epoch: *epoch,
                tracks: tracks.clone(),
            }),
            _ => None,
        })
    }

    /// A number no publisher has had.
    pub fn next_epoch(&mut self) -> Epoch {
        self.numbers += 1;
        Epoch(self.numbers)
    }

    /// DELETE on a session of [`admit`](Self::admit).
    pub fn end(&mut self, session: SessionId) {
        let reason = CloseReason::Deleted;
        self.command(ShardIndex(0), Command::Close { session, reason });
    }
}
