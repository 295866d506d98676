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
use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{ExitStatus, output};
use load::Load;
use report::{Live, Summary};
use stage::Stage;
use witness::Witness;

pub(super) use child::{ChildArgs, become_child};
pub(super) use server::{ServerArgs, serve};

/// See it work: three built-in servers, real load, one server killed, another drained, and an upgrade in the middle
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs nothing but this binary, and leaves nothing behind.
Exit code 1 if any request failed.

Examples:
  lb demo
  lb demo --bind 127.0.0.1:8080 --seconds 60
  and meanwhile: ab -n 10000 -c 16 http://127.0.0.1:8080/")]
pub(super) struct Args {
    /// Where the balancer listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// How long the load lasts
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=3600))]
    seconds: u32,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

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

pub(super) fn run(args: Args) -> ExitStatus {
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

async fn until_interrupted(args: Args) -> Result<Summary, DemoError> {
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

async fn show(args: Args) -> Result<Summary, DemoError> {
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
