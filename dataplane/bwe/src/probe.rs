//! Short times of sending more than there is to send, to see whether it arrives as fast.

use crate::history::Sent;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    /// It arrived as fast as it was sent.
    Room(f64),
    /// It arrived more slowly: this is what the path carries.
    Full(f64),
}

/// One probe: packets of all kinds that were sent while it lasted.
///
/// Rates leave out the last burst where sending counts and the first where arriving does: a burst
/// takes the time until the next.
#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    id: u8,
    rate_bps: f64,
    began_us: u64,
    sent_bytes: u64,
    sent_packets: u32,
    first_sent_us: u64,
    last_sent_us: u64,
    last_burst_bytes: u64,
    is_over: bool,
    settled: u32,
    arrived_bytes: u64,
    first_burst_arrived_bytes: u64,
    first_arrived_us: Option<i64>,
    last_arrived_us: Option<i64>,
    /// The longest time between two arrivals.
    pause_us: i64,
}

/// Decides when to probe at which rate, and reads the results.
///
/// Source: draft-ietf-rmcat-gcc-02 leaves probing open; that a flow that sends less than it could
/// cannot learn of more without it is RFC 8836 §2's requirement on use of new capacity.
#[derive(Debug)]
pub(crate) struct Probes {
    clusters: [Cluster; CLUSTERS],
    /// The place in `clusters` of the one that is being sent.
    active: Option<usize>,
    next_id: u8,
    /// `None` until the first packet allows it.
    next_us: Option<u64>,
    interval_us: u64,
    /// What the next one tries; `None`: twice the estimate.
    wanted_bps: Option<f64>,
    goal_bps: f64,
    need_bps: f64,
    /// Twenty times the padding that may be sent, beside what a path nothing is known of is tried
    /// with; below zero until what was spent is earned.
    credit: i64,
    began_us: u64,
    /// Whether one of them met a full path.
    has_ended: bool,
}

impl Default for Probes {
    fn default() -> Self {
        Probes {
            clusters: [Cluster::default(); CLUSTERS],
            active: None,
            next_id: 1,
            next_us: None,
            interval_us: INTERVAL_US,
            wanted_bps: Some(FIRST_BPS),
            goal_bps: 0.0,
            need_bps: 0.0,
            credit: 0,
            began_us: 0,
            has_ended: false,
        }
    }
}

impl Probes {
    /// No use in finding more than `goal_bps`; 0 for no probing at all. While less than `need_bps` is
    /// known to be carried something that could be sent is not.
    pub(crate) fn set_goal(&mut self, now_us: u64, goal_bps: f64, need_bps: f64) {
        if goal_bps > 1.3 * self.goal_bps || need_bps > 1.3 * self.need_bps {
            // Something larger can be had.
            self.interval_us = INTERVAL_US;
            let soon = now_us + SETTLE_US;
            self.next_us = Some(self.next_us.map_or(now_us, |at| at.min(soon)));
        }
        (self.goal_bps, self.need_bps) = (goal_bps, need_bps.min(goal_bps));
    }

    /// The mark for a packet that leaves now.
    #[inline]
    pub(crate) fn mark(&mut self, now_us: u64, size: usize) -> u8 {
        self.credit += size as i64;
        match self.active {
            None => 0,
            Some(at) => self.mark_active(at, now_us, size),
        }
    }

    fn mark_active(&mut self, at: usize, now_us: u64, size: usize) -> u8 {
        let Some(cluster) = self.clusters.get_mut(at) else {
            return 0;
        };
        if cluster.sent_packets == 0 {
            cluster.first_sent_us = now_us;
        }
        if cluster.last_sent_us != now_us {
            cluster.last_burst_bytes = 0;
        }
        cluster.last_sent_us = now_us;
        cluster.last_burst_bytes += size as u64;
        cluster.sent_bytes += size as u64;
        cluster.sent_packets += 1;
        cluster.id
    }

    /// Whether no more is to be learnt at once: the goal is reached, or a probe found its end.
    pub(crate) fn is_done(&self, estimate: f64) -> bool {
        self.has_ended || self.goal_bps > 0.0 && estimate >= self.goal_bps
    }

    /// Whether what was sent then met the queue that a probe makes.
    pub(crate) fn is_near(&self, sent_us: u64) -> bool {
        let near = |c: &Cluster| {
            let end = c.began_us + SPAN_US + ECHO_US;
            c.rate_bps > 0.0 && (c.began_us..end).contains(&sent_us)
        };
        self.clusters.iter().any(near)
    }

