//! RTP headers, RTCP, payload descriptors and munging.
//!
//! Everything here works on borrowed bytes: nothing allocates per packet (framing for TCP aside),
//! reads a clock or talks to a socket. Readers treat their input as hostile and answer `None` or an error, never a panic;
//! writers fill a slice the caller owns. Encryption is not here (see `whitewater-srtp`), and neither
//! is any decision about what to forward.
//!
//! ```
//! use whitewater_rtp::{Kind, RtpPacket, classify};
//!
//! let datagram = [0x80, 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0xaa];
//! assert_eq!(classify(&datagram), Kind::Rtp);
//! let packet = RtpPacket::parse(&datagram).unwrap();
//! assert_eq!(packet.header().sequence_number(), 7);
//! assert_eq!(packet.payload(), [0xaa]);
//! ```

#![forbid(unsafe_code)]

pub mod demux;
pub mod dependency;
pub mod ext;
pub mod framing;
pub mod header;
pub mod payload;
pub mod rtcp;
pub mod seq;

mod bits;

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;

pub use demux::{Kind, StunView, classify};
pub use header::{
    ExtensionForm, HeaderError, HeaderFields, HeaderWriter, RtpHeader, RtpPacket, WriteError,
};
pub use payload::Codec;
pub use seq::{Origin, SeqExtender, SeqMunger, TimestampExtender, TimestampMunger};
