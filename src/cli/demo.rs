//! `lb demo`: see it work, with no other software.
//!
//! `stage` starts three real servers and the real balancer, each a process of this same binary; `load` sends requests and
//! checks every answer; `witness` keeps one connection open throughout; `script` lists the events and `report` shows them.
//! Nothing here takes a short cut into the balancer's code: the demo uses the command line, the configuration file and
//! the admin socket, as an operator does.
//!
//! Rule: however the demo ends, its processes and its directory are removed.

mod child;
mod error;
mod load;
mod report;
mod script;
mod server;
mod stage;
mod witness;

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::DemoArgs;
use super::{ExitStatus, output};
use crate::sys::signals;
use error::DemoError;
use load::Load;
use report::{Live, Summary};
use stage::DemoStage;
use witness::Witness;

pub(super) use child::become_child;
pub(super) use server::serve;

pub(super) fn run(args: DemoArgs) -> ExitStatus {
    let json = args.json;
    let outcome = signals::begin(&OPEN)
        .and_then(|_| tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()))
        .map_err(DemoError::io("cannot start a runtime"))
        .and_then(|runtime| runtime.block_on(until_interrupted(args)));
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) => {
            output::complain(&format!("demo: {error}"));
            return ExitStatus::Failed;
        }
    };
    let printed = output::print(&if json { summary.json() } else { summary.text() });
    if !summary.is_clean() { ExitStatus::Failed } else { printed }
}

async fn until_interrupted(args: DemoArgs) -> Result<Summary, DemoError> {
    let listen = |kind| signal(kind).map_err(DemoError::io("cannot listen to signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (mut hangup, mut quit) = (listen(SignalKind::hangup())?, listen(SignalKind::quit())?);
    // Dropping the future midway ends its processes: each is a guard.
    tokio::select! {
        outcome = show(args) => outcome,
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
        _ = hangup.recv() => Err(DemoError::Interrupted),
        _ = quit.recv() => Err(DemoError::Interrupted),
    }
}

/// The signals that end it, and what tells of its children and suspends it. Others have no effect.
const OPEN: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
];

/// The server that the script leaves alone.
const UNTOUCHED: &str = "anna";

async fn show(args: DemoArgs) -> Result<Summary, DemoError> {
    let mut stage = DemoStage::set(args.bind).await?;
    let mut live = Live::new(&stage);
    live.event(&format!("the balancer listens on {}, in front of three servers", stage.front()));
    let load = Load::start(stage.front());
    let witness = Witness::start(stage.front(), UNTOUCHED);
    let played = script::play(&mut stage, &load, &mut live, Duration::from_secs(args.seconds.into())).await;
    live.end();
    let tally = load.end().await;
    let witnessed = witness.end().await;
    played?;
    stage.strike().await;
    Ok(Summary::new(tally, witnessed))
}
