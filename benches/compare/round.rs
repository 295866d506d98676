//! One contestant through one round of one workload.

use std::io;
use std::time::{Duration, Instant};

use super::contestant::Contestant;
use super::load::Load;
use super::meter::Meter;
use super::sample::Sample;
use super::traffic::{Pace, Traffic};
use super::workload::Unit;

/// Runs it. Failures are recorded in the sample.
pub(crate) fn run(load: &mut Load, contestant: &Contestant, unit: Unit, traffic: &Traffic, quick: bool) -> Sample {
    let sample = match unit {
        Unit::IdleSession => idle(load, contestant, traffic, if quick { SHORT } else { LONG }),
        _ => busy(load, contestant, unit, traffic),
    };
    match (sample, load.close()) {
        (Ok(sample), Ok(())) => sample,
        (Err(error), _) | (_, Err(error)) => Sample::failed(&error),
    }
}

fn busy(load: &mut Load, contestant: &Contestant, unit: Unit, traffic: &Traffic) -> io::Result<Sample> {
    let meter = contestant.meter();
    load.open(contestant.addr, traffic)?;
    let before = Account::of(meter);
    let outcome = load.go()?;
    let used = before.until_now(meter);
    let units = units(unit, traffic);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / units;
    Ok(Sample {
        cpu: used.balancer.map(micros),
        // A load with a pace polls the clock all the time.
        machine: (traffic.pace == Pace::Closed).then(|| micros(used.load + used.balancer.unwrap_or_default())),
        rate: Some(units / outcome.elapsed.as_secs_f64()),
        ..Sample::of(&outcome)
    })
}

/// Memory of sessions that have had one answer and then stay silent, and their CPU meanwhile.
fn idle(load: &mut Load, contestant: &Contestant, traffic: &Traffic, time: Duration) -> io::Result<Sample> {
    let Some(meter) = contestant.meter() else {
        return Ok(Sample::default());
    };
    let memory = || {
        let bytes = meter.memory();
        bytes.ok_or_else(|| io::Error::other("its memory cannot be read"))
    };
    let empty = memory()?;
    load.open(contestant.addr, traffic)?;
    let before = Account::of(Some(meter));
    let started = Instant::now();
    let outcome = load.hold(time)?;
    let used = before.until_now(Some(meter));
    let seconds = started.elapsed().as_secs_f64();
    let grown = memory()?.saturating_sub(empty);
    // Bytes and sessions are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let each = grown as f64 / traffic.connections as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / seconds;
    Ok(Sample {
        cpu: used.balancer.map(micros),
        machine: Some(micros(used.load + used.balancer.unwrap_or_default())),
        memory: Some(each),
        ..Sample::of(&outcome)
    })
}

/// How long sessions are left idle.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(1);

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
        Self { balancer: meter.map(|meter| meter.cpu()), load: Meter::own().cpu_itself() }
    }

    fn until_now(&self, meter: Option<Meter>) -> Self {
        let now = Self::of(meter);
        Self {
            balancer: now.balancer.zip(self.balancer).map(|(now, then)| now.saturating_sub(then)),
            load: now.load.saturating_sub(self.load),
        }
    }
}
