//! Values that are one word of a few.

use std::ops::RangeInclusive;

use super::node::{Kind, Node};
use super::problem::nearest;
use super::value::{Refused, Value, quoted};

macro_rules! words {
    ($(
        $(#[doc = $doc:literal])+
        $Name:ident { $( $(#[doc = $word_doc:literal])+ $Word:ident = $word:literal ),+ $(,)? }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name {
            $( $(#[doc = $word_doc])+ $Word, )+
        }

        impl $Name {
            /// The word for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Word => $word, )+
                }
            }
        }

        impl Value for $Name {
            fn allowed(_: &RangeInclusive<i64>) -> String {
                let words = [$( quoted($word) ),+];
                format!("one of {}", words.join(", "))
            }

            fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
                let refused = || Refused::new(node, Self::allowed(range));
                let Kind::Text(text) = &node.kind else {
                    return Err(refused());
                };
                match text.to_ascii_lowercase().as_str() {
                    $( $word => Ok(Self::$Word), )+
                    other => Err(match nearest(other, [$( $word ),+].into_iter()) {
                        Some(near) => refused().hint(format!("did you mean \"{near}\"?")),
                        None => refused(),
                    }),
                }
            }

            fn render(&self) -> String {
                quoted(self.as_str())
            }
        }
    )+};
}

words! {
    /// How datagrams enter and leave a shard.
    Backend {
        /// io_uring where the kernel allows it, else mmsg.
        Auto = "auto",
        /// io_uring: multishot receive into a ring of buffers.
        Uring = "uring",
        /// recvmmsg and sendmmsg.
        Mmsg = "mmsg",
        /// The tokio-uring runtime.
        TokioUring = "tokio-uring",
    }

    /// Whether a second publisher of a stream replaces the first.
    Takeover {
        /// Never: the second is refused while the first has a session.
        Never = "never",
        /// Once nothing has been heard of the first for a while.
        Silent = "silent",
        /// Always: the newest publisher wins.
        Always = "always",
    }

    /// What a manager does with the calls of WHIP and WHEP.
    Calls {
        /// It hands them on.
        Proxy = "proxy",
        /// It says where to make them (307).
        Redirect = "redirect",
    }

    /// What becomes of sound for viewers that agreed to redundancy.
    AudioRed {
        /// It is passed on.
        Pass = "pass",
        /// It is made where there is none.
        Make = "make",
    }

    /// What a viewer is told while a stream has no publisher.
    PlayAbsent {
        /// Accepted; media starts with the publisher.
        Wait = "wait",
        /// 409 with Retry-After.
        Refuse = "refuse",
    }

    /// Who may see the metrics where tokens are asked for.
    MetricsAccess {
        /// Everybody on this machine, others with the manage right.
        Local = "local",
        /// Everybody.
        Open = "open",
        /// Who has the manage right.
        Manage = "manage",
    }

    /// The least important log lines that are still written.
    LogLevel {
        /// None at all.
        Off = "off",
        /// What failed.
        Error = "error",
        /// What someone should look at.
        Warn = "warn",
        /// A few lines per session.
        Info = "info",
        /// What the program decides and why.
        Debug = "debug",
        /// Everything, also per packet in debug builds.
        Trace = "trace",
    }

    /// A video codec that can be forwarded.
    VideoCodec {
        /// VP8 (RFC 7741).
        Vp8 = "vp8",
        /// VP9 (RFC 9628).
        Vp9 = "vp9",
        /// H.264 (RFC 6184).
        H264 = "h264",
        /// H.265 (RFC 7798).
        H265 = "h265",
        /// AV1.
        Av1 = "av1",
    }

    /// An audio codec that can be forwarded.
    AudioCodec {
        /// Opus (RFC 7587).
        Opus = "opus",
        /// G.711 with µ-law (RFC 3551 §4.5.14).
        Pcmu = "pcmu",
        /// G.711 with A-law (RFC 3551 §4.5.14).
        Pcma = "pcma",
        /// G.722 (RFC 3551 §4.5.2).
        G722 = "g722",
        /// Redundant audio (RFC 2198) around Opus.
        Red = "red",
        /// Opus with more than two channels, as Chromium has it.
        Multiopus = "multiopus",
    }
}
