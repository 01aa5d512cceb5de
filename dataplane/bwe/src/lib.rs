//! What one path to a receiver carries, from what the receiver says of when packets arrived.
//!
//! [`Estimator`] numbers packets, remembers when they left, and turns transport-wide feedback into
//! an estimate; [`Pacer`] spreads what is sent by it. Both are sans-IO: time is an argument. It
//! knows neither RTP nor RTCP, and not which packets are worth sending: only numbers, sizes, times.
//!
//! Everything a receiver says is a claim. Work and memory are bounded whatever it claims, and the
//! estimate stays within its [`Bounds`].
//!
//! ```
//! use std::time::{Duration, Instant};
//! use whitewater_bwe::{Bounds, Estimator};
//!
//! let start = Instant::now();
//! let mut estimator = Estimator::new(start, Bounds::default());
//! estimator.turn(start);
//! let first = estimator.next_seq();
//! for _ in 0..10 {
//!     estimator.sent(1_200);
//! }
//! // All of them arrived, a millisecond apart.
//! let arrived = (0..10).map(|n| (first.wrapping_add(n), Some(4)));
//! estimator.feedback(start + Duration::from_millis(60), 0, arrived);
//! assert_eq!(estimator.next_seq(), first.wrapping_add(10));
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod acknowledged;
mod estimator;
#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod groups;
mod history;
mod loss;
mod pacer;
mod probe;
mod queue;
mod rate;
mod trend;

pub use estimator::{Bounds, Estimator};
pub use history::HISTORY_LEN;
pub use pacer::{Burst, Pacer};