    /// Begins a probe if one is due. `estimate` is what is known now, `is_calm` that no packets wait.
    pub(crate) fn poll(&mut self, now_us: u64, estimate: Option<f64>, is_calm: bool) {
        if self.active.is_some() || self.next_us.is_none_or(|at| at > now_us) {
            return;
        }
        let estimate = estimate.unwrap_or(0.0);
        // Done, or switched off: looked at again later.
        if estimate >= self.goal_bps {
            self.next_us = Some(now_us + self.interval_us);
            return;
        }
        let is_overdue = now_us.saturating_sub(self.began_us) >= INTERVAL_US_MAX;
        let is_earned = self.credit >= 0 || self.wanted_bps.is_some() || is_overdue;
        if !is_calm || !is_earned {
            self.next_us = Some(now_us + AGAIN_US);
            return;
        }
        let wanted = self.wanted_bps.take().unwrap_or(2.0 * estimate);
        let rate_bps = wanted.max(FIRST_BPS / 2.0).min(1.2 * self.goal_bps);
        let at = usize::from(self.next_id) % CLUSTERS;
        if let Some(place) = self.clusters.get_mut(at) {
            *place = Cluster {
                id: self.next_id,
                rate_bps,
                began_us: now_us,
                ..Cluster::default()
            };
            self.active = Some(at);
        }
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.began_us = now_us;
        self.next_us = Some(now_us + self.interval_us);
        let longest_us = match estimate < self.need_bps {
            true => INTERVAL_US_NEEDED,
            false => INTERVAL_US_MAX,
        };
        self.interval_us = (2 * self.interval_us).min(longest_us);
    }

    /// Bytes of padding that are to leave now, beside what else left; 0 when none.
    pub(crate) fn padding(&mut self, now_us: u64) -> usize {
        let Some(cluster) = self.active.and_then(|at| self.clusters.get_mut(at)) else {
            return 0;
        };
        let since = now_us.saturating_sub(cluster.began_us);
        if since >= SPAN_US {
            cluster.is_over = true;
            self.active = None;
            return 0;
        }
        // As much as the rate allows until the next look.
        let until = since + STEP_US;
        let target = (cluster.rate_bps * until as f64 / 8e6) as u64;
        let bytes = target.saturating_sub(cluster.sent_bytes);
        self.credit = (self.credit - 20 * bytes as i64).max(CREDIT_MIN);
        usize::try_from(bytes).unwrap_or(0)
    }

    /// When to ask again.
    pub(crate) fn due_us(&self, now_us: u64) -> Option<u64> {
        match self.active {
            Some(_) => Some(now_us + STEP_US),
            None => self.next_us.filter(|_| self.goal_bps > 0.0),
        }
    }

    /// A report about a packet with a mark. `arrived_us` is on the receiver's clock.
    pub(crate) fn settle(&mut self, sent: &Sent, arrived_us: Option<i64>) {
        let at = usize::from(sent.cluster) % CLUSTERS;
        let Some(cluster) = self.clusters.get_mut(at).filter(|c| c.id == sent.cluster) else {
            return;
        };
        if !sent.was_missing {
            cluster.settled += 1;
        }
        let Some(arrived_us) = arrived_us else {
            return;
        };
        cluster.arrived_bytes += u64::from(sent.size);
        // By the clock's grain: a time may come back a microsecond off.
        if sent.sent_us <= cluster.first_sent_us {
            cluster.first_burst_arrived_bytes += u64::from(sent.size);
            let first = cluster.first_arrived_us.get_or_insert(arrived_us);
            *first = arrived_us.max(*first);
        }
        let last = cluster.last_arrived_us.get_or_insert(arrived_us);
        cluster.pause_us = cluster.pause_us.max(arrived_us.saturating_sub(*last));
        *last = arrived_us.max(*last);
    }

    /// The result of a probe, once, when all of its packets were reported on or have had the time.
    pub(crate) fn result(&mut self, now_us: u64) -> Option<Found> {
        let done = |c: &&mut Cluster| {
            let is_late = now_us > c.last_sent_us + REPORT_US_MAX;
            c.is_over && (c.settled >= c.sent_packets || is_late)
        };
        let cluster = self.clusters.iter_mut().find(done)?;
        cluster.is_over = false;
        let found = cluster.found();
        cluster.id = 0;
        found
    }

    /// What a probe found was taken in: whether, and where, to go on.
    pub(crate) fn found(&mut self, now_us: u64, found: Found) {
        match found {
            Found::Room(bps) => {
                self.interval_us = INTERVAL_US;
                if bps < self.goal_bps {
                    self.wanted_bps = Some(2.0 * bps);
                    self.next_us = Some(now_us);
                }
            }
            Found::Full(_) => {
                self.wanted_bps = None;
                self.has_ended = true;
            }
        }
    }

