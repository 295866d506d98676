//! The report of the whole run: machine, contestants, all figures and verdicts.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;

use super::balancer::Balancer;
use super::meter::{family, machine};
use super::sample::Summary;
use super::summary;
use super::table;
use super::verdict::{self, Verdict};
use super::workload::Workload;

#[derive(Debug)]
pub(crate) struct Report {
    kernel: String,
    cores: usize,
    /// All contestants with their versions; `None`: not installed.
    contestants: Vec<(Balancer, Option<String>)>,
    done: Vec<(Workload, Vec<Summary>, Vec<Verdict>)>,
    started: Instant,
    /// CPU that programs other than this one and its contestants had used when it began.
    foreign: Option<Duration>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            cores: lb::internals::sys::cores(),
            contestants: Balancer::ALL.map(|balancer| (balancer, balancer.version())).to_vec(),
            done: Vec::new(),
            started: Instant::now(),
            foreign: foreign(),
        }
    }

    /// The installed ones.
    pub(crate) fn available(&self) -> Vec<Balancer> {
        let available = self.contestants.iter().filter(|(_, version)| version.is_some());
        available.map(|(balancer, _)| *balancer).collect()
    }

    /// Prints the contestants, and those that are missing.
    pub(crate) fn print_contestants(&self) {
        println!("Linux {}, {} cores; one for balancers, one for clients and origin", self.kernel, self.cores);
        for (balancer, version) in &self.contestants {
            match version {
                // No program, or one that is listed already with one more option.
                _ if [Balancer::Direct, Balancer::HaproxySplice, Balancer::LbDefer].contains(balancer) => {}
                Some(version) => println!("{}: {version}", balancer.name()),
                None if [Balancer::Other, Balancer::HaproxyNewest].contains(balancer) => {}
                None if *balancer == Balancer::Sozu => {
                    println!("sozu: not installed with its feature splice, skipped");
                }
                None => println!("{}: not installed, skipped", balancer.name()),
            }
        }
    }

    /// Adds a workload's figures, and prints them in the mode for human readers.
    pub(crate) fn add(&mut self, workload: Workload, rows: Vec<Summary>, for_people: bool) {
        let verdicts = verdict::all(&workload, &rows);
        if for_people {
            table::print(&workload, &rows, &verdicts);
        }
        self.done.push((workload, rows, verdicts));
    }

    /// To be called when no contestant runs any more, so that all their usage is accounted.
    pub(crate) fn conclude(&self) {
        summary::print(&self.done);
        println!("\nLinux {}, {} cores; {}", self.kernel, self.cores, self.versions().join("; "));
        let goals = |met| {
            let goals = self.verdicts().filter(|verdict| verdict.goal.is_some());
            goals.filter(|verdict| verdict.met == met).count()
        };
        println!(
            "goals: {} met, {} missed, {} not judged; {:.0} s in all; neighbours used {:.1} cores meanwhile",
            goals(Some(true)),
            goals(Some(false)),
            goals(None),
            self.started.elapsed().as_secs_f64(),
            self.neighbours()
        );
    }

    pub(crate) fn print_json(&self) -> io::Result<()> {
        let versions: serde_json::Map<_, _> =
            self.contestants.iter().map(|(balancer, version)| (balancer.name().to_owned(), json!(version))).collect();
        let workloads: Vec<_> = self
            .done
            .iter()
            .map(|(workload, rows, verdicts)| {
                json!({
                    "name": workload.name,
                    "about": workload.about,
                    "rows": rows,
                    "verdicts": verdicts,
                })
            })
            .collect();
        let whole = json!({
            "kernel": self.kernel,
            "cores": self.cores,
            "versions": versions,
            "workloads": workloads,
            "seconds": self.started.elapsed().as_secs_f64(),
            "neighbour_cores": self.neighbours(),
        });
        serde_json::to_writer_pretty(io::stdout(), &whole)?;
        println!();
        Ok(())
    }

    /// Cores used by unrelated programs: delays and rates suffer from them.
    fn neighbours(&self) -> f64 {
        let used = foreign().zip(self.foreign).map(|(now, then)| now.saturating_sub(then));
        used.unwrap_or_default().as_secs_f64() / self.started.elapsed().as_secs_f64()
    }

    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.done.iter().flat_map(|(_, _, verdicts)| verdicts)
    }

    fn versions(&self) -> Vec<String> {
        let shown = [Balancer::Lb, Balancer::Haproxy, Balancer::HaproxyNewest, Balancer::Nginx, Balancer::Sozu];
        let contestants = self.contestants.iter();
        contestants
            .filter(|(balancer, _)| shown.contains(balancer))
            .filter_map(|(_, version)| version.clone())
            .collect()
    }
}

fn foreign() -> Option<Duration> {
    Some(machine()?.saturating_sub(family()))
}
