//! The runtime of a worker thread: an executor for one kind of task, its timers, and the epoll instance that wakes them.
//!
//! All other threads run on tokio. This one is smaller: it costs 4 % less for a small request.

pub(crate) mod executor;
pub(crate) mod reactor;
pub(crate) mod ready_set;
pub(crate) mod stream;
pub(crate) mod timer;
