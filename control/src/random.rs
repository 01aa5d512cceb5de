use whitewater_link::SessionId;

/// 128 bits from the kernel's generator, or `None` when it has none to give.
pub(crate) fn bits() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_ne_bytes(bytes))
}

/// A session id nobody can guess (RFC 9725 §5).
pub(crate) fn session_id() -> Option<SessionId> {
    bits().map(SessionId)
}

/// A bearer token nobody can guess: 256 bits in hexadecimal digits.
///
/// # Errors
/// When the kernel has no random bits.
pub fn random_token() -> std::io::Result<String> {
    let none = || std::io::Error::other("no random bits");
    let (high, low) = (bits().ok_or_else(none)?, bits().ok_or_else(none)?);
    Ok(format!("{high:032x}{low:032x}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn w_sec_2_a_million_session_ids_differ_and_follow_no_pattern() {
        let mut seen = HashSet::new();
        let mut ones = [0_u32; 128];
        let mut grew = 0_u32;
        let mut before = 0;
        for _ in 0..1_000_000 {
            let SessionId(id) = session_id().expect("random bits");
            assert!(seen.insert(id), "twice");
            grew += u32::from(id > before);
            before = id;
            for (bit, count) in ones.iter_mut().enumerate().filter(|_| seen.len() <= 50_000) {
                *count += u32::from(id >> bit & 1 == 1);
            }
        }
        // Half of them each, give or take more than ten standard deviations (112 and 500): no bit
        // is fixed, a counter or part of a time, and the ids are in no order.
        let half = 23_800..=26_200;
        assert!(ones.iter().all(|count| half.contains(count)), "{ones:?}");
        assert!((490_000..=510_000).contains(&grew), "{grew}");
    }
}
