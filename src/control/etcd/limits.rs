//! Limits of time that every use of etcd shares.

use std::time::Duration;

use crate::pace::Backoff;

/// Delays between connections: an etcd that is back is used within five seconds. A connection is stable when it outlasts
/// every failing attempt.
pub(crate) fn reconnects() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(3)).jittered().stable_after(Duration::from_secs(15))
}

/// For any single request.
pub(super) const REQUEST: Duration = Duration::from_secs(4);
