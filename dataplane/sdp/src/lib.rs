//! Offers parsed and judged, answers, fragments and offers of our own rendered.
//!
//! This crate owns SDP: the bytes of an offer go in, a typed [`Plan`] of what both sides will do
//! comes out, and the answer is rendered from that plan. It knows nothing of sockets, clocks,
//! random numbers or of the WebRTC engine that carries the plan out: ids, credentials and
//! addresses are handed in by the caller in [`Local`].
//!
//! ```
//! use whitewater_sdp::{Capabilities, Limits, Offer, Role, judge};
//! # let text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
//! # a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
//! # a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
//! # m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
//! let offer = Offer::parse(text, &Limits::default()).unwrap();
//! let plan = judge(&offer, Role::Publish, &Capabilities::default()).unwrap();
//! assert_eq!(plan.tracks().count(), 1);
//! ```

#![forbid(unsafe_code)]

mod answer;
mod candidate;
mod capabilities;
mod codec;
mod error;
mod extension;
mod fragment;
mod judge;
mod lanes;
mod limits;
mod local;
mod matching;
mod negotiate;
mod offer;
mod own_offer;
mod plan;
mod receiving;
mod section;
mod text;

pub use answer::render_answer;
pub use candidate::{Candidate, CandidateKind, CandidateTransport, HostCandidate, HostTransport};
pub use capabilities::{Capabilities, Role};
pub use codec::{
    Av1Parameters, Codec, H264Parameters, H264Profile, H265Parameters, MediaKind, Vp9Parameters,
};
pub use error::{Malformed, Place, Refusal, Unsupported};
pub use extension::Extension;
pub use fragment::{Fragment, FragmentSection, render_fragment};
pub use judge::judge;
pub use lanes::LanePlan;
pub use limits::Limits;
pub use local::{Local, LocalIce, LocalSender};
pub use matching::{Match, codec_match, map_payload_types, wrapped};
pub use offer::Offer;
pub use own_offer::{judge_answer, render_offer, tracks_for_viewers};
pub use plan::{
    ApplicationPlan, CodecPlan, Direction, DtlsRole, ExtensionPlan, Feedback, Fingerprint,
    HashFunction, IceOptions, Plan, RejectedSection, RemoteIce, RidPlan, SectionPlan,
    SimulcastLayer, SsrcPlan, TrackPlan,
};
pub use receiving::tracks_to_receive;
