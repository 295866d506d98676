//! The whole run: on what machine, who took part, all figures, and what was reached.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;

use super::balancer::Balancer;
use super::meter::{family, machine};
use super::sample::Summary;
use super::table;
use super::verdict::Verdict;
use super::workload::Workload;

#[derive(Debug)]
pub(crate) struct Report {
    kernel: String,
    cores: usize,
    /// Who could take part and with which version; `None`: not installed.
    field: Vec<(Balancer, Option<String>)>,
    done: Vec<(Workload, Vec<Summary>)>,
    started: Instant,
    /// CPU that programs other than this one and its contestants had used when it began.
    foreign: Option<Duration>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            cores: lb::sys::resources::cores(),
            field: Balancer::ALL
                .map(|balancer| (balancer, balancer.version()))
                .to_vec(),
            done: Vec::new(),
            started: Instant::now(),
            foreign: foreign(),
        }
    }

    pub(crate) fn is_here(&self, balancer: Balancer) -> bool {
        self.field
            .iter()
            .any(|(other, version)| *other == balancer && version.is_some())
    }

    /// Prints who takes part, and who cannot.
    pub(crate) fn introduce(&self) {
        println!(
            "Linux {}, {} cores; one for balancers, one for clients and origin",
            self.kernel, self.cores
        );
        for (balancer, version) in &self.field {
            match version {
                Some(version) if version.is_empty() => {}
                Some(version) => println!("{}: {version}", balancer.name()),
                None if *balancer == Balancer::Other => {}
                None => println!("{}: not installed, skipped", balancer.name()),
            }
        }
    }

    pub(crate) fn add(&mut self, workload: Workload, rows: Vec<Summary>) {
        self.done.push((workload, rows));
    }

    pub(crate) fn conclude(&self) {
        table::conclude(&self.verdicts());
        let elapsed = self.started.elapsed().as_secs_f64();
        println!(
            "\n{elapsed:.0} s in all; neighbours used {:.1} cores meanwhile",
            self.neighbours()
        );
    }

    pub(crate) fn print_json(&self) -> io::Result<()> {
        let versions: serde_json::Map<_, _> = self
            .field
            .iter()
            .map(|(balancer, version)| (balancer.name().to_owned(), json!(version)))
            .collect();
        let workloads: Vec<_> = self
            .done
            .iter()
            .map(|(workload, rows)| json!({"name": workload.name, "about": workload.about, "rows": rows}))
            .collect();
        let whole = json!({
            "kernel": self.kernel,
            "cores": self.cores,
            "versions": versions,
            "workloads": workloads,
            "seconds": self.started.elapsed().as_secs_f64(),
            "neighbour_cores": self.neighbours(),
            "goals": self.verdicts(),
        });
        serde_json::to_writer_pretty(io::stdout(), &whole)?;
        println!();
        Ok(())
    }

    /// Cores that were taken by programs that have nothing to do with this: delays and rates suffer from them.
    fn neighbours(&self) -> f64 {
        let used = foreign()
            .zip(self.foreign)
            .map(|(now, then)| now.saturating_sub(then));
        used.unwrap_or_default().as_secs_f64() / self.started.elapsed().as_secs_f64()
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = self
            .done
            .iter()
            .filter_map(|(workload, rows)| Verdict::of(workload, rows))
            .collect();
        let rows = |name: &str| {
            let found = self.done.iter().find(|(workload, _)| workload.name == name);
            found.map(|(_, rows)| rows.as_slice())
        };
        for (name, at_most) in [
            ("roundrobin", 1.02),
            ("random", 1.02),
            ("source", 1.02),
            ("leastconn", 1.05),
        ] {
            let (few, many) = (rows(&format!("{name}-3")), rows(&format!("{name}-1000")));
            let flat = few
                .zip(many)
                .and_then(|(few, many)| Verdict::flat(name, at_most, few, many));
            verdicts.extend(flat);
        }
        verdicts
    }
}

fn foreign() -> Option<Duration> {
    Some(machine()?.saturating_sub(family()))
}
