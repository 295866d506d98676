//! `lb demo`: see it work, with no other software.
//!
//! `stage` sets up three real servers and the real balancer, each a process of this same binary; `load` asks them
//! for real, checking every answer; `witness` keeps one connection open through everything; `script` says what happens meanwhile; `report` shows it. Nothing here takes a
//! short cut into the balancer's code: the demo uses what an operator has, the command line, the configuration
//! file and the admin socket.
//!
//! Rule: however the demo ends, its processes and its directory go with it.

mod child;
mod load;
mod report;
mod script;
mod server;
mod stage;
mod witness;

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::DemoArgs;
use super::{ExitStatus, output};
use load::Load;
use report::{Live, Summary};
use stage::Stage;
use witness::Witness;

pub(super) use child::become_child;
pub(super) use server::serve;

/// Why a demo could not be shown to its end. That requests failed is a result, not an error.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("{what} did not start: {why}")]
    Start { what: String, why: String },
    #[error("the balancer ended in the middle: {0}")]
    BalancerEnded(String),
    #[error("the admin socket: {0}")]
    Admin(String),
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// For `map_err`: an error of the system with what was being done.
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

pub(super) fn run(args: DemoArgs) -> ExitStatus {
    let json = args.json;
    let shown = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .map_err(DemoError::io("cannot start a runtime"))
        .and_then(|runtime| runtime.block_on(until_interrupted(args)));
    let summary = match shown {
        Ok(summary) => summary,
        Err(error) => {
            output::complain(&format!("demo: {error}"));
            return ExitStatus::Failed;
        }
    };
    let printed = output::print(&if json { summary.json() } else { summary.text() });
    if !summary.nobody_noticed() { ExitStatus::Failed } else { printed }
}

async fn until_interrupted(args: DemoArgs) -> Result<Summary, DemoError> {
    let listen = |kind| signal(kind).map_err(DemoError::io("cannot listen to signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    // Dropping the show midway ends its processes: each is a guard.
    tokio::select! {
        shown = show(args) => shown,
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
    }
}

/// The server that nothing happens to.
const UNTOUCHED: &str = "anna";

async fn show(args: DemoArgs) -> Result<Summary, DemoError> {
    let mut stage = Stage::set(args.bind).await?;
    let mut live = Live::new(&stage);
    live.event(&format!("the balancer listens on {}, before three servers", stage.front()));
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
