//! The outcome of a run, as its clients saw it.

use std::time::Duration;

use hdrhistogram::Histogram;

#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests that were answered in full.
    pub(crate) answered: u64,
    /// Requests that were not answered in full, and other violations.
    pub(crate) failed: u64,
    /// The first few reasons.
    pub(crate) reasons: Vec<String>,
    /// From a request's due time to its last byte, in nanoseconds.
    pub(crate) delays: Histogram<u64>,
    pub(crate) elapsed: Duration,
    /// Failures that belong to a request.
    failed_requests: u64,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            answered: 0,
            failed: 0,
            reasons: Vec::new(),
            // Three digits; it grows with the values.
            delays: growing(),
            elapsed: Duration::ZERO,
            failed_requests: 0,
        }
    }
}

impl Outcome {
    pub(crate) fn answered(&mut self, delay: Duration) {
        self.answered += 1;
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        // Cannot fail: it grows with the values.
        self.delays.record(nanos).ok();
    }

    pub(crate) fn fail(&mut self, why: String, of_a_request: bool) {
        self.failed += 1;
        self.failed_requests += u64::from(of_a_request);
        if self.reasons.len() < 3 {
            self.reasons.push(why);
        }
    }

    /// Finished requests, answered or failed.
    pub(crate) fn over(&self) -> u64 {
        self.answered + self.failed_requests
    }

    /// Counts the missing ones of `requests` as failed.
    pub(crate) fn give_up(&mut self, requests: u64) {
        let missing = requests.saturating_sub(self.over());
        self.fail(format!("{missing} requests were not answered in time"), true);
        self.failed += missing.saturating_sub(1);
        self.failed_requests += missing.saturating_sub(1);
    }

    pub(crate) fn complaint(&self) -> String {
        if self.reasons.is_empty() {
            "connections could not be opened in time".to_owned()
        } else {
            self.reasons.join("; ")
        }
    }

    /// In microseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        // Nanoseconds of minutes are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let micros = self.delays.value_at_quantile(quantile) as f64 / 1000.0;
        (!self.delays.is_empty()).then_some(micros)
    }
}

fn growing() -> Histogram<u64> {
    let mut delays = Histogram::new(3).expect("three digits are within what a histogram can have");
    delays.auto(true);
    delays
}
