//! What publishers send, as far as viewers' offers are judged by it, and the offers of our own that
//! wait for their answer.

use std::collections::HashMap;

use whitewater_link::{Epoch, Live, Role, SessionId, ShardIndex, StreamId, TrackInfo};
use whitewater_sdp::{Codec, CodecPlan, Local, Match, Plan, TrackPlan, codec_match};

use crate::dialling::OwnSocket;
use crate::limits;
use crate::session::ice::Credentials;
use crate::session::webrtc::SenderSsrcs;

/// The newest publisher of each stream, as it was negotiated.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    by_stream: HashMap<StreamId, Publication>,
}

#[derive(Debug)]
struct Publication {
    epoch: Epoch,
    tracks: Vec<TrackPlan>,
    has_data: bool,
}

impl Publications {
    /// Takes a publisher's word if it is not older than what is known.
    pub(crate) fn note(&mut self, stream: StreamId, epoch: Epoch, plan: &Plan) {
        let known = self.by_stream.get(&stream);
        if known.is_some_and(|known| known.epoch > epoch) {
            return;
        }
        if known.is_none() && self.by_stream.len() >= limits::PUBLICATIONS_MAX {
            let oldest = self.by_stream.iter().min_by_key(|(_, known)| known.epoch);
            if let Some((&oldest, _)) = oldest {
                self.by_stream.remove(&oldest);
            }
        }
        let tracks = plan.tracks().cloned().collect();
        let publication = Publication {
            epoch,
            tracks,
            has_data: plan.application().is_some(),
        };
        self.by_stream.insert(stream, publication);
    }

    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.by_stream.remove(&stream);
    }

    /// The tracks of the publisher that control says is live; `None` if it is not known here.
    pub(crate) fn tracks(&self, stream: StreamId, live: &Live) -> Option<&[TrackPlan]> {
        let known = self.by_stream.get(&stream)?;
        (known.epoch == live.epoch).then_some(&known.tracks)
    }

    /// Whether that publisher has data channels.
    pub(crate) fn has_data(&self, stream: StreamId, live: &Live) -> bool {
        let known = self.by_stream.get(&stream);
        known.is_some_and(|known| known.epoch == live.epoch && known.has_data)
    }
}

/// Whether a viewer can be sent any of the publisher's tracks, in the codec that is in use.
pub(crate) fn carries(viewer: &Plan, published: &[TrackPlan], in_use: &[TrackInfo]) -> bool {
    published.iter().any(|track| {
        let info = in_use.iter().find(|info| info.mid == track.mid);
        let used = |codec: &&CodecPlan| {
            info.is_none_or(|info| codec.codec.name() == info.codec && codec.fmtp == info.fmtp)
        };
        // Redundancy is unwrapped for who does not know it: what it wraps counts.
        let plain = |codec: &&CodecPlan| codec.codec != Codec::Red;
        let mut sent = track.codecs.iter().filter(plain).filter(used);
        sent.any(|sent| {
            viewer
                .tracks()
                .filter(|wanted| wanted.kind == track.kind)
                .flat_map(|wanted| &wanted.codecs)
                .any(|known| codec_match(sent, known) != Match::None)
        })
    })
}

/// An offer of ours that a viewer, or another server, may answer.
pub(crate) struct OpenOffer {
    pub(crate) stream: StreamId,
    pub(crate) role: Role,
    /// Of an offer to another server: what its session reaches it by.
    pub(crate) socket: Option<OwnSocket>,
    pub(crate) shard: ShardIndex,
    pub(crate) tracks: Vec<TrackPlan>,
    /// The mid of the section for data channels, if one is offered.
    pub(crate) data: Option<String>,
    pub(crate) senders: Vec<SenderSsrcs>,
    pub(crate) credentials: Credentials,
    pub(crate) local: Local,
}

/// Those that wait; control says when one is over.
#[derive(Default)]
pub(crate) struct OpenOffers {
    by_session: HashMap<SessionId, OpenOffer>,
}

impl OpenOffers {
    /// False when there is no room.
    pub(crate) fn insert(&mut self, session: SessionId, offer: OpenOffer) -> bool {
        if self.by_session.len() >= limits::OPEN_OFFERS_MAX {
            return false;
        }
        self.by_session.insert(session, offer);
        true
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&OpenOffer> {
        self.by_session.get(&session)
    }

    pub(crate) fn remove(&mut self, session: SessionId) -> Option<OpenOffer> {
        self.by_session.remove(&session)
    }

    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.by_session.retain(|_, offer| offer.stream != stream);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_session.len()
    }
}
