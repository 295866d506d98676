//! What frontends, backends and servers have counted as records, the difference of two records, and back.

use std::time::{Duration, Instant};

use crate::backend::{Backend, Outage};
use crate::handoff::peer::{
    BackendRecord, Bucket, Counted, CounterRecord, FrontendRecord, HistogramRecord, PeakRecord, Peaked, ServerRecord,
    Timed,
};
use crate::stats::{BackendStats, Counter, FrontendStats, Peak, Rate, ServerStats, Times, Timing};
use crate::sys::clock::millis;

pub(super) fn frontend_record(name: &str, stats: &FrontendStats) -> FrontendRecord {
    FrontendRecord {
        name: name.to_owned(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        failed: stats.failed.value(),
        request_errors: Some(stats.request_errors.value()),
        peaks: peak_records([(Peaked::Sessions, &stats.sessions_max), (Peaked::Rate, &stats.rate.most)]),
        quiet_ms: quiet(&stats.rate, stats.sessions_total.value()),
    }
}

pub(super) fn add_frontend(stats: &FrontendStats, record: &FrontendRecord) {
    stats.rate.pass_over(record.sessions_total);
    stats.sessions_total.add(record.sessions_total);
    stats.bytes_in.add(record.bytes_in);
    stats.bytes_out.add(record.bytes_out);
    stats.failed.add(record.failed);
    stats.request_errors.add(record.request_errors.unwrap_or(0));
    see_peaks([(Peaked::Sessions, &stats.sessions_max), (Peaked::Rate, &stats.rate.most)], &record.peaks);
    hear_quiet(&stats.rate, record.quiet_ms);
}

pub(super) fn frontend_since(now: &FrontendRecord, before: Option<&FrontendRecord>) -> FrontendRecord {
    let Some(before) = before else { return now.clone() };
    let errors_before = before.request_errors.unwrap_or(0);
    FrontendRecord {
        sessions_total: now.sessions_total.saturating_sub(before.sessions_total),
        bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
        bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
        failed: now.failed.saturating_sub(before.failed),
        request_errors: now.request_errors.map(|now| now.saturating_sub(errors_before)),
        ..now.clone()
    }
}

pub(super) fn backend_record(backend: &Backend) -> BackendRecord {
    let BackendStats { sessions_total, unserved, client_aborts, downs, sessions_max, queue_max, rate } = &backend.stats;
    let Outage { changed, downtime, usable, .. } = backend.outage();
    BackendRecord {
        name: backend.name.to_string(),
        sessions_total: sessions_total.value(),
        unserved: unserved.value(),
        downs: downs.value(),
        peaks: peak_records(backend_peaks(sessions_max, queue_max, rate)),
        quiet_ms: quiet(rate, sessions_total.value()),
        changed_ms: changed.map(|changed| millis(changed.elapsed())),
        downtime_ms: millis(downtime),
        out: usable == Some(false),
        client_aborts: Some(client_aborts.value()),
    }
}

pub(super) fn add_backend(backend: &Backend, record: &BackendRecord) {
    let BackendStats { sessions_total, unserved, client_aborts, downs, sessions_max, queue_max, rate } = &backend.stats;
    rate.pass_over(record.sessions_total);
    sessions_total.add(record.sessions_total);
    unserved.add(record.unserved);
    client_aborts.add(record.client_aborts.unwrap_or(0));
    downs.add(record.downs);
    see_peaks(backend_peaks(sessions_max, queue_max, rate), &record.peaks);
    hear_quiet(rate, record.quiet_ms);
    let changed = record.changed_ms.and_then(|age| Instant::now().checked_sub(Duration::from_millis(age)));
    if changed.is_some() {
        // Whether one is usable here is found out.
        let (usable, downtime) = (record.out.then_some(false), Duration::from_millis(record.downtime_ms));
        backend.restore_outage(Outage { usable, told: false, changed, downtime });
    }
}

pub(super) fn backend_since(now: &BackendRecord, before: Option<&BackendRecord>) -> BackendRecord {
    let Some(before) = before else { return now.clone() };
    BackendRecord {
        sessions_total: now.sessions_total.saturating_sub(before.sessions_total),
        unserved: now.unserved.saturating_sub(before.unserved),
        downs: now.downs.saturating_sub(before.downs),
        changed_ms: None,
        client_aborts: now.client_aborts.map(|now| now.saturating_sub(before.client_aborts.unwrap_or(0))),
        ..now.clone()
    }
}

/// The counts of a server, without times and knowledge.
pub(super) fn counts_record(backend: &str, name: &str, stats: &ServerStats) -> ServerRecord {
    ServerRecord {
        backend: backend.to_owned(),
        name: name.to_owned(),
        addr: String::new(),
        counts: counters(stats)
            .map(|(what, counter)| CounterRecord { what: what as u32, value: counter.value() })
            .into(),
        histograms: Vec::new(),
        knowledge: Vec::new(),
        peaks: peak_records(server_peaks(stats)),
        quiet_ms: quiet(&stats.rate, stats.connects.value()),
    }
}

pub(super) fn add_server(stats: &ServerStats, record: &ServerRecord) {
    let connects = record.counts.iter().find(|count| count.what == Counted::Connects as u32);
    stats.rate.pass_over(connects.map_or(0, |connects| connects.value));
    for (what, counter) in counters(stats) {
        if let Some(count) = record.counts.iter().find(|count| count.what == what as u32) {
            counter.add(count.value);
        }
    }
    for theirs in &record.histograms {
        if let Some((_, ours)) = timings(stats.times()).into_iter().find(|(what, _)| *what as u32 == theirs.what) {
            let buckets: Vec<_> = theirs.buckets.iter().map(|bucket| (bucket.number, bucket.count)).collect();
            ours.restore(
                &buckets,
                theirs.mean_us.map(Duration::from_micros),
                Duration::from_micros(theirs.longest_us.unwrap_or(0)),
            );
        }
    }
    see_peaks(server_peaks(stats), &record.peaks);
    hear_quiet(&stats.rate, record.quiet_ms);
}

pub(super) fn counts_anything(record: &ServerRecord) -> bool {
    let buckets = record.histograms.iter().flat_map(|histogram| &histogram.buckets);
    record.counts.iter().any(|count| count.value > 0) || buckets.into_iter().any(|bucket| bucket.count > 0)
}

pub(super) fn server_since(now: &ServerRecord, before: Option<&ServerRecord>) -> ServerRecord {
    let mut rest = now.clone();
    let Some(before) = before else { return rest };
    for count in &mut rest.counts {
        let before = before.counts.iter().find(|other| other.what == count.what);
        count.value = count.value.saturating_sub(before.map_or(0, |before| before.value));
    }
    for histogram in &mut rest.histograms {
        let Some(before) = before.histograms.iter().find(|other| other.what == histogram.what) else {
            continue;
        };
        for bucket in &mut histogram.buckets {
            let before = before.buckets.iter().find(|other| other.number == bucket.number);
            bucket.count = bucket.count.saturating_sub(before.map_or(0, |before| before.count));
        }
    }
    rest
}

pub(super) fn histogram_records(times: &Times) -> Vec<HistogramRecord> {
    let record = |(what, timing): (Timed, &Timing)| HistogramRecord {
        what: what as u32,
        buckets: timing.histogram.counts().into_iter().map(|(number, count)| Bucket { number, count }).collect(),
        mean_us: Some(u64::try_from(timing.mean().as_micros()).unwrap_or(u64::MAX)),
        longest_us: Some(timing.longest.value()),
    };
    timings(times).map(record).into()
}

fn counters(stats: &ServerStats) -> [(Counted, &Counter); 16] {
    [
        (Counted::Sessions, &stats.sessions_total),
        (Counted::BytesIn, &stats.bytes_in),
        (Counted::BytesOut, &stats.bytes_out),
        (Counted::ConnectErrors, &stats.connect_errors),
        (Counted::Retries, &stats.retries),
        (Counted::Redispatches, &stats.redispatches),
        (Counted::ChecksFailed, &stats.checks.failed),
        (Counted::Downs, &stats.downs),
        (Counted::Picks, &stats.picks),
        (Counted::Connects, &stats.connects),
        (Counted::Failed, &stats.failed),
        (Counted::ClientAborts, &stats.aborts.client),
        (Counted::ServerAborts, &stats.aborts.server),
        (Counted::InternalAborts, &stats.aborts.internal),
        (Counted::ResponseErrors, &stats.aborts.response),
        (Counted::ChecksFailedWhileUp, &stats.checks.failed_while_up),
    ]
}

fn timings(times: &Times) -> [(Timed, &Timing); 3] {
    [(Timed::Queue, &times.queue), (Timed::Connect, &times.connect), (Timed::Session, &times.session)]
}

fn server_peaks(stats: &ServerStats) -> [(Peaked, &Peak); 2] {
    [(Peaked::Sessions, &stats.sessions_max), (Peaked::Rate, &stats.rate.most)]
}

fn backend_peaks<'p>(sessions: &'p Peak, queue: &'p Peak, rate: &'p Rate) -> [(Peaked, &'p Peak); 3] {
    [(Peaked::Sessions, sessions), (Peaked::Queue, queue), (Peaked::Rate, &rate.most)]
}

fn peak_records<const N: usize>(peaks: [(Peaked, &Peak); N]) -> Vec<PeakRecord> {
    peaks.map(|(what, peak)| PeakRecord { what: what as u32, value: peak.value() }).into()
}

fn see_peaks<const N: usize>(ours: [(Peaked, &Peak); N], theirs: &[PeakRecord]) {
    for (what, peak) in ours {
        theirs.iter().filter(|record| record.what == what as u32).for_each(|record| peak.see(record.value));
    }
}

fn quiet(rate: &Rate, total: u64) -> Option<u64> {
    rate.quiet(total, Duration::ZERO).map(millis)
}

fn hear_quiet(rate: &Rate, quiet_ms: Option<u64>) {
    quiet_ms.into_iter().for_each(|ago| rate.grew(Duration::from_millis(ago)));
}
