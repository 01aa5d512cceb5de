//! What was taken stock of a publisher.

use std::time::Instant;

use whitewater_link::Intake;

use crate::forward::diagnosis::Diagnosis;

/// What is known of a publisher as a whole.
#[derive(Debug, Default)]
pub struct Stock {
    /// What it brings, as it was looked at last.
    pub intake: Option<Box<Intake>>,
    /// When it is looked at again.
    pub at: Option<Instant>,
    /// When it was looked at first.
    pub began: Option<Instant>,
    /// What is wrong with it.
    pub diagnosis: Diagnosis,
    /// How far audio was ahead of video in milliseconds when both had begun, and which they were.
    pub drift_from: Option<(i64, Pair)>,
}

/// The sources of audio and video that are compared, each with how often its timestamps leapt.
pub type Pair = ((Option<u32>, u32), (Option<u32>, u32));
