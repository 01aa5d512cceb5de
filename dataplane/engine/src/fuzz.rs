//! Operation lists for what decides over packets: the bodies of the fuzz targets `switching` and
//! `engine`, which the tests here run on random bytes.
//!
//! Input is read as the choices of a random generator, so that every input is a valid list, and one
//! that is longer is the same list with more at its end.

mod stage;

use std::convert::Infallible;
use std::time::Instant;

use rand::{RngExt, TryRng};

use crate::forward::egress::switching::{Arrival, Pattern, play};

/// Pictures of any layers, wishes, estimates, mutes, losses: what a viewer is sent can be decoded. How
/// many packets it is sent.
///
/// # Panics
/// When something that looks whole cannot be decoded, a number is used twice, or time goes back.
pub fn switching(now: Instant, data: &[u8]) -> usize {
    let mut rng = Choices::of(data);
    let pattern = Pattern::any(&mut rng);
    let arrival = match rng.random() {
        true => Arrival::InOrder,
        false => Arrival::Anyhow,
    };
    play(now, &mut rng, (pattern, arrival), "fuzzing")
}

/// Sessions that come and go, packets, feedback of any bytes, time: nothing panics, no packet index is
/// used twice, nobody is sent anything after the end, and what viewers get can be decoded. How many
/// packets of video viewers got.
///
/// # Panics
/// When one of that is not so.
pub fn engine(now: Instant, data: &[u8]) -> usize {
    let mut rng = Choices::of(data);
    let mut stage = stage::Stage::new(now, &mut rng);
    while !rng.is_over() {
        stage.act(&mut rng);
    }
    stage.end()
}

/// Bytes that are taken for random numbers. Behind their end they go round all values: who draws
/// until a number is new would not end with zeros.
struct Choices<'a> {
    rest: &'a [u8],
    behind: u8,
}

impl<'a> Choices<'a> {
    fn of(rest: &'a [u8]) -> Self {
        Choices { rest, behind: 0 }
    }

    fn is_over(&self) -> bool {
        self.rest.is_empty()
    }
}

impl TryRng for Choices<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // One byte decides, in the upper bits that ranges are made of.
        let mut bytes = [0; 1];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from(bytes[0]) * 0x0101_0101)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 2];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from(u16::from_be_bytes(bytes)) * 0x0001_0001_0001_0001)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        let count = dst.len().min(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        dst[..count].copy_from_slice(taken);
        for byte in &mut dst[count..] {
            *byte = self.behind;
            self.behind = self.behind.wrapping_add(BEHIND_STEP);
        }
        self.rest = rest;
        Ok(())
    }
}

/// Odd, so that it comes to all of them.
const BEHIND_STEP: u8 = 89;

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// What all runs together come to.
    fn on_random_bytes(len: usize, seeds: u64, run: fn(Instant, &[u8]) -> usize) -> usize {
        let mut data = vec![0; len];
        let mut sum = run(Instant::now(), &[]);
        for seed in 0..seeds {
            StdRng::seed_from_u64(seed).fill_bytes(&mut data);
            sum += run(Instant::now(), &data);
        }
        sum
    }

    #[test]
    fn any_list_of_pictures_and_wishes_is_switched_without_a_trace() {
        let sent = on_random_bytes(4_000, 60, switching);
        assert!(sent > 5_000, "{sent}");
    }

    #[test]
    fn any_list_of_operations_leaves_the_engine_whole() {
        let sent = on_random_bytes(3_000, 40, engine);
        assert!(sent > 5_000, "{sent}");
    }
}
