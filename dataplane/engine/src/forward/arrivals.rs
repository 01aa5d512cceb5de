//! How the packets of one source arrive: what is lost, how evenly they come, how fast the source's
//! clock runs, and how often it sends key frames.

use std::time::{Duration, Instant};

use whitewater_link::LayerIntake;

/// One source's packets, as they came.
///
/// A few additions a packet; everything else is done once a second, by [`look`](Self::look).
#[derive(Debug, Default)]
pub struct Arrivals {
    /// When the latest packet came.
    pub heard_at: Option<Instant>,
    /// Whether a sender report came (RFC 3550 §6.4.1).
    pub has_report: bool,
    highest: Option<u64>,
    expected: u64,
    received: u64,
    /// Numbers that were not there when a later one came.
    missing: u64,
    gap_at: Option<Instant>,
    bytes: u64,
    frames: u64,
    /// Interarrival jitter in sixteenths of a tick.
    jitter: u64,
    clock: Clock,
    pauses: [Option<Instant>; PAUSES_MAX],
    pause_at: usize,
    looks: [Mark; LOOKS],
    look_at: usize,
    looked_at: Option<Instant>,
    told: Told,
}

/// What was counted up to a look.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    expected: u64,
    missing: u64,
    bytes: u64,
    frames: u64,
}

/// What the last look found.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    bitrate_bps: u64,
    frames_per_second: u16,
    loss_permille: u16,
    clock_hz: Option<u32>,
}

/// The source's clock against ours.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    rate: u32,
    /// The packet with the newest timestamp.
    newest: Option<(Instant, u32)>,
    began: Option<Instant>,
    /// From the first timestamp to the newest.
    ticks: u64,
    /// Counts the times it started again, because the timestamps leapt.
    leaps: u32,
    /// Where the measurement of its speed began.
    from: Option<(Instant, u64)>,
}

/// One packet.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Ticks a second that were agreed on for its payload type.
    pub rate: u32,
    /// Header, extensions and payload.
    pub size: usize,
    /// The marker bit.
    pub marker: bool,
}

