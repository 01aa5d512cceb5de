//! Offers to other servers, and the sessions their answers lead to.

use std::time::Instant;

use rand::Rng;
use whitewater_link::{Answer, MakeOffer, Refusal, Role, ShardIndex};
use whitewater_sdp::{
    Capabilities, Direction, HostCandidate, MediaKind, Offer, Plan, TrackPlan, judge,
    render_answer, render_offer, tracks_for_viewers, tracks_to_receive,
};

use crate::admission::{
    Admission, Made, Negotiator, credentials, hmac_sha1, lite_agent, remote_credentials,
    unsupported,
};
use crate::counter::OpenOffer;
use crate::session::agent::Agent;
use crate::session::dialler::{Dialler, Dialling, Family};

/// The socket that one session reaches its server by. Two sessions with one server would else look
/// the same to both sides, which tell datagrams apart by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSocket {
    /// Its port.
    pub port: u16,
    /// What it reaches.
    pub family: Family,
}

impl<R: Rng> Negotiator<R> {
    /// Makes an offer to another server, for a session on `shard` that has `socket` for its own.
    ///
    /// `candidates` are the addresses at which a full server could check the socket, most wanted
    /// first. The offer waits for [`answer`](Self::answer) or [`withdraw`](Self::withdraw).
    ///
    /// # Errors
    /// Why there is none.
    pub fn offer(
        &mut self,
        wish: &MakeOffer,
        shard: ShardIndex,
        socket: OwnSocket,
        candidates: &[HostCandidate],
    ) -> Result<String, Refusal> {
        let (direction, mut tracks) = match wish.role {
            Role::Publish { .. } => (Direction::RecvOnly, tracks_to_receive(&self.publish)),
            Role::Subscribe => {
                let live = wish.live.as_ref();
                let published = live.and_then(|live| self.publications.tracks(wish.stream, live));
                let mut tracks = tracks_for_viewers(published.unwrap_or_default(), &self.subscribe);
                let is_video = |track: &&mut TrackPlan| track.kind == MediaKind::Video;
                for track in tracks.iter_mut().filter(is_video) {
                    track.lanes = Some(Vec::new());
                }
                (Direction::SendOnly, tracks)
            }
        };
        if tracks.is_empty() {
            return Err(Refusal::Unsupported(
                "there is nothing to offer: nobody publishes the stream".to_owned(),
            ));
        }
        let senders = match wish.role {
            Role::Publish { .. } => Vec::new(),
            Role::Subscribe => self.senders(tracks.iter()),
        };
        self.fill_lanes(wish.stream, wish.live.as_ref(), tracks.iter_mut(), &senders);
        let credentials = credentials(&mut self.rng, shard);
        let mut local = self.local(
            &wish.msid,
            tracks.iter(),
            &senders,
            &credentials,
            candidates,
        );
        // RFC 9725 §4.3: the client is a full agent. All its candidates are in the offer.
        local.ice.lite = false;
        local.ice.options = vec!["ice2".to_owned()];
        let data = self.data_mid(wish, &tracks);
        let text = render_offer(&tracks, direction, data.as_deref(), &local);
        let offer = OpenOffer {
            stream: wish.stream,
            role: wish.role,
            socket: Some(socket),
            shard,
            tracks,
            data,
            senders,
            credentials,
            local,
        };
        self.keep_offer(wish.session, offer)?;
        Ok(text)
    }

    /// Judges the offer that another server makes because it could not answer ours, answers it, and
    /// builds the session. We stay the side that checks: a lite server cannot, and a full one gives
    /// way (RFC 8445 §7.2.5.1).
    ///
    /// Source: draft-ietf-wish-whep §4.3.2.
    pub(crate) fn answer_counter_offer(
        &mut self,
        now: Instant,
        answer: &Answer,
        tie_breaker: u64,
    ) -> Result<Box<Admission>, Refusal> {
        let over = || Refusal::Malformed("this offer is over".to_owned());
        let waiting = self.open_offers.get(answer.session).ok_or_else(over)?;
        let Role::Publish { epoch } = waiting.role else {
            return Err(Refusal::Unsupported(
                "a counter-offer is for who asks for a stream".to_owned(),
            ));
        };
        let offer = Offer::parse(&answer.answer, &self.limits);
        let offer = offer.map_err(|why| Refusal::Malformed(why.to_string()))?;
        let capabilities = Capabilities {
            ice_lite: false,
            ..self.publish.clone()
        };
        let plan = judge(&offer, whitewater_sdp::Role::Publish, &capabilities);
        let plan = plan.map_err(unsupported)?;
        let ice = self.agent(now, waiting, &plan, answer, tie_breaker)?;
        let waiting = self.open_offers.remove(answer.session).ok_or_else(over)?;
        self.publications.note(waiting.stream, epoch, &plan);
        let made = Made {
            request: answer.request,
            session: answer.session,
            stream: waiting.stream,
            role: waiting.role,
            answer: render_answer(&plan, &waiting.local),
            senders: Vec::new(),
            plan,
            ice,
            local: waiting.local,
        };
        self.build(now, made)
    }

    /// The mid of a section for data channels, where one is offered. A server that is asked for a
    /// stream can turn it down; one that is sent a stream takes all or nothing (RFC 9725 §4.4.3),
    /// so that it is asked only where the publisher has data channels.
    fn data_mid(&self, wish: &MakeOffer, tracks: &[TrackPlan]) -> Option<String> {
        let wanted = match wish.role {
            Role::Publish { .. } => self.publish.data_channels,
            Role::Subscribe => {
                let live = wish.live.as_ref()?;
                self.subscribe.data_channels && self.publications.has_data(wish.stream, live)
            }
        };
        let is_free = |mid: &String| tracks.iter().all(|track| track.mid != *mid);
        let mut mids = (0..).map(|n: u32| format!("data{n}"));
        wanted.then(|| mids.find(is_free)).flatten()
    }

    /// Our side of ICE for the session that an answer leads to.
    pub(crate) fn agent(
        &self,
        now: Instant,
        offer: &OpenOffer,
        plan: &Plan,
        answer: &Answer,
        tie_breaker: u64,
    ) -> Result<Agent, Refusal> {
        let Some(socket) = offer.socket else {
            return Ok(Agent::Lite(lite_agent(offer.credentials.clone(), plan)));
        };
        let dialling = Dialling {
            local: offer.credentials.clone(),
            remote: remote_credentials(plan),
            candidates: &plan.candidates,
            port: socket.port,
            family: socket.family,
            reach: answer.reach.clone(),
            tie_breaker,
        };
        let dialler = Dialler::new(now, dialling, hmac_sha1);
        // A full agent may make itself known by its checks.
        if dialler.candidate_count() == 0 && plan.remote_ice.lite {
            return Err(Refusal::Unsupported(
                "the answer has no candidate that may be reached from here".to_owned(),
            ));
        }
        Ok(Agent::Dialler(Box::new(dialler)))
    }
}
