//! Replay protection: a sliding window per SSRC, for a bounded number of SSRCs. Senders use the
//! same window to seal nothing twice.

/// Packets a window reaches back. RFC 3711 §3.3.2 asks for at least 64; NACK answers on the media
/// SSRC arrive later than that at high rates.
pub(crate) const WINDOW_LEN: u64 = 1024;

const WORD_COUNT: usize = (WINDOW_LEN / 64) as usize;

/// SSRCs remembered per key. A browser uses a handful per connection; the limit bounds what an
/// authenticated peer can make us store.
pub(crate) const SSRC_COUNT_MAX: usize = 64;

/// Which of the latest indices of one SSRC were received.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    highest: u64,
    seen: [u64; WORD_COUNT],
}

/// What a window says about an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fresh,
    Replayed,
    TooOld,
}

impl Window {
    pub(crate) fn new(first: u64) -> Self {
        let mut window = Self {
            highest: first,
            seen: [0; WORD_COUNT],
        };
        window.set(first);
        window
    }

    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    pub(crate) fn check(&self, index: u64) -> Verdict {
        if index > self.highest {
            return Verdict::Fresh;
        }
        if self.highest - index >= WINDOW_LEN {
            return Verdict::TooOld;
        }
        let (word, bit) = slot(index);
        if self.seen[word] & bit == 0 {
            Verdict::Fresh
        } else {
            Verdict::Replayed
        }
    }

    /// Remembers an authenticated index that [`check`](Self::check) called fresh.
    pub(crate) fn accept(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= WINDOW_LEN {
                self.seen = [0; WORD_COUNT];
            } else {
                for passed in self.highest + 1..index {
                    let (word, bit) = slot(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = index;
        }
        self.set(index);
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = slot(index);
        self.seen[word] |= bit;
    }
}

/// The windows of all SSRCs under one key.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Grows to [`SSRC_COUNT_MAX`] and never shrinks: forgetting an SSRC would allow its replay.
    windows: Vec<(u32, Window)>,
    /// Where the SSRC of the previous packet stands; packets come in bursts.
    recent: usize,
}

impl Sources {
    pub(crate) fn window(&self, ssrc: u32) -> Option<&Window> {
        self.position(ssrc)
            .and_then(|at| self.windows.get(at))
            .map(|(_, window)| window)
    }

    /// Whether an SSRC not seen before could be remembered.
    pub(crate) fn has_room(&self) -> bool {
        self.windows.len() < SSRC_COUNT_MAX
    }

    /// Remembers an index; to be called only after the packet was authenticated.
    pub(crate) fn accept(&mut self, ssrc: u32, index: u64) {
        if let Some(at) = self.position(ssrc) {
            self.recent = at;
            self.windows[at].1.accept(index);
            return;
        }
        debug_assert!(
            self.has_room(),
            "the opener asks for room before it decrypts"
        );
        self.recent = self.windows.len();
        self.windows.push((ssrc, Window::new(index)));
    }

    fn position(&self, ssrc: u32) -> Option<usize> {
        if self
            .windows
            .get(self.recent)
            .is_some_and(|(known, _)| *known == ssrc)
        {
            return Some(self.recent);
        }
        self.windows.iter().position(|(known, _)| *known == ssrc)
    }
}

/// Word and bit of an index's place in the window.
fn slot(index: u64) -> (usize, u64) {
    let at = index % WINDOW_LEN;
    ((at / 64) as usize, 1 << (at % 64))
}
