//! `lb` beside its peers: real HAProxy and nginx (stream), each on one core with one thread, clients and origin on
//! another, in interleaved rounds.
//!
//! `cargo bench --bench compare -- [--quick] [--json] [--only WORKLOAD,...] [--who CONTESTANT,...] [--rounds N]`
//!
//! The figures that count are ratios of CPU for each unit of work within one run. The scheduler's own account is used,
//! so that neighbours on the machine disturb little; delays and rates do suffer from them, and the last lines tell how
//! much the neighbours used.

mod args;
mod balancer;
mod client;
mod contestant;
mod load;
mod meter;
mod origin;
mod outcome;
mod pattern;
mod report;
mod round;
mod sample;
mod slots;
mod stream;
mod table;
mod traffic;
mod verdict;
mod workload;

use std::io;
use std::process::ExitCode;

use self::args::Args;
use self::balancer::Balancer;
use self::contestant::Contestant;
use self::load::Load;
use self::report::Report;
use self::sample::{Sample, Summary};
use self::workload::Workload;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("compare: {problem}");
            return ExitCode::from(2);
        }
    };
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> io::Result<()> {
    let mut report = Report::begin();
    if !args.json {
        report.introduce();
    }
    contestant::pin_load()?;
    let mut load = Load::new()?;
    for workload in workload::all()
        .into_iter()
        .filter(|workload| args.wants(workload))
    {
        let rows = contest(&mut load, &workload, args, &report)?;
        if !args.json {
            table::print(&workload, &rows);
        }
        report.add(workload, rows);
    }
    if args.json {
        report.print_json()
    } else {
        report.conclude();
        Ok(())
    }
}

/// All rounds of a workload.
fn contest(
    load: &mut Load,
    workload: &Workload,
    args: &Args,
    report: &Report,
) -> io::Result<Vec<Summary>> {
    let here = |balancer: &&Balancer| report.is_here(**balancer) && args.invites(**balancer);
    let contestants = workload.who.iter().filter(here);
    let contestants = contestants
        .map(|balancer| Contestant::start(*balancer, &workload.setup, load.port()))
        .collect::<io::Result<Vec<_>>>()?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    for contestant in &contestants {
        // First times are slower: pages, ports and caches are new.
        round::run(load, contestant, workload, args.part() / 4.0);
    }
    for round in 0..args.rounds {
        // Everybody is first, and behind everybody, equally often.
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        order.rotate_left(round % contestants.len().max(1));
        if round / contestants.len().max(1) % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let sample = round::run(load, &contestants[index], workload, args.part());
            samples[index].push(sample);
        }
    }
    let rows = contestants.iter().zip(&samples);
    Ok(rows
        .map(|(contestant, samples)| Summary::of(contestant.balancer.name(), samples))
        .collect())
}
