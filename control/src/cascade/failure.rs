//! Why a session with another server did not come about.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;
use whitewater_model::Error;

use crate::http::problem::Problem;

use super::way;

/// Why a session with another server did not come about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may not be, here.
    Here(Problem),
    /// There is no place for it here, for now.
    NotNow(Problem),
    /// The address is one that is not called on anybody's wish.
    Blocked,
    /// There is no connection, or it broke off; the cause is for the log.
    Unreachable(String),
    /// The other server's word.
    Refused {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    /// Its answer is none that the protocol knows, or cannot be taken.
    Misshapen(String),
    /// The stream would come back.
    Loop,
    /// It took too long.
    TimedOut,
}

impl Failure {
    /// Whether another attempt would end the same way.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Failure::Here(_) | Failure::Blocked | Failure::Loop)
    }

    /// When the other server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The word for it in counters.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Failure::Here(_) | Failure::NotNow(_) => "refused-here",
            Failure::Blocked => "blocked",
            Failure::Unreachable(_) => "unreachable",
            Failure::Refused { .. } => "refused-there",
            Failure::Misshapen(_) => "misshapen",
            Failure::Loop => "loop",
            Failure::TimedOut => "timed-out",
        }
    }

    /// All of them.
    pub(crate) const LABELS: [&'static str; 7] = [
        "refused-here",
        "blocked",
        "unreachable",
        "refused-there",
        "misshapen",
        "loop",
        "timed-out",
    ];
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Here(problem) | Failure::NotNow(problem) => f.write_str(problem.detail()),
            Failure::Blocked => f.write_str("its address is not one that may be called"),
            Failure::Unreachable(cause) => write!(f, "it cannot be reached: {cause}"),
            Failure::Refused { status, .. } => write!(f, "it answers {status}"),
            Failure::Misshapen(what) => f.write_str(what),
            Failure::Loop => f.write_str("the stream would come back"),
            Failure::TimedOut => f.write_str("it took too long"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotLive { .. } | Error::LimitReached { .. } => Failure::NotNow(error.into()),
            _ => Failure::Here(error.into()),
        }
    }
}

/// What is told of the other server is never more than its status: whoever calls us must not be able
/// to read through us.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let bad_gateway = |detail: String| Problem::new(StatusCode::BAD_GATEWAY, detail);
        match failure {
            Failure::Here(problem) | Failure::NotNow(problem) => problem,
            Failure::Blocked => Problem::unprocessable(
                "the URL leads to an address that this server does not call; cascade.allow lists \
                 those of its own networks that it may",
            ),
            Failure::Unreachable(_) => bad_gateway("the other server cannot be reached".to_owned()),
            Failure::Refused {
                status,
                retry_after,
            } => {
                let problem = bad_gateway(match status {
                    StatusCode::NOT_ACCEPTABLE => {
                        "the other server has no codec that can be taken from it (406)".to_owned()
                    }
                    _ => format!("the other server answered {}", status.as_u16()),
                });
                match retry_after {
                    Some(after) => problem.retry_after(after),
                    None => problem,
                }
            }
            Failure::Misshapen(what) => bad_gateway(format!("the other server: {what}")),
            Failure::Loop => way::comes_back(),
            Failure::TimedOut => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the other server did not answer in time",
            ),
        }
    }
}
