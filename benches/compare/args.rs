//! The command line.

use super::balancer::{Balancer, NEWEST, OTHER};
use super::workload::{Figure, Workload};

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) json: bool,
    /// Rounds of each workload. `None`: the default of the mode.
    rounds: Option<usize>,
    quick: bool,
    /// Prefixes of names; empty: all workloads.
    only: Vec<String>,
    /// Names of contestants; empty: all that are available.
    contestants: Vec<String>,
}

/// What the command line selects.
#[derive(Debug)]
pub(crate) enum Mode {
    Compare(Args),
    Help,
    /// Nothing is measured: cargo only tests that the benches build and run.
    Nothing,
}

impl Args {
    pub(crate) fn parse(args: impl Iterator<Item = String>, workloads: &[Workload]) -> Result<Mode, String> {
        let mut args = args.peekable();
        let mut bench = false;
        let mut parsed = Self { json: false, rounds: None, quick: false, only: Vec::new(), contestants: Vec::new() };
        while let Some(arg) = args.next() {
            let mut value = || {
                let value = args.next_if(|value| !value.starts_with("--"));
                value.ok_or_else(|| format!("{arg} needs a value"))
            };
            match arg.as_str() {
                "--bench" => bench = true,
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = true,
                "--help" | "-h" => return Ok(Mode::Help),
                "--only" => parsed.only.extend(value()?.split(',').map(str::to_owned)),
                "--who" => parsed.contestants.extend(value()?.split(',').map(str::to_owned)),
                "--other" => {
                    let path = value()?;
                    OTHER.get_or_init(|| path);
                }
                "--newest" => {
                    let path = value()?;
                    NEWEST.get_or_init(|| path);
                }
                "--rounds" => parsed.rounds = Some(rounds(&value()?)?),
                _ => return Err(format!("`{arg}` is unknown; {USAGE}")),
            }
        }
        parsed.check(workloads)?;
        Ok(if bench { Mode::Compare(parsed) } else { Mode::Nothing })
    }

    fn check(&self, workloads: &[Workload]) -> Result<(), String> {
        for begin in &self.only {
            if begin.is_empty() || !workloads.iter().any(|w| w.name.starts_with(begin.as_str())) {
                let names: Vec<&str> = workloads.iter().map(|w| w.name.as_str()).collect();
                return Err(format!("no workload begins with `{begin}`; there are {}", names.join(", ")));
            }
        }
        for name in &self.contestants {
            if !Balancer::ALL.iter().any(|known| known.name() == name) {
                let names = Balancer::ALL.map(Balancer::name);
                return Err(format!("no contestant is named `{name}`; there are {}", names.join(", ")));
            }
        }
        for (option, path, balancer) in
            [("--other", &OTHER, Balancer::Other), ("--newest", &NEWEST, Balancer::HaproxyNewest)]
        {
            if let Some(path) = path.get()
                && balancer.version().is_none()
            {
                return Err(format!("{option} {path} cannot be run"));
            }
        }
        Ok(())
    }

    pub(crate) fn selects(&self, workload: &Workload) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| workload.name.starts_with(name.as_str()))
    }

    /// The added delay cannot be computed without `direct`.
    pub(crate) fn includes(&self, balancer: Balancer, workload: &Workload) -> bool {
        self.contestants.is_empty()
            || self.contestants.iter().any(|name| name == balancer.name())
            || balancer == Balancer::Direct && workload.figure == Figure::Added
    }

    /// The number of rounds by which a workload's time is divided.
    pub(crate) fn usual_rounds(&self) -> usize {
        if self.quick { 3 } else { 15 }
    }

    pub(crate) fn rounds(&self) -> Option<usize> {
        self.rounds
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }
}

fn rounds(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("`{text}` is not a number of rounds"))
}

pub(crate) const USAGE: &str = "cargo bench --bench compare -- [--quick] [--json] [--only WORKLOAD,...] [--who CONTESTANT,...] [--rounds N] [--other LB] [--newest HAPROXY]";
