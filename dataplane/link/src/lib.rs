//! Everything that crosses between the control plane and the shards, and between shards.
//!
//! It is all owned values: no handle, lock or callback crosses a boundary. Control talks to the
//! data plane with [`Command`]s, the data plane answers with [`Event`]s and tells its counters in
//! [`Report`]s; shards talk to each other with [`Relay`]s. The queues in [`queue`] are bounded
//! single-producer single-consumer rings with a [`queue::Doorbell`] for a sleeping consumer.
//!
//! It is not a place for behaviour: what a command means is the engine's business.

#![forbid(unsafe_code)]

mod command;
mod data;
mod event;
mod ids;
mod intake;
mod layer;
mod port;
pub mod queue;
mod reach;
mod relay;
mod report;

pub use command::{
    Answer, AnswerKind, Command, Live, Locality, MakeOffer, Negotiate, Role, SessionCommand,
};
pub use data::{
    ChannelName, ChannelTerms, DataKind, DataMessage, DataRelay, Order, Reliability, StreamChannel,
};
pub use event::{CloseReason, Event, PatchOutcome, PatchRefusal, Refusal, SessionState, TrackInfo};
pub use ids::{Epoch, MediaKind, PeerAddr, RequestId, SessionId, ShardIndex, StreamId, Transport};
pub use intake::{Finding, FindingCode, Intake, LayerIntake, Loudness, TrackIntake};
pub use layer::{LAYERS_ALL, LAYERS_MAX, LayerInfo, LayerState, Selection};
pub use port::{ControlPort, PlanePort, ShardUplink, line};
pub use reach::{Network, Reach, is_global};
pub use relay::{
    CodecDescription, PacketMeta, PassedExtensions, PictureCodec, PictureNumbers, Relay,
    RelayPacket, Scale, TrackDescription,
};
pub use report::{LoopReport, Reception, Report, SessionReport, TrackReport, Traffic};
