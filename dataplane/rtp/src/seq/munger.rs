//! One continuous egress sequence across source switches, drops and own packets.

use std::collections::VecDeque;

/// Maps the sequence numbers of changing sources to one contiguous egress sequence.
///
/// The egress line is cut into runs. Inside a run ingress and egress numbers differ by a constant;
/// a new run starts at a source switch, after a packet left out on purpose and after a packet of
/// our own. Packets that are merely late or lost keep their place inside their run, so a gap that
/// the network made stays visible to the viewer.
///
/// Guarantee: [`map`](Self::map) and [`insert`](Self::insert) never return the same number twice.
/// The caller may therefore use it as SRTP packet index under one key.
#[derive(Debug, Clone)]
pub struct SeqMunger {
    /// Newest run last; never empty once a source is set.
    runs: VecDeque<Run>,
    /// The first egress number that belongs to no packet seen so far.
    next_egress: u64,
    /// The first ingress number of the current source beyond all seen so far.
    next_ingress: u64,
    generation: u32,
    used: UsedWindow,
}

/// Where an egress packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Which source: counts the calls of [`SeqMunger::switch`], the first being 1.
    pub generation: u32,
    /// The source's extended sequence number.
    pub ingress: u64,
}

/// A stretch of egress numbers at a constant distance from one source's numbers.
#[derive(Debug, Clone, Copy)]
struct Run {
    generation: u32,
    first_ingress: u64,
    first_egress: u64,
}

impl SeqMunger {
    /// A sequence whose first packet gets `first_egress`; no source yet.
    ///
    /// RFC 3550 §5.1 asks for a random 16-bit start; SRTP needs the upper bits to be zero then.
    #[must_use]
    pub fn new(first_egress: u64) -> Self {
        Self {
            runs: VecDeque::with_capacity(RUN_COUNT_MAX),
            next_egress: first_egress,
            next_ingress: 0,
            generation: 0,
            used: UsedWindow::new(),
        }
    }

    /// Goes on with another source (or a restarted one) from `first_ingress`.
    ///
    /// Its packets before `first_ingress`, and all of the previous source's, are refused from now
    /// on. The first packet follows the highest egress number without a gap. Returns the new
    /// source's generation.
    pub fn switch(&mut self, first_ingress: u64) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.next_ingress = first_ingress;
        self.start_run(first_ingress);
        self.generation
    }

    /// The egress number for the current source's packet `ingress`.
    ///
    /// `None` when there is no source, the packet is older than the switch or than what is
    /// remembered (32 runs, 1024 egress numbers), was skipped, or was mapped before.
    pub fn map(&mut self, ingress: u64) -> Option<u64> {
        let egress = self.place(ingress)?;
        if !self.used.mark(egress) {
            return None;
        }
        self.advance(ingress, egress)?;
        Some(egress)
    }

    /// Leaves a packet out so that the viewer sees no gap.
    ///
    /// Works for a packet newer than all before it. A late one has its place in the sequence
    /// already: it is only barred from being mapped, and the gap stays.
    pub fn skip(&mut self, ingress: u64) {
        let Some(egress) = self.place(ingress) else {
            return;
        };
        if ingress < self.next_ingress {
            self.used.bar(egress);
            return;
        }
        let Some(next_ingress) = ingress.checked_add(1) else {
            return;
        };
        // Numbers between the last packet and this one may still arrive: they keep their places.
        self.next_egress = egress;
        self.next_ingress = next_ingress;
        self.start_run(next_ingress);
    }

    /// Takes the next egress number for a packet of our own, such as padding.
    ///
    /// `None` only at the end of the 64-bit space.
    pub fn insert(&mut self) -> Option<u64> {
        let egress = self.next_egress;
        self.next_egress = egress.checked_add(1)?;
        let fresh = self.used.mark(egress);
        debug_assert!(fresh, "next_egress lies above everything used");
        self.used.disown(egress);
        if self.generation > 0 {
            self.start_run(self.next_ingress);
        }
        Some(egress)
    }

    /// Which ingress packet was sent as `egress`.
    ///
    /// `None` for numbers not sent, forgotten, or taken by [`insert`](Self::insert).
    #[must_use]
    pub fn origin(&self, egress: u64) -> Option<Origin> {
        if !self.used.is_owned(egress) {
            return None;
        }
        let run = self
            .runs
            .iter()
            .rev()
            .find(|run| run.first_egress <= egress)?;
        let ingress = run.first_ingress.checked_add(egress - run.first_egress)?;
        Some(Origin {
            generation: run.generation,
            ingress,
        })
    }

    /// The number the next packet in order will get.
    #[must_use]
    pub fn next_egress(&self) -> u64 {
        self.next_egress
    }

    /// The current source's generation; 0 before the first [`switch`](Self::switch).
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The egress number that belongs to `ingress`, whether or not it was used.
    fn place(&self, ingress: u64) -> Option<u64> {
        let mut upper = None;
        // At most `RUN_COUNT_MAX` runs; almost always the first one fits.
        for run in self.runs.iter().rev() {
            if run.generation != self.generation {
                return None;
            }
            if run.first_ingress <= ingress {
                let egress = run.first_egress.checked_add(ingress - run.first_ingress)?;
                // At or beyond the next run's start lies what was skipped.
                return (upper.is_none_or(|upper| egress < upper)).then_some(egress);
            }
            upper = Some(run.first_egress);
        }
        None
    }

    fn advance(&mut self, ingress: u64, egress: u64) -> Option<()> {
        if ingress >= self.next_ingress {
            self.next_ingress = ingress.checked_add(1)?;
            self.next_egress = egress.checked_add(1)?;
        }
        Some(())
    }

    /// Starts a run at the next egress number, in place of one that never got a packet.
    fn start_run(&mut self, first_ingress: u64) {
        let first_egress = self.next_egress;
        while self
            .runs
            .back()
            .is_some_and(|run| run.first_egress >= first_egress)
        {
            self.runs.pop_back();
        }
        if self.runs.len() == RUN_COUNT_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            generation: self.generation,
            first_ingress,
            first_egress,
        });
    }
}

