//! The two ends of the line between control and the data plane.

use std::io;
use std::sync::Arc;

use crate::queue::{self, Doorbell, Receiver, Sender};
use crate::{Command, Event, Report};

/// Control's end.
pub struct ControlPort {
    /// To the negotiator; full means 503.
    pub commands: Sender<Command>,
    /// From the negotiator and from every shard.
    pub events: Vec<Receiver<Event>>,
    /// From every shard.
    pub reports: Vec<Receiver<Report>>,
    /// Rung when an event or a report was sent.
    pub bell: Arc<Doorbell>,
}

/// The data plane's end.
pub struct PlanePort {
    /// From control; its sender rings `bell`.
    pub commands: Receiver<Command>,
    /// The negotiator's.
    pub bell: Arc<Doorbell>,
    /// The negotiator's way back to control.
    pub events: Sender<Event>,
    /// Each shard's way back to control.
    pub shards: Vec<ShardUplink>,
}

/// What one shard tells control by.
pub struct ShardUplink {
    /// Reliable: sized by the session caps.
    pub events: Sender<Event>,
    /// A full queue means that control has not read the last ones: the new one is not missed.
    pub reports: Sender<Report>,
}

/// Both ends of the line for `shard_count` shards.
///
/// `events_max` is the capacity of each event queue.
///
/// # Errors
/// The kernel's, when it has no descriptor left for the doorbells.
pub fn line(shard_count: usize, events_max: usize) -> io::Result<(ControlPort, PlanePort)> {
    let control_bell = Arc::new(Doorbell::new()?);
    let plane_bell = Arc::new(Doorbell::new()?);
    let (commands, commands_in) = queue::channel(COMMANDS_MAX, plane_bell.clone());
    let (negotiator_events, first) = queue::channel(events_max, control_bell.clone());
    let mut events = vec![first];
    let mut reports = Vec::with_capacity(shard_count);
    let mut shards = Vec::with_capacity(shard_count);
    for _ in 0..shard_count {
        let (event_tx, event_rx) = queue::channel(events_max, control_bell.clone());
        let (report_tx, report_rx) = queue::channel(REPORTS_MAX, control_bell.clone());
        events.push(event_rx);
        reports.push(report_rx);
        shards.push(ShardUplink {
            events: event_tx,
            reports: report_tx,
        });
    }
    let control = ControlPort {
        commands,
        events,
        reports,
        bell: control_bell,
    };
    let plane = PlanePort {
        commands: commands_in,
        bell: plane_bell,
        events: negotiator_events,
        shards,
    };
    Ok((control, plane))
}

/// Commands that may wait for the negotiator: 4,096 offers of a few KiB are some 20 MiB.
const COMMANDS_MAX: usize = 4096;
/// Reports that may wait for control.
const REPORTS_MAX: usize = 4;