impl Arrivals {
    /// Counts a packet.
    #[inline]
    pub fn note(&mut self, now: Instant, packet: Arrival) {
        let before = self.heard_at.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) >= PAUSE_MIN) {
            self.pause(now);
        }
        self.received += 1;
        self.bytes += packet.size as u64;
        self.frames += u64::from(packet.marker);
        let step = match self.highest {
            Some(highest) if packet.seq <= highest => return self.late(now),
            Some(highest) => packet.seq - highest,
            None => 1,
        };
        self.highest = Some(packet.seq);
        // RFC 3550 appendix A.1: beyond this the source has started again.
        let step = if step > LEAP_MAX { 1 } else { step };
        self.expected += step;
        if step > 1 {
            self.missing += step - 1;
            self.gap_at = Some(now);
        }
        if let Some(off) = self.clock.note(now, packet.timestamp, packet.rate) {
            self.jitter += u64::from(off);
            self.jitter -= (self.jitter - u64::from(off) + 8) >> 4;
        }
    }

    /// A number that was passed over came after all: overtaken on the way if it is soon, else sent
    /// again.
    fn late(&mut self, now: Instant) {
        let soon = |at| now.saturating_duration_since(at) <= REORDERING_MAX;
        if self.gap_at.is_some_and(soon) {
            self.missing = self.missing.saturating_sub(1);
        }
    }

    #[cold]
    fn pause(&mut self, now: Instant) {
        if let Some(place) = self.pauses.get_mut(self.pause_at) {
            *place = Some(now);
        }
        self.pause_at = (self.pause_at + 1) % PAUSES_MAX;
    }

    /// Measures. To be called about once a second.
    pub fn look(&mut self, now: Instant) {
        let looked_at = self.looked_at.replace(now);
        let at = |ago: usize| (self.look_at + LOOKS - ago) % LOOKS;
        let last = self.looks.get(at(0)).copied().unwrap_or_default();
        let first = self.looks.get(at(LOOKS - 1)).copied().unwrap_or_default();
        let span = looked_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let rate = |count: u64| (count.saturating_mul(1_000) + millis / 2).checked_div(millis);
        let frames = rate(self.frames - last.frames).unwrap_or(0);
        let expected = self.expected - first.expected;
        let missing = self.missing.saturating_sub(first.missing).min(expected);
        let loss = match expected {
            0..LOSS_OF_MIN => 0,
            expected => missing * 1_000 / expected,
        };
        self.told = Told {
            bitrate_bps: rate((self.bytes - last.bytes) * 8).unwrap_or(0),
            frames_per_second: u16::try_from(frames).unwrap_or(u16::MAX),
            loss_permille: u16::try_from(loss).unwrap_or(1_000),
            clock_hz: self.clock.measure().or(self.told.clock_hz),
        };
        self.look_at = (self.look_at + 1) % LOOKS;
        if let Some(mark) = self.looks.get_mut(self.look_at) {
            *mark = Mark {
                expected: self.expected,
                missing: self.missing,
                bytes: self.bytes,
                frames: self.frames,
            };
        }
    }

    /// What the last look found; what is not known here is left.
    pub fn fill(&self, intake: &mut LayerIntake) {
        let ticks = self.jitter >> 4;
        let micros = (ticks * 1_000_000).checked_div(u64::from(self.clock.rate));
        intake.bitrate_bps = self.told.bitrate_bps;
        intake.frames_per_second = self.told.frames_per_second;
        intake.packets = self.received;
        intake.packets_lost = self.expected.saturating_sub(self.received);
        intake.loss_permille = self.told.loss_permille;
        intake.jitter = Duration::from_micros(micros.unwrap_or(0));
    }

    /// Packets missing lately, in 1/1000.
    pub fn loss_permille(&self) -> u16 {
        self.told.loss_permille
    }

    /// Whether packets came within the last second.
    pub fn flows(&self, now: Instant) -> bool {
        self.heard_at
            .is_some_and(|at| now.saturating_duration_since(at) <= FLOWING_WITHIN)
    }

    /// When its first packet came; after a leap of its timestamps the first since then.
    pub fn began(&self) -> Option<Instant> {
        self.clock.began
    }

    /// Pauses of a second and more within the last half minute.
    pub fn pause_count(&self, now: Instant) -> u32 {
        let recent = |at: &&Instant| now.saturating_duration_since(**at) <= PAUSES_FOR;
        let count = self.pauses.iter().flatten().filter(recent).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The speed of its clock as it was measured last, and as it was agreed, in Hz.
    pub fn clock(&self) -> Option<(u32, u32)> {
        Some((self.told.clock_hz?, self.clock.rate))
    }

    /// By how many milliseconds its timestamps are ahead of ours since they began, and how often they
    /// leapt.
    pub fn skew_ms(&self) -> Option<(i64, u32)> {
        let (clock, (at, _)) = (&self.clock, self.clock.newest?);
        let media = clock
            .ticks
            .checked_mul(1_000)?
            .checked_div(clock.rate.into())?;
        let ours = at.saturating_duration_since(clock.began?).as_millis();
        Some((media as i64 - ours as i64, clock.leaps))
    }
}

impl Clock {
    /// By how many ticks a packet came off its time; `None` unless its timestamp is a new one.
    #[inline]
    fn note(&mut self, now: Instant, timestamp: u32, rate: u32) -> Option<u32> {
        let Some((then, before)) = self.newest.filter(|_| rate == self.rate) else {
            self.restart(now, timestamp, rate);
            return None;
        };
        let step = timestamp.wrapping_sub(before) as i32;
        if step == 0 {
            return None;
        }
        let since = now.saturating_duration_since(then);
        let waited = since.min(WAIT_MAX).as_micros() as u64 * u64::from(rate) / 1_000_000;
        let off = i64::from(step).abs_diff(waited as i64);
        if off > u64::from(rate) * LEAP_S {
            self.restart(now, timestamp, rate);
            self.leaps += 1;
            return None;
        }
        if step < 0 {
            // Shown before one that was sent already: what counts is the newest.
            return None;
        }
        self.newest = Some((now, timestamp));
        self.ticks += step.unsigned_abs() as u64;
        Some(u32::try_from(off).unwrap_or(u32::MAX).min(rate))
    }

    fn restart(&mut self, now: Instant, timestamp: u32, rate: u32) {
        *self = Clock {
            rate,
            newest: Some((now, timestamp)),
            began: Some(now),
            leaps: self.leaps,
            ..Clock::default()
        };
    }

    /// Its speed in Hz over the last ten seconds or more, when these are over.
    fn measure(&mut self) -> Option<u32> {
        let (at, _) = self.newest?;
        let (since, ticks) = *self.from.get_or_insert((at, self.ticks));
        let span = at.saturating_duration_since(since);
        if span < MEASURE_OVER {
            return None;
        }
        self.from = Some((at, self.ticks));
        let hz = u128::from(self.ticks - ticks) * 1_000_000 / span.as_micros();
        Some(u32::try_from(hz).unwrap_or(u32::MAX))
    }
}

