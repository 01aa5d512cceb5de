//! What a process costs, as the kernel accounts it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// CPU time and memory of a process, read again and again.
///
/// CPU time is that of each thread (`/proc/PID/task/*/schedstat`: nanoseconds on a CPU, in the
/// kernel and out of it); that of threads that ended is kept as last read.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    threads: HashMap<u32, Thread>,
}

#[derive(Debug)]
struct Thread {
    name: String,
    on_cpu: Duration,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time of all threads since they started.
    pub cpu: Duration,
    /// That of the threads that move packets: those called `shard…`, and what the kernel starts
    /// for their rings (`iou-…`). Zero for servers that name them otherwise.
    pub shards: Duration,
    /// Resident memory now, bytes.
    pub resident: u64,
    /// The most resident memory so far, bytes.
    pub resident_peak: u64,
}

impl Meter {
    /// Of this process: `None` when there is none, or it may not be looked at.
    #[must_use]
    pub fn new(pid: u32) -> Option<Self> {
        let mut meter = Meter {
            pid,
            threads: HashMap::new(),
        };
        meter.read().map(|_| meter)
    }

    /// Reads now; `None` when the process is gone.
    pub fn read(&mut self) -> Option<Reading> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        for task in tasks.flatten() {
            let path = task.path();
            let number = task.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(number) = number else {
                continue;
            };
            let time = fs::read_to_string(path.join("schedstat")).ok();
            let time = time.and_then(|text| text.split(' ').next()?.parse().ok());
            let Some(time) = time.map(Duration::from_nanos) else {
                continue;
            };
            let thread = self.threads.entry(number).or_insert_with(|| {
                let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                Thread {
                    name: name.trim().to_owned(),
                    on_cpu: time,
                }
            });
            thread.on_cpu = time;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let threads = self.threads.values();
        let moving =
            |thread: &&Thread| thread.name.starts_with("shard") || thread.name.starts_with("iou-");
        Some(Reading {
            cpu: threads.clone().map(|thread| thread.on_cpu).sum(),
            shards: threads.filter(moving).map(|thread| thread.on_cpu).sum(),
            resident: kib(&status, "VmRSS:") * 1024,
            resident_peak: kib(&status, "VmHWM:") * 1024,
        })
    }
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.and_then(|rest| rest.split_whitespace().next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let mut meter = Meter::new(std::process::id()).unwrap();
        let before = meter.read().unwrap();
        assert!(before.resident > 1 << 20, "{before:?}");
        assert!(before.resident_peak >= before.resident);
        let mut sum = 0_u64;
        while meter.read().unwrap().cpu - before.cpu < Duration::from_millis(20) {
            for number in 0..100_000 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
        }
    }

    #[test]
    fn a_process_that_is_not_there_has_no_meter() {
        assert!(Meter::new(u32::MAX).is_none());
    }
}