    /// The path is back after nothing was heard of it: it may carry what it did.
    pub(crate) fn returned(&mut self, now_us: u64, bps: f64) {
        if let Some(next_us) = &mut self.next_us {
            self.wanted_bps = Some(bps);
            *next_us = now_us + AGAIN_US;
        }
    }

    /// The rate was reduced, by what packets waited: what a probe would find at once is the queue.
    /// Where there was hardly one it is soon seen whether the path was full at all.
    pub(crate) fn reduced(&mut self, now_us: u64, waits_us: u64) {
        let pause = match waits_us < DOUBTFUL_US {
            true => DOUBT_US,
            false => INTERVAL_US,
        };
        self.interval_us = INTERVAL_US;
        self.next_us = self.next_us.map(|_| now_us + pause);
    }
}

impl Cluster {
    fn found(&self) -> Option<Found> {
        // What is lost is not measured; with half of it gone nothing is.
        if 2 * self.arrived_bytes < self.sent_bytes {
            return None;
        }
        let send_us = self.last_sent_us.checked_sub(self.first_sent_us)?;
        let arrival_us = self.last_arrived_us?.saturating_sub(self.first_arrived_us?);
        if send_us < SPAN_US / 3 || arrival_us < (SPAN_US / 6) as i64 {
            // Delivered at once: that is not a rate.
            return None;
        }
        if arrival_us > 2 * SPAN_US as i64 && 2 * self.pause_us > arrival_us {
            // Held up once, and for long: nor is that.
            return None;
        }
        let sent = (self.sent_bytes - self.last_burst_bytes) as f64 * 8e6 / send_us as f64;
        let arrived_bytes = self.arrived_bytes - self.first_burst_arrived_bytes;
        let arrived = arrived_bytes as f64 * 8e6 / arrival_us as f64;
        if arrived > 2.0 * sent {
            return None;
        }
        Some(match arrived < FULL_BELOW * sent {
            true => Found::Full(FULL_SHARE * arrived),
            false => Found::Room(sent.min(arrived)),
        })
    }
}

