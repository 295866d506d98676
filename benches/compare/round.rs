//! One contestant through one round of one workload.

use std::io;
use std::time::{Duration, Instant};

use super::contestant::Contestant;
use super::load::Load;
use super::meter::Meter;
use super::sample::Sample;
use super::traffic::Traffic;
use super::workload::{Unit, Workload};

/// Runs it. Whatever goes wrong is in the sample.
pub(crate) fn run(
    load: &mut Load,
    contestant: &Contestant,
    workload: &Workload,
    part: f64,
) -> Sample {
    let traffic = workload.traffic.scaled(part);
    let sample = match workload.unit {
        Unit::IdleSession => idle(load, contestant, &traffic, part),
        _ => busy(load, contestant, workload, &traffic),
    };
    let closed = load.close();
    let failed = |error: io::Error| Sample {
        failed: 1,
        reasons: vec![error.to_string()],
        ..Sample::default()
    };
    match (sample, closed) {
        (Ok(sample), Ok(())) => sample,
        (Err(error), _) | (_, Err(error)) => failed(error),
    }
}

fn busy(
    load: &mut Load,
    contestant: &Contestant,
    workload: &Workload,
    traffic: &Traffic,
) -> io::Result<Sample> {
    let meter = contestant.meter();
    load.open(contestant.addr, traffic)?;
    let before = Account::of(meter);
    let outcome = load.go()?;
    let used = before.until_now(meter);
    let units = units(workload.unit, traffic);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / units;
    Ok(Sample {
        cpu: used.balancer.map(micros),
        machine: Some(micros(used.load + used.balancer.unwrap_or_default())),
        rate: Some(units / outcome.elapsed.as_secs_f64()),
        ..Sample::of(&outcome)
    })
}

/// Memory of sessions that have spoken once and then keep silent, and what they cost while they do.
fn idle(
    load: &mut Load,
    contestant: &Contestant,
    traffic: &Traffic,
    part: f64,
) -> io::Result<Sample> {
    let Some(meter) = contestant.meter() else {
        return Ok(Sample::default());
    };
    let empty = meter.memory();
    load.open(contestant.addr, traffic)?;
    let full = meter.memory();
    let before = Account::of(Some(meter));
    let started = Instant::now();
    let outcome = load.hold(Duration::from_secs(3).mul_f64(part))?;
    let used = before.until_now(Some(meter));
    let seconds = started.elapsed().as_secs_f64();
    // Bytes and sessions are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let memory = full.saturating_sub(empty) as f64 / traffic.connections as f64;
    Ok(Sample {
        cpu: used.balancer.map(|time| time.as_secs_f64() * 1e6 / seconds),
        memory: Some(memory),
        ..Sample::of(&outcome)
    })
}

fn units(unit: Unit, traffic: &Traffic) -> f64 {
    // Requests and bytes are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    match unit {
        Unit::GibiByte => {
            let bytes = traffic.requests * (traffic.upload + traffic.answer);
            bytes as f64 / f64::from(1 << 30)
        }
        _ => traffic.requests as f64,
    }
}

/// CPU used so far.
struct Account {
    balancer: Option<Duration>,
    load: Duration,
}

impl Account {
    fn of(meter: Option<Meter>) -> Self {
        Self {
            balancer: meter.map(|meter| meter.cpu()),
            load: Meter::own().cpu_without_children(),
        }
    }

    fn until_now(&self, meter: Option<Meter>) -> Self {
        let now = Self::of(meter);
        Self {
            balancer: now
                .balancer
                .zip(self.balancer)
                .map(|(now, then)| now.saturating_sub(then)),
            load: now.load.saturating_sub(self.load),
        }
    }
}
