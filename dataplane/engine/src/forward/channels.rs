//! A stream's data channels as one shard sees them.

use std::sync::Arc;

use whitewater_link::StreamChannel;

/// What the publisher has open, and who listens here. A stream without data channels has none of
/// this.
#[derive(Debug, Default)]
pub struct StreamChannels {
    /// The publisher's channels, in the order in which they were opened; at most
    /// `whitewater_data::limits::CHANNELS_MAX`.
    pub open: Vec<Arc<StreamChannel>>,
    /// Viewers of this shard with data channels, by session key.
    pub listeners: Vec<u32>,
}

impl StreamChannels {
    /// The publisher opened a channel.
    pub fn add(&mut self, channel: Arc<StreamChannel>) {
        let known = self.open.iter().any(|open| open.number == channel.number);
        if !known && self.open.len() < whitewater_data::limits::CHANNELS_MAX {
            self.open.push(channel);
        }
    }

    /// It is over.
    pub fn remove(&mut self, number: u32) {
        self.open.retain(|open| open.number != number);
    }
}
