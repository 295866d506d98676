//! What is counted and measured: plain atomics that any thread may add to, without locks or ordering.

mod counter;
mod counts;
mod histogram;
mod rate;
mod remembered;
mod timing;

pub(crate) use self::counter::{Counter, Peak};
pub(crate) use self::counts::Counts;
pub(crate) use self::counts::{BackendStats, FrontendStats, ServerStats, Times};
pub(crate) use self::rate::Rate;
pub(crate) use self::remembered::Remembered;
pub(crate) use self::timing::Timing;