/// Which of the latest egress numbers were sent, and which of those for an ingress packet.
#[derive(Debug, Clone)]
struct UsedWindow {
    used: [u64; WORD_COUNT],
    owned: [u64; WORD_COUNT],
    /// One above the highest number marked.
    end: u64,
}

impl UsedWindow {
    fn new() -> Self {
        Self {
            used: [0; WORD_COUNT],
            owned: [0; WORD_COUNT],
            end: 0,
        }
    }

    /// Marks `number` as sent for an ingress packet; false when it was marked or is too old.
    fn mark(&mut self, number: u64) -> bool {
        self.reserve(number, true)
    }

    /// Marks `number` as never to be sent.
    fn bar(&mut self, number: u64) {
        self.reserve(number, false);
    }

    /// Turns a marked number into one that has no ingress packet.
    fn disown(&mut self, number: u64) {
        let (word, bit) = slot(number);
        self.owned[word] &= !bit;
    }

    fn is_owned(&self, number: u64) -> bool {
        let (word, bit) = slot(number);
        self.covers(number) && number < self.end && self.owned[word] & bit != 0
    }

    fn reserve(&mut self, number: u64, owned: bool) -> bool {
        if !self.covers(number) || number == u64::MAX {
            return false;
        }
        self.clear_up_to(number);
        let (word, bit) = slot(number);
        if self.used[word] & bit != 0 {
            return false;
        }
        self.used[word] |= bit;
        if owned {
            self.owned[word] |= bit;
        }
        true
    }

    /// Whether `number` is no more than a window behind the end.
    fn covers(&self, number: u64) -> bool {
        self.end.saturating_sub(number) <= WINDOW
    }

    /// Moves the end past `number`, forgetting what falls out; at most one window of work.
    fn clear_up_to(&mut self, number: u64) {
        if number < self.end {
            return;
        }
        if number - self.end >= WINDOW {
            self.used = [0; WORD_COUNT];
            self.owned = [0; WORD_COUNT];
        } else {
            for passed in self.end..=number {
                let (word, bit) = slot(passed);
                self.used[word] &= !bit;
                self.owned[word] &= !bit;
            }
        }
        self.end = number + 1;
    }
}

/// Word and bit of a number's place in the window.
fn slot(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// Runs remembered. At 30 frames per second with every other frame left out this reaches back two
/// seconds, well beyond any useful reordering or retransmission.
const RUN_COUNT_MAX: usize = 32;

/// Egress numbers remembered: about half a second of a 20 Mbit/s stream, several seconds of a
/// common one.
const WINDOW: u64 = 1024;

const WORD_COUNT: usize = (WINDOW / 64) as usize;

const _: () = assert!(
    WINDOW.is_multiple_of(64),
    "the window is made of whole words"
);