/// A source's key frames.
#[derive(Debug, Default)]
pub struct Keyframes {
    last: Option<(Instant, u32)>,
    /// Between the last two.
    pub interval: Option<Duration>,
}

impl Keyframes {
    /// A packet that a decoder may start at. True if it is of another key frame than the last one: a
    /// key frame may have several of them.
    pub fn note(&mut self, now: Instant, timestamp: u32) -> bool {
        if let Some((at, last)) = self.last {
            if last == timestamp {
                return false;
            }
            self.interval = Some(now.saturating_duration_since(at));
        }
        self.last = Some((now, timestamp));
        true
    }

    /// Whether this is the timestamp of the last one.
    #[inline]
    pub fn is_of(&self, timestamp: u32) -> bool {
        self.last.is_some_and(|(_, last)| last == timestamp)
    }

    /// How long ago the last one began.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let (at, _) = self.last?;
        Some(now.saturating_duration_since(at))
    }
}

/// Sequence numbers that are not a loss but another beginning (RFC 3550 appendix A.1).
const LEAP_MAX: u64 = 3_000;
/// Timestamps this far off their time are another beginning.
const LEAP_S: u64 = 10;
/// Longer waits for a packet count as this.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// A missing packet that comes within this was overtaken and not lost.
const REORDERING_MAX: Duration = Duration::from_millis(10);
/// Comfort noise of a silent microphone comes every 400 ms (RFC 7587 §3.1.3, by its encoder).
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSES_MAX: usize = 8;
const PAUSES_FOR: Duration = Duration::from_secs(30);
const FLOWING_WITHIN: Duration = Duration::from_secs(1);
/// Looks over which losses are told.
const LOOKS: usize = 4;
/// Of fewer packets no share is told.
const LOSS_OF_MIN: u64 = 20;
const MEASURE_OVER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    struct Sender {
        now: Instant,
        arrivals: Arrivals,
        seq: u64,
        timestamp: u32,
    }

    impl Sender {
        fn new() -> Self {
            Sender {
                now: Instant::now(),
                arrivals: Arrivals::default(),
                seq: 1_000,
                timestamp: u32::MAX - 10_000,
            }
        }

        fn note(&mut self, seq: u64, timestamp: u32) {
            let packet = Arrival {
                seq,
                timestamp,
                rate: RATE,
                size: 1_000,
                marker: true,
            };
            self.arrivals.note(self.now, packet);
        }

        /// Frames of one packet each, 25 a second, with a look every second.
        fn run(&mut self, seconds: u32, ticks: u32, is_lost: impl Fn(u64) -> bool) {
            for frame in 0..seconds * 25 {
                self.seq += 1;
                self.timestamp = self.timestamp.wrapping_add(ticks);
                self.now += Duration::from_millis(40);
                if !is_lost(self.seq) {
                    self.note(self.seq, self.timestamp);
                }
                if frame % 25 == 24 {
                    self.arrivals.look(self.now);
                }
            }
        }

        fn told(&self) -> LayerIntake {
            let mut intake = LayerIntake::default();
            self.arrivals.fill(&mut intake);
            intake
        }
    }

    #[test]
    fn an_even_source_has_its_rate_and_neither_loss_nor_jitter() {
        let mut sender = Sender::new();
        sender.run(30, 3_600, |_| false);
        let told = sender.told();
        assert_eq!((told.frames_per_second, told.bitrate_bps), (25, 200_000));
        assert_eq!(
            (told.packets, told.packets_lost, told.loss_permille),
            (750, 0, 0)
        );
        assert_eq!(told.jitter, Duration::ZERO);
        assert_eq!(sender.arrivals.clock(), Some((RATE, RATE)));
        assert_eq!(sender.arrivals.skew_ms(), Some((0, 0)));
        sender.now += Duration::from_secs(1);
        sender.arrivals.look(sender.now);
        assert_eq!(sender.told().bitrate_bps, 0, "it fell silent");
    }

    #[test]
    fn losses_are_told_for_four_seconds_and_counted_for_good() {
        let mut sender = Sender::new();
        sender.run(10, 3_600, |seq| seq % 10 == 0);
        let told = sender.told();
        assert!((90..=110).contains(&told.loss_permille), "{told:?}");
        assert_eq!(told.packets_lost, 24, "the last one is not missed yet");
        sender.run(5, 3_600, |_| false);
        assert_eq!(
            (sender.told().loss_permille, sender.told().packets_lost),
            (0, 25)
        );
    }

    #[test]
    fn what_comes_again_was_missing_and_what_was_overtaken_was_not() {
        let mut sender = Sender::new();
        sender.run(1, 3_600, |_| false);
        for (late_by, missing) in [
            (Duration::from_millis(5), 0),
            (Duration::from_millis(60), 1),
        ] {
            let (seq, timestamp) = (sender.seq, sender.timestamp);
            sender.note(seq + 2, timestamp.wrapping_add(7_200));
            sender.now += late_by;
            sender.note(seq + 1, timestamp.wrapping_add(3_600));
            sender.seq += 2;
            sender.timestamp = timestamp.wrapping_add(7_200);
            assert_eq!(sender.arrivals.missing, missing);
            assert_eq!(sender.told().packets_lost, 0, "all are there");
        }
    }

    #[test]
    fn a_leap_of_numbers_is_no_loss_and_one_of_timestamps_another_clock() {
        let mut sender = Sender::new();
        sender.run(5, 3_600, |_| false);
        sender.seq += 20_000;
        sender.timestamp = sender.timestamp.wrapping_add(1 << 30);
        sender.run(5, 3_600, |_| false);
        assert_eq!(
            (sender.told().packets_lost, sender.told().loss_permille),
            (0, 0)
        );
        assert_eq!(sender.told().jitter, Duration::ZERO);
        assert_eq!(sender.arrivals.skew_ms(), Some((0, 1)));
    }

    #[test]
    fn a_clock_of_another_speed_is_measured() {
        let mut sender = Sender::new();
        // A frame rate that is not the one announced: 25 a second, stamped as 30.
        sender.run(25, 3_000, |_| false);
        let (hz, agreed) = sender.arrivals.clock().expect("measured");
        assert_eq!((hz, agreed), (75_000, RATE));
        let (skew, _) = sender.arrivals.skew_ms().expect("known");
        assert!((-4_200..-4_100).contains(&skew), "{skew}");
    }

    #[test]
    fn uneven_arrival_is_jitter() {
        let mut sender = Sender::new();
        for frame in 0..500_u32 {
            sender.seq += 1;
            sender.timestamp = sender.timestamp.wrapping_add(3_600);
            // Ten milliseconds early and late in turn.
            let wait = if frame % 2 == 0 { 30 } else { 50 };
            sender.now += Duration::from_millis(wait);
            let (seq, timestamp) = (sender.seq, sender.timestamp);
            sender.note(seq, timestamp);
        }
        let jitter = sender.told().jitter.as_millis();
        assert!((9..=11).contains(&jitter), "{jitter}");
    }

    #[test]
    fn pictures_sent_before_their_time_do_not_turn_the_clock_back() {
        let mut sender = Sender::new();
        sender.run(1, 3_600, |_| false);
        for _ in 0..100 {
            // Decoded in the order 3 1 2.
            for ahead in [3_u32, 1, 2] {
                sender.seq += 1;
                sender.now += Duration::from_millis(40);
                let (seq, timestamp) = (sender.seq, sender.timestamp);
                sender.note(seq, timestamp.wrapping_add(ahead * 3_600));
            }
            sender.timestamp = sender.timestamp.wrapping_add(3 * 3_600);
        }
        let (skew, leaps) = sender.arrivals.skew_ms().expect("known");
        assert!(skew.abs() <= 120 && leaps == 0, "{skew} {leaps}");
    }

    #[test]
    fn pauses_are_counted_for_half_a_minute() {
        let mut sender = Sender::new();
        for _ in 0..3 {
            sender.run(1, 3_600, |_| false);
            sender.now += Duration::from_millis(1_200);
            sender.timestamp = sender.timestamp.wrapping_add(108_000);
        }
        sender.run(1, 3_600, |_| false);
        assert_eq!(sender.arrivals.pause_count(sender.now), 3);
        assert!(sender.arrivals.flows(sender.now));
        sender.now += Duration::from_secs(31);
        assert_eq!(sender.arrivals.pause_count(sender.now), 0);
        assert!(!sender.arrivals.flows(sender.now));
    }

    #[test]
    fn the_packets_of_one_key_frame_are_one_key_frame() {
        let mut keys = Keyframes::default();
        let now = Instant::now();
        assert!(keys.age(now).is_none());
        assert!(keys.note(now, 7) && !keys.note(now, 7));
        assert_eq!(keys.interval, None);
        let later = now + Duration::from_secs(2);
        assert!(keys.note(later, 180_007));
        assert_eq!(keys.interval, Some(Duration::from_secs(2)));
        assert_eq!(keys.age(later), Some(Duration::ZERO));
    }
}
