//! The command line.

use super::balancer::{Balancer, OTHER};
use super::workload::Workload;

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) json: bool,
    pub(crate) rounds: usize,
    quick: bool,
    /// Beginnings of names; empty: all workloads.
    only: Vec<String>,
    /// Names of contestants; empty: all that are here.
    who: Vec<String>,
}

impl Args {
    /// `None`: there is nothing to measure, as when cargo only wants to know that the benches build.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = args.peekable();
        let (mut quick, mut json, mut bench) = (false, false, false);
        let (mut only, mut who, mut rounds) = (Vec::new(), Vec::new(), None);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--bench" => bench = true,
                "--quick" => quick = true,
                "--json" => json = true,
                "--only" => only.extend(value()?.split(',').map(str::to_owned)),
                "--who" => who.extend(value()?.split(',').map(str::to_owned)),
                "--other" => {
                    OTHER.get_or_init(|| value().unwrap_or_default());
                }
                "--rounds" => {
                    let text = value()?;
                    rounds = Some(
                        text.parse()
                            .map_err(|_| format!("`{text}` is no number of rounds"))?,
                    );
                }
                _ => return Err(format!("`{arg}` is unknown; {USAGE}")),
            }
        }
        let rounds = rounds.unwrap_or(if quick { 3 } else { 9 });
        Ok(bench.then_some(Self {
            json,
            rounds,
            quick,
            only,
            who,
        }))
    }

    pub(crate) fn wants(&self, workload: &Workload) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|name| workload.name.starts_with(name.as_str()))
    }

    pub(crate) fn invites(&self, balancer: Balancer) -> bool {
        self.who.is_empty() || self.who.iter().any(|name| name == balancer.name())
    }

    /// How much of a whole round is run.
    pub(crate) fn part(&self) -> f64 {
        if self.quick { 0.25 } else { 1.0 }
    }
}

const USAGE: &str = "cargo bench --bench compare -- [--quick] [--json] [--only WORKLOAD,...] [--who CONTESTANT,...] [--rounds N] [--other LB]";
