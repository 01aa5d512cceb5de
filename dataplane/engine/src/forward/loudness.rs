//! How loud a publisher is, by what its packets say (RFC 6464).

use std::time::{Duration, Instant};

use whitewater_link::Loudness;

/// The level of one source, smoothed, and whether somebody speaks.
#[derive(Debug, Default)]
pub struct LoudnessMeter {
    heard_at: Option<Instant>,
    /// In 1/256 dBov.
    level: i32,
    is_speaking: bool,
    /// Since when the level says otherwise.
    other_since: Option<Instant>,
}

impl LoudnessMeter {
    /// A packet's level in dBov, -127 to 0. `Some` when somebody began or ceased to speak.
    #[inline]
    pub fn note(&mut self, now: Instant, level_dbov: i8) -> Option<Loudness> {
        let level = i32::from(level_dbov.clamp(SILENCE, 0)) * 256;
        self.level = match self.heard_at.replace(now) {
            None => level,
            // Rises are followed faster than falls: the end of a word is not the end of speech.
            Some(_) if level > self.level => self.level + (level - self.level) / 2,
            Some(_) => self.level + (level - self.level) / 8,
        };
        self.judge(now)
    }

    /// Looks whether anything was heard at all. `Some` when somebody ceased to speak by that.
    pub fn look(&mut self, now: Instant) -> Option<Loudness> {
        let heard_at = self.heard_at?;
        if now.saturating_duration_since(heard_at) < HEARD_WITHIN {
            return None;
        }
        self.level = i32::from(SILENCE) * 256;
        self.other_since = None;
        std::mem::replace(&mut self.is_speaking, false).then(|| self.now())
    }

    /// The level now; `None` where no packet told one.
    pub fn loudness(&self) -> Option<Loudness> {
        self.heard_at.map(|_| self.now())
    }

    fn judge(&mut self, now: Instant) -> Option<Loudness> {
        let level = self.level / 256;
        let (is_other, after) = match self.is_speaking {
            false => (level >= SPEECH_DBOV, SPEECH_AFTER),
            true => (level < QUIET_DBOV, QUIET_AFTER),
        };
        if !is_other {
            self.other_since = None;
            return None;
        }
        let since = *self.other_since.get_or_insert(now);
        if now.saturating_duration_since(since) < after {
            return None;
        }
        self.other_since = None;
        self.is_speaking = !self.is_speaking;
        Some(self.now())
    }

    fn now(&self) -> Loudness {
        Loudness {
            level_dbov: i8::try_from(self.level / 256).unwrap_or(SILENCE),
            is_speaking: self.is_speaking,
        }
    }
}

/// RFC 6464 §3: digital silence.
const SILENCE: i8 = -127;
/// Speech is at some -20 to -35 dBov, the noise of a room below -55.
const SPEECH_DBOV: i32 = -45;
const SPEECH_AFTER: Duration = Duration::from_millis(100);
const QUIET_DBOV: i32 = -50;
const QUIET_AFTER: Duration = Duration::from_millis(700);
/// Comfort noise comes every 400 ms.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    struct Speaker {
        now: Instant,
        meter: LoudnessMeter,
    }

    impl Speaker {
        /// Packets of 20 ms; when the state changed, and to what.
        fn say(&mut self, level: i8, span: Duration) -> Vec<(Duration, bool)> {
            let began = self.now;
            let mut changes = Vec::new();
            while self.now - began < span {
                self.now += Duration::from_millis(20);
                if let Some(change) = self.meter.note(self.now, level) {
                    changes.push((self.now - began, change.is_speaking));
                }
            }
            changes
        }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn speech_begins_soon_and_ends_late() {
        let mut speaker = Speaker {
            now: Instant::now(),
            meter: LoudnessMeter::default(),
        };
        assert_eq!(speaker.meter.loudness(), None);
        assert_eq!(speaker.say(-70, ms(2_000)), []);
        let began = speaker.say(-25, ms(1_000));
        assert!(
            matches!(began[..], [(after, true)] if after < ms(220)),
            "{began:?}"
        );
        // The pauses between words end nothing.
        for _ in 0..5 {
            assert_eq!(speaker.say(-65, ms(300)), []);
            assert_eq!(speaker.say(-25, ms(300)), []);
        }
        let level = speaker.meter.loudness().expect("it told").level_dbov;
        assert!((-27..=-25).contains(&level), "{level}");
        let ended = speaker.say(-70, ms(2_000));
        assert!(
            matches!(ended[..], [(after, false)] if after < ms(1_200)),
            "{ended:?}"
        );
    }

    #[test]
    fn a_click_is_no_speech_and_noise_at_the_threshold_does_not_flicker() {
        let mut speaker = Speaker {
            now: Instant::now(),
            meter: LoudnessMeter::default(),
        };
        speaker.say(-80, ms(500));
        assert_eq!(speaker.say(-10, ms(40)), []);
        assert_eq!(speaker.say(-80, ms(1_000)), []);
        let mut changes = Vec::new();
        for round in 0..200 {
            let level = if round % 2 == 0 { -44 } else { -49 };
            changes.extend(speaker.say(level, ms(60)));
        }
        assert!(changes.len() <= 1, "{changes:?}");
    }

    #[test]
    fn who_sends_nothing_does_not_speak() {
        let mut speaker = Speaker {
            now: Instant::now(),
            meter: LoudnessMeter::default(),
        };
        speaker.say(-20, ms(500));
        assert_eq!(speaker.meter.look(speaker.now + ms(400)), None);
        let end = speaker.meter.look(speaker.now + ms(1_500)).expect("told");
        assert_eq!((end.is_speaking, end.level_dbov), (false, -127));
        assert_eq!(speaker.meter.look(speaker.now + ms(2_500)), None, "once");
    }
}