const CLUSTERS: usize = 4;
/// What a path is tried for before anything is known of it.
const FIRST_BPS: f64 = 900e3;
/// How long a probe lasts, and how often something is sent meanwhile: bursts enough to tell
/// a rate, and so little in all that a narrow path's queue takes it.
const SPAN_US: u64 = 24_000;
const STEP_US: u64 = 4_000;
/// The queue a probe leaves is gone after this.
const ECHO_US: u64 = 100_000;
/// Between probes, doubled with each that finds nothing; the lower end where more could be sent.
const INTERVAL_US: u64 = 1_000_000;
const INTERVAL_US_NEEDED: u64 = 2_000_000;
const INTERVAL_US_MAX: u64 = 30_000_000;
/// When one that is due has to wait.
const AGAIN_US: u64 = 100_000;
/// A reduction with less of a queue than this may have been a mistake, and that is looked at after so
/// long.
const DOUBTFUL_US: u64 = 25_000;
const DOUBT_US: u64 = 300_000;
/// Twenty times the padding of the first probes.
const CREDIT_MIN: i64 = -20 * 64_000;
/// After a change of what is wanted.
const SETTLE_US: u64 = 500_000;
/// A report on a probe's packets takes no longer, or was lost.
const REPORT_US_MAX: u64 = 1_000_000;
/// Arriving more slowly than this share of the sending rate means a full path, and of what then
/// arrives this much is taken, so that the queue drains.
const FULL_BELOW: f64 = 0.9;
const FULL_SHARE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    /// A probe over a path of this rate, with this share of its packets lost; what it found.
    fn probe(path_bps: f64, lose_every: usize) -> Option<Found> {
        let mut probes = Probes::default();
        probes.set_goal(0, 10e6, 0.0);
        probes.poll(0, Some(2e6), true);
        probes.wanted_bps = None;
        let (mut free_us, mut reports) = (0.0_f64, Vec::new());
        let mut now = 0;
        while probes.active.is_some() {
            let mut left = probes.padding(now);
            while left > 0 && probes.active.is_some() {
                let cluster = probes.mark(now, 290);
                left = left.saturating_sub(290);
                free_us = free_us.max(now as f64) + 290.0 * 8e6 / path_bps;
                let sent = Sent {
                    sent_us: now,
                    size: 290,
                    cluster,
                    was_missing: false,
                };
                reports.push((sent, free_us as i64));
            }
            now += STEP_US;
        }
        for (n, (sent, arrived)) in reports.iter().enumerate() {
            assert_eq!(probes.result(0), None, "not all is known");
            let lost = lose_every > 0 && n % lose_every == lose_every - 1;
            probes.settle(sent, (!lost).then_some(*arrived));
        }
        let found = probes.result(0);
        assert_eq!(probes.result(0), None, "once");
        found
    }

    #[test]
    fn a_path_with_room_shows_the_rate_sent_and_a_full_one_its_own() {
        // The first try is at FIRST_BPS.
        let Some(Found::Room(bps)) = probe(20e6, 0) else {
            panic!("there was room");
        };
        assert!((0.75e6..1.1e6).contains(&bps), "{bps}");
        for lose_every in [0, 5] {
            let Some(Found::Full(bps)) = probe(500e3, lose_every) else {
                panic!("it was full");
            };
            assert!((0.33e6..0.5e6).contains(&bps), "{bps}");
        }
    }

    #[test]
    fn with_half_of_it_lost_nothing_is_said() {
        assert_eq!(probe(20e6, 1), None);
    }

    #[test]
    fn what_was_held_up_once_is_no_rate() {
        let mut probes = Probes::default();
        probes.set_goal(0, 10e6, 0.0);
        probes.poll(0, None, true);
        let mut number = 0;
        for now in (0..SPAN_US).step_by(STEP_US as usize) {
            let size = probes.padding(now);
            let cluster = probes.mark(now, size);
            let sent = Sent {
                sent_us: now,
                size: size as u16,
                cluster,
                was_missing: false,
            };
            // Two packets arrive, and 300 ms later all the others.
            let arrived_us = now as i64 + if number < 2 { 0 } else { 300_000 };
            number += 1;
            probes.settle(&sent, Some(arrived_us));
        }
        assert_eq!(probes.padding(SPAN_US), 0);
        assert!(number >= 6 && probes.result(0).is_none());
    }

    #[test]
    fn results_lead_to_twice_as_much_or_to_a_longer_pause() {
        let mut probes = Probes::default();
        probes.set_goal(0, 5e6, 0.0);
        probes.poll(0, None, true);
        assert!(probes.active.take().is_some());
        probes.found(100_000, Found::Room(1e6));
        probes.poll(100_000, Some(1e6), true);
        let at = probes.active.take().expect("at once");
        assert_eq!(probes.clusters[at].rate_bps, 2e6);
        probes.found(200_000, Found::Full(1.3e6));
        let mut now = 200_000;
        let mut gaps = |probes: &mut Probes, count: usize| -> Vec<u64> {
            let mut times = Vec::new();
            while times.len() < count {
                now += 50_000;
                probes.poll(now, Some(1.3e6), true);
                if probes.active.take().is_some() {
                    times.push(now);
                    probes.found(now, Found::Full(1.3e6));
                }
            }
            times.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        let patient = gaps(&mut probes, 8);
        assert!(
            patient.is_sorted() && patient[6] >= 29_000_000,
            "{patient:?}"
        );
        // More could be sent if only it were known: tried soon, and again and again.
        probes.set_goal(0, 5e6, 2e6);
        probes.next_us = Some(0);
        let eager = gaps(&mut probes, 8);
        assert!(
            eager.iter().all(|gap| *gap <= INTERVAL_US_NEEDED),
            "{eager:?}"
        );
    }

    #[test]
    fn while_packets_wait_or_padding_is_owed_there_are_no_probes() {
        let mut probes = Probes::default();
        probes.set_goal(0, 5e6, 5e6);
        probes.poll(0, None, false);
        assert!(probes.active.is_none());
        probes.poll(AGAIN_US, None, true);
        assert!(probes.active.is_some());
        let mut owed = 0;
        for now in (0..=SPAN_US).step_by(STEP_US as usize) {
            let bytes = probes.padding(AGAIN_US + now);
            owed += bytes;
            probes.mark(AGAIN_US + now, bytes);
        }
        probes.found(200_000, Found::Full(1e6));
        probes.poll(5_000_000, Some(1e6), true);
        assert!(probes.active.is_none(), "{owed} bytes");
        probes.mark(5_000_000, 20 * owed);
        probes.poll(6_000_000, Some(1e6), true);
        assert!(probes.active.is_some());
    }

    #[test]
    fn without_a_goal_there_are_no_probes() {
        let mut probes = Probes::default();
        for now in (0..100).map(|second| second * 1_000_000) {
            probes.poll(now, None, true);
            assert!(probes.active.is_none());
            assert_eq!((probes.padding(now), probes.mark(now, 100)), (0, 0));
        }
        assert_eq!(probes.due_us(0), None);
    }
}
