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
