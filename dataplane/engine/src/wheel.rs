//! A hashed timer wheel: three levels of 256 slots of 1 ms, 256 ms and 65.5 s.
//!
//! Entries are hints: an owner that moves its deadline later leaves its entry where it is and,
//! when woken too early, puts a new one in. So nothing is ever searched or removed, and a busy
//! session costs one entry at a time.

use std::time::{Duration, Instant};

/// Wakes keys at or shortly after their time.
#[derive(Debug)]
pub struct Wheel {
    origin: Instant,
    /// All ticks before this one have been expired.
    tick: u64,
    levels: [Level; LEVELS],
    len: usize,
}

#[derive(Debug)]
struct Level {
    slots: Vec<Vec<Entry>>,
    occupied: [u64; SLOTS / 64],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    key: u32,
}

impl Wheel {
    /// An empty wheel whose time starts at `origin`.
    pub fn new(origin: Instant) -> Self {
        let level = || Level {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; SLOTS / 64],
        };
        Wheel {
            origin,
            tick: 0,
            levels: std::array::from_fn(|_| level()),
            len: 0,
        }
    }

    /// Wakes `key` at `at`, rounded up to the next millisecond; at once if that has passed.
    pub fn insert(&mut self, at: Instant, key: u32) {
        let at = self.tick_of(at).max(self.tick);
        self.place(Entry { at, key });
        self.len += 1;
    }

    /// Lets go of room that fuller times needed.
    pub fn shrink(&mut self) {
        let levels = self.levels.iter_mut();
        let slots = levels.flat_map(|level| &mut level.slots);
        slots.for_each(|slot| slot.shrink_to(SLOT_KEPT));
    }

    /// Moves every key whose time has come by `now` to `fired`, in no particular order within
    /// one millisecond.
    pub fn expire(&mut self, now: Instant, fired: &mut Vec<u32>) {
        let now_tick = self.elapsed_ticks(now);
        while self.tick <= now_tick {
            if self.len == 0 {
                self.tick = now_tick + 1;
                return;
            }
            let Some(next) = self.levels[0].next_occupied(slot(self.tick, 0)) else {
                // Nothing in the rest of this turn of the first level.
                let boundary = (self.tick | (SLOTS as u64 - 1)) + 1;
                if boundary > now_tick + 1 {
                    self.tick = now_tick + 1;
                    return;
                }
                self.tick = boundary;
                self.cascade();
                continue;
            };
            let due = (self.tick & !(SLOTS as u64 - 1)) + next as u64;
            if due > now_tick {
                self.tick = now_tick + 1;
                if self.tick.is_multiple_of(SLOTS as u64) {
                    self.cascade();
                }
                return;
            }
            let slot = &mut self.levels[0].slots[next];
            self.len -= slot.len();
            fired.extend(slot.drain(..).map(|entry| entry.key));
            self.levels[0].clear(next);
            self.tick = due + 1;
            if self.tick.is_multiple_of(SLOTS as u64) {
                self.cascade();
            }
        }
    }

    /// When to call [`expire`](Self::expire) next: never later than the earliest key's time, and
    /// possibly earlier when that is far away.
    pub fn next(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let tick = match self.levels[0].next_occupied(slot(self.tick, 0)) {
            Some(next) => (self.tick & !(SLOTS as u64 - 1)) + next as u64,
            None => (self.tick | (SLOTS as u64 - 1)) + 1,
        };
        Some(self.origin + Duration::from_millis(tick))
    }

    /// Entries inside.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&mut self, entry: Entry) {
        let distance = entry.at - self.tick;
        let level = if (entry.at ^ self.tick) < SLOTS as u64 {
            0
        } else if (entry.at ^ self.tick) < (SLOTS * SLOTS) as u64 {
            1
        } else {
            2
        };
        // Farther than the last level reaches: parked in its farthest slot, placed again there.
        let reach = (SLOTS * SLOTS * (SLOTS - 1)) as u64;
        let at = if distance > reach {
            self.tick + reach
        } else {
            entry.at
        };
        let index = slot(at, level);
        self.levels[level].slots[index].push(entry);
        self.levels[level].occupied[index / 64] |= 1 << (index % 64);
    }

    /// At a boundary of the first level: brings down what the upper levels hold for the turn that
    /// begins.
    fn cascade(&mut self) {
        if self.tick.is_multiple_of((SLOTS * SLOTS) as u64) {
            self.bring_down(2);
        }
        self.bring_down(1);
    }

    fn bring_down(&mut self, level: usize) {
        let index = slot(self.tick, level);
        let mut entries = std::mem::take(&mut self.levels[level].slots[index]);
        self.levels[level].clear(index);
        for mut entry in entries.drain(..) {
            entry.at = entry.at.max(self.tick);
            self.place(entry);
        }
        // The memory goes back, unless an entry was parked in the same slot again.
        if self.levels[level].slots[index].is_empty() {
            self.levels[level].slots[index] = entries;
        }
    }

    fn tick_of(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX / 2)
    }

    fn elapsed_ticks(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl Level {
    fn next_occupied(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied[word] & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.occupied.get(word)?;
        }
    }

    fn clear(&mut self, index: usize) {
        self.occupied[index / 64] &= !(1 << (index % 64));
    }
}

fn slot(tick: u64, level: usize) -> usize {
    (tick >> (8 * level)) as usize & (SLOTS - 1)
}

/// Entries a slot keeps room for when it is shrunk.
const SLOT_KEPT: usize = 4;
const SLOTS: usize = 256;
const LEVELS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn fires_at_its_time_and_not_before() {
        let start = Instant::now();
        for delay in [
            0, 1, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000, 20_000_000,
        ] {
            let mut wheel = Wheel::new(start);
            wheel.expire(start + ms(13), &mut Vec::new());
            let at = start + ms(13 + delay);
            wheel.insert(at, 7);
            let mut fired = Vec::new();
            // Follow only the wheel's own advice, as the loop does.
            let mut steps = 0;
            while fired.is_empty() {
                let next = wheel.next().expect("something waits");
                assert!(next <= at + ms(1), "{delay}: advised {:?} late", next - at);
                wheel.expire(next, &mut fired);
                if !fired.is_empty() {
                    assert!(next >= at, "{delay}: fired early");
                }
                steps += 1;
                assert!(steps < 100_000, "{delay}");
            }
            assert_eq!(fired, [7]);
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn agrees_with_a_sorted_list() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let mut expected: Vec<(u64, u32)> = Vec::new();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        let mut now = 0;
        for key in 0..20_000_u32 {
            let delay = match random(3) {
                0 => random(50),
                1 => random(5_000),
                _ => random(200_000),
            };
            wheel.insert(start + ms(now + delay), key);
            // A millisecond that has been expired does not come again.
            let earliest = if key == 0 { 0 } else { now + 1 };
            expected.push(((now + delay).max(earliest), key));
            now += random(40);
            let mut fired = Vec::new();
            wheel.expire(start + ms(now), &mut fired);
            fired.sort_unstable();
            let mut due: Vec<u32> = Vec::new();
            expected.retain(|&(at, key)| {
                if at <= now {
                    due.push(key);
                }
                at > now
            });
            due.sort_unstable();
            assert_eq!(fired, due, "at {now}");
        }
        assert_eq!(wheel.len(), expected.len());
    }
}
