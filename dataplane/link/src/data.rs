//! Data channels: what one is, and what is said on it.

use std::sync::Arc;

use bytes::Bytes;

use crate::Epoch;

/// What the two ends of a data channel agreed on (RFC 8832 §5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelTerms {
    /// Its name, as the application chose it; empty where the channel was agreed on elsewhere.
    pub label: String,
    /// The protocol spoken on it, as the application named it; mostly empty.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent.
    pub order: Order,
    /// How much is done for a message to arrive.
    pub reliability: Reliability,
    /// Its weight against other channels; 256 is normal.
    pub priority: u16,
    /// The SCTP stream, where the applications agreed on it without telling us (RFC 8831 §6.4);
    /// none of the above is known then.
    pub agreed: Option<u16>,
}

/// Whether a channel keeps the order of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// It does.
    #[default]
    Kept,
    /// A message arrives as soon as it can.
    Free,
}

/// How much is done for a message to arrive (RFC 8832 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// Whatever it takes.
    #[default]
    Full,
    /// It is sent again this often at most.
    Retransmissions(u32),
    /// It is given up after this many milliseconds.
    Lifetime(u32),
}

impl Reliability {
    /// Whether messages may be lost.
    pub fn is_partial(self) -> bool {
        self != Reliability::Full
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMessage {
    /// Text or bytes.
    pub kind: DataKind,
    /// What it says, shared by everyone it goes to; may be empty. Text is UTF-8.
    pub payload: Bytes,
}

/// What a message is to the application (RFC 8831 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// A string.
    Text,
    /// Bytes.
    Binary,
}

/// A channel of a stream's publisher.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamChannel {
    /// Counts the channels of this publisher.
    pub number: u32,
    /// What it is.
    pub terms: ChannelTerms,
}

/// Which channel of a publisher a viewer's message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelName {
    /// By its number.
    Number(u32),
    /// By the SCTP stream that the applications agreed on.
    Agreed(u16),
}

/// What shards tell each other of a stream's data channels.
#[derive(Clone, Debug)]
pub enum DataRelay {
    /// The publisher opened a channel; repeated to a new subscriber.
    Opened {
        /// Of this publisher.
        epoch: Epoch,
        /// The channel.
        channel: Arc<StreamChannel>,
    },
    /// A channel is over, by the publisher's wish or because another shard fell behind.
    Closed {
        /// Of this publisher.
        epoch: Epoch,
        /// The channel's number.
        number: u32,
    },
    /// From the publisher to the viewers.
    Down {
        /// Of this publisher.
        epoch: Epoch,
        /// The channel's number.
        number: u32,
        /// Whether it may be lost on the way.
        reliability: Reliability,
        /// The message.
        message: DataMessage,
    },
    /// From a viewer to the publisher.
    Up {
        /// To this publisher.
        epoch: Epoch,
        /// On which of its channels.
        name: ChannelName,
        /// The message.
        message: DataMessage,
    },
}
