//! `lb` beside its peers: real HAProxy and nginx (stream), each on one core with one thread, clients and origin on
//! another, in interleaved rounds.
//!
//! `cargo bench --bench compare -- [--quick] [--json] [--only WORKLOAD,...] [--who CONTESTANT,...] [--rounds N] [--other LB] [--newest HAPROXY]`
//!
//! It takes at most ten minutes, with `--quick` one. `--other` adds another build of `lb`, `--newest` another HAProxy
//! to bulk, where sozu takes part too if it is installed with its feature `splice`. However this program ends, no
//! process that it started is left ([`keeper`]).
//!
//! The figures that count are ratios of CPU for each unit of work within one run. They come from the scheduler's
//! accounting, so that neighbours on the machine disturb little; delays and rates do suffer from them, and the last
//! lines print how much the neighbours used.

mod args;
mod balancer;
mod catalogue;
mod client;
mod contest;
mod contestant;
mod cores;
mod keeper;
mod load;
mod meter;
mod origin;
mod outcome;
mod pattern;
mod report;
mod round;
mod sample;
mod setup;
mod slots;
mod stream;
mod summary;
mod table;
mod traffic;
mod verdict;
mod workload;

use std::io;
use std::process::ExitCode;

use self::args::{Args, Mode, USAGE};
use self::contest::Contest;
use self::report::Report;
use self::workload::Workload;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == keeper::KEEP).is_some() {
        return keeper::keep(args);
    }
    let workloads = catalogue::all();
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let done = match Args::parse(args, &workloads) {
        Ok(Mode::Compare(args)) => compare(&args, workloads),
        Ok(Mode::Help) => {
            println!("{USAGE}");
            Ok(())
        }
        Ok(Mode::Nothing) => Ok(()),
        Err(problem) => {
            eprintln!("compare: {problem}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args, workloads: Vec<Workload>) -> io::Result<()> {
    let mut report = Report::begin();
    if !args.json {
        report.print_contestants();
    }
    cores::pin_load()?;
    let mut contest = Contest::new(args, &workloads)?;
    for workload in workloads {
        if !args.selects(&workload) {
            continue;
        }
        let mut available = report.available();
        available.retain(|balancer| args.includes(*balancer, &workload));
        let rows = contest.run(&workload, &available);
        report.add(workload, rows, !args.json);
    }
    drop(contest);
    if args.json {
        report.print_json()
    } else {
        report.conclude();
        Ok(())
    }
}
