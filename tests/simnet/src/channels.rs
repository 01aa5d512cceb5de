//! What a peer says and hears on data channels.

use std::time::Instant;

use str0m::channel::{ChannelConfig, ChannelId};
use str0m::{Event, Rtc};

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub at: Instant,
    /// On the channel of this label; empty where the channel has none.
    pub label: String,
    /// Bytes rather than text.
    pub is_binary: bool,
    /// What it says.
    pub data: Vec<u8>,
}

/// The data channels of one peer, and what came on them.
#[derive(Debug, Default)]
pub struct Talk {
    /// Those that are open, in the order in which they were opened.
    pub open: Vec<(ChannelId, ChannelConfig)>,
    /// The labels of those that were closed.
    pub closed: Vec<String>,
    /// Messages, in order.
    pub heard: Vec<Said>,
}

impl Talk {
    pub(crate) fn note(&mut self, now: Instant, event: &Event, rtc: &mut Rtc) {
        match event {
            Event::ChannelOpen(id, _) => {
                let config = rtc
                    .channel(*id)
                    .and_then(|channel| channel.config().cloned());
                self.open.push((*id, config.unwrap_or_default()));
            }
            Event::ChannelClose(id) => {
                let at = self.open.iter().position(|(open, _)| open == id);
                if let Some(at) = at {
                    self.closed.push(self.open.remove(at).1.label);
                }
            }
            Event::ChannelData(data) => {
                let channel = self.open.iter().find(|(open, _)| *open == data.id);
                self.heard.push(Said {
                    at: now,
                    label: channel.map_or_else(String::new, |(_, config)| config.label.clone()),
                    is_binary: data.binary,
                    data: data.data.clone(),
                });
            }
            _ => {}
        }
    }

    /// The labels of the channels that are open.
    pub fn labels(&self) -> Vec<&str> {
        let labels = self.open.iter().map(|(_, config)| config.label.as_str());
        labels.collect()
    }

    /// The texts that arrived on channels of a label, in order.
    pub fn texts(&self, label: &str) -> Vec<&str> {
        let of = |said: &&Said| said.label == label && !said.is_binary;
        let texts = self.heard.iter().filter(of);
        texts
            .map(|said| std::str::from_utf8(&said.data).unwrap_or("no text"))
            .collect()
    }
}
