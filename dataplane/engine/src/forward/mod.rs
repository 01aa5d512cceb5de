//! What happens between a publisher's decrypted packet and a viewer's: streams, their key frame
//! requests, and each viewer's rewriting.

pub mod arrivals;
pub mod batch;
pub mod channels;
pub mod checks;
pub mod choice;
pub mod diagnosis;
pub mod downlink;
pub mod egress;
pub mod extension;
pub mod header;
pub mod ingress;
pub mod keyframe;
pub mod layers;
pub mod loudness;
pub mod pictures;
mod presence;
pub mod resend;
pub mod ring;
pub mod runs;
pub mod scale;
pub mod sound;
pub mod stream;
