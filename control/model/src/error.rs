use std::fmt;
use std::time::Duration;

/// Why a verb was not carried out. Knows no status codes: each dialect maps it to its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A stream of this name exists already.
    StreamExists,
    /// No stream of this name, and the policy does not create it.
    NoSuchStream,
    /// No such session in this stream, or it is another principal's.
    NoSuchSession,
    /// The stream has no such layer, or no video.
    NoSuchLayer,
    /// The stream has a publisher which may not be replaced now.
    AlreadyPublished {
        /// When another attempt is worth while.
        retry_after: Duration,
    },
    /// Nobody publishes the stream, and the policy does not let viewers wait for it.
    NotLive {
        /// When another attempt is worth while.
        retry_after: Duration,
    },
    /// A cap was reached; may be repeated later.
    LimitReached {
        /// Which cap, by its configuration key.
        what: &'static str,
        /// Its value.
        max: u64,
    },
    /// The node drains or ends: it takes nothing new.
    Draining,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::StreamExists => f.write_str("the stream exists already"),
            Error::NoSuchStream => f.write_str("no such stream"),
            Error::NoSuchSession => f.write_str("no such session in this stream"),
            Error::NoSuchLayer => f.write_str("the stream has no such layer"),
            Error::AlreadyPublished { .. } => f.write_str("the stream has a publisher already"),
            Error::NotLive { .. } => f.write_str("nobody publishes this stream now"),
            Error::LimitReached { what, max } => write!(f, "the limit {what} of {max} is reached"),
            Error::Draining => f.write_str("the server is draining: it is going away"),
        }
    }
}

impl std::error::Error for Error {}
