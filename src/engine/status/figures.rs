//! What was counted and measured, as groups of a status.

use std::time::Duration;

use crate::control::admin::status::{Pace, Percentiles, ServerTimes, Traffic};
use crate::stats::{Rate, ServerStats, Times, Timing};

/// What servers count. Sessions that are open now are not counted but known.
pub(super) fn traffic(stats: &ServerStats) -> Traffic {
    Traffic {
        sessions: 0,
        sessions_max: stats.sessions_max.value(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        connects: stats.connects.value(),
        connect_errors: stats.connect_errors.value(),
        retries: stats.retries.value(),
        redispatches: stats.redispatches.value(),
        picks: stats.picks.value(),
        failed: stats.failed.value(),
        client_aborts: stats.aborts.client.value(),
        server_aborts: stats.aborts.server.value(),
        response_errors: stats.aborts.response.value(),
        internal_errors: stats.aborts.internal.value(),
    }
}

pub(super) fn pace(rate: &Rate, total: u64, since_look: Duration) -> Pace {
    Pace {
        rate: rate.now(total, since_look),
        rate_max: rate.most.value(),
        last_session_s: rate.quiet(total, since_look).map(|quiet| quiet.as_secs()),
    }
}

pub(super) fn times(times: &Times) -> ServerTimes {
    ServerTimes {
        queue_ms: percentiles(&times.queue),
        connect_ms: percentiles(&times.connect),
        session_ms: percentiles(&times.session),
    }
}

fn percentiles(timing: &Timing) -> Percentiles {
    timing.histogram.quantiles().map_or_else(Percentiles::default, |quantiles| {
        let in_ms = |micros| fractional_ms(Duration::from_micros(micros));
        Percentiles {
            p50: in_ms(quantiles.p50),
            p90: in_ms(quantiles.p90),
            p99: in_ms(quantiles.p99),
            max: in_ms(timing.longest.value()),
            mean: fractional_ms(timing.mean()),
        }
    })
}

pub(super) fn fractional_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
