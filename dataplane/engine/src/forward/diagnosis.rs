//! What is wrong with a publisher's media: raised when it lasts, cleared when it is over.

use whitewater_link::{Finding, FindingCode, MediaKind};

/// The state of every condition. Looked at once a second.
#[derive(Debug, Default)]
pub struct Diagnosis {
    cases: [[Case; KINDS.len()]; FindingCode::ALL.len()],
}

/// One condition of one kind of media.
#[derive(Clone, Copy, Debug, Default)]
struct Case {
    is_raised: bool,
    /// Looks in a row that said otherwise.
    otherwise: u8,
    measure: u32,
}

impl Diagnosis {
    /// What one look found: `Some` with the measure where it is wrong. To be called for each condition
    /// at each look.
    pub fn judge(&mut self, code: FindingCode, kind: MediaKind, wrong: Option<u32>) {
        let place = usize::from(kind == MediaKind::Video);
        let cases = self.cases.get_mut(code as usize);
        let Some(case) = cases.and_then(|cases| cases.get_mut(place)) else {
            return;
        };
        if let Some(measure) = wrong {
            case.measure = measure;
        }
        if wrong.is_some() == case.is_raised {
            case.otherwise = 0;
            return;
        }
        case.otherwise = case.otherwise.saturating_add(1);
        let (raised_after, cleared_after) = looks(code);
        let needed = if case.is_raised {
            cleared_after
        } else {
            raised_after
        };
        if case.otherwise >= needed {
            *case = Case {
                is_raised: !case.is_raised,
                otherwise: 0,
                measure: case.measure,
            };
        }
    }

    /// What is raised, in the order of the codes.
    pub fn findings(&self) -> Vec<Finding> {
        let cases = FindingCode::ALL.iter().zip(&self.cases);
        let cases =
            cases.flat_map(|(&code, cases)| KINDS.into_iter().zip(cases).map(move |c| (code, c)));
        let raised = cases.filter(|(_, (_, case))| case.is_raised);
        let finding = |(code, (kind, case)): (FindingCode, (MediaKind, &Case))| Finding {
            code,
            kind,
            measure: case.measure,
        };
        raised.map(finding).collect()
    }
}

/// How many looks in a row raise a condition, and how many clear it. Those that have a time of their
/// own need one.
fn looks(code: FindingCode) -> (u8, u8) {
    use FindingCode::{AvDrift, BFrames, ClockRate, Loss, OpusPacketsLong};
    match code {
        BFrames => (2, 5),
        Loss => (3, 5),
        AvDrift => (3, 3),
        OpusPacketsLong => (1, 5),
        // Measured over ten seconds: two measurements.
        ClockRate => (12, 1),
        _ => (1, 1),
    }
}

const KINDS: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_raised_when_it_lasts_and_cleared_when_it_is_over() {
        let mut diagnosis = Diagnosis::default();
        let mut look = |wrong: Option<u32>| {
            diagnosis.judge(FindingCode::Loss, MediaKind::Video, wrong);
            diagnosis.findings().first().map(|finding| finding.measure)
        };
        assert_eq!(look(Some(60)), None);
        assert_eq!(look(Some(70)), None);
        assert_eq!(look(None), None);
        for _ in 0..2 {
            assert_eq!(look(Some(80)), None);
        }
        assert_eq!(look(Some(90)), Some(90));
        assert_eq!(look(Some(95)), Some(95), "the newest measure");
        for _ in 0..4 {
            assert_eq!(look(None), Some(95));
        }
        assert_eq!(look(Some(99)), Some(99));
        for _ in 0..4 {
            assert_eq!(look(None), Some(99));
        }
        assert_eq!(look(None), None);
    }

    #[test]
    fn conditions_of_both_kinds_are_apart() {
        let mut diagnosis = Diagnosis::default();
        for kind in KINDS {
            for _ in 0..3 {
                diagnosis.judge(FindingCode::Loss, kind, Some(60));
            }
        }
        diagnosis.judge(FindingCode::TrackSilent, MediaKind::Audio, Some(5));
        let found = diagnosis.findings();
        let found: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.kind)).collect();
        let (audio, video) = (MediaKind::Audio, MediaKind::Video);
        let expected = [("track-silent", audio), ("loss", audio), ("loss", video)];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_condition_needs_a_look() {
        for &code in FindingCode::ALL {
            let (raised, cleared) = looks(code);
            assert!(raised > 0 && cleared > 0, "{code:?}");
        }
    }
}
