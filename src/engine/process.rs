//! The engine's process: its log, its signals, its control thread, its exit status.

use std::io::{self, Write};

use tokio::runtime::{Builder, LocalOptions};

use crate::engine::error::EngineError;
use crate::engine::launch::{ConfigSource, LaunchOptions};
use crate::engine::startup::live;
use crate::exit::ExitStatus;
use crate::fault;
use crate::handoff::features::announcement;
use crate::log::voice::{self, MessageWriter};
use crate::sys::{process, resources, signals};

/// Runs the engine until its supervisor orders it to stop.
pub(crate) fn run(launch: LaunchOptions) -> ExitStatus {
    init_logging();
    let loaded = match launch.source.read() {
        Ok(loaded) => loaded,
        Err(problems) => {
            voice::write_all(&format!("{problems}\n"));
            return ExitStatus::BadInput;
        }
    };
    // A terminal and some service managers signal every process of the group. Orders come from the supervisor.
    let blocked = signals::begin(&[]);
    resources::reserve_descriptors();
    let outcome = blocked
        .and_then(|_| process::set_name())
        .and_then(|()| Builder::new_current_thread().enable_all().build_local(LocalOptions::default()))
        .map_err(EngineError::system("cannot start the control thread"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(live(launch, loaded));
            // A disk may hang while a file of `state_dir` is written: the end must not wait.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitStatus::Done,
        Err(error) => {
            voice::say(error);
            ExitStatus::Failed
        }
    }
}

/// Checks a binary before it becomes an engine: it reads the configuration and prints the protocol that it speaks.
pub(crate) fn probe(source: &ConfigSource) -> ExitStatus {
    fault::point("engine.probe");
    match source.read() {
        Ok(_) => match writeln!(io::stdout(), "{}", announcement()) {
            Ok(()) => ExitStatus::Done,
            Err(_) => ExitStatus::Failed,
        },
        Err(problems) => {
            voice::write_all(&format!("{problems}\n"));
            ExitStatus::BadInput
        }
    }
}

/// Messages for people go to stderr; `LB_LOG` chooses how many (`error` to `trace`).
fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LB_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(USUAL_MESSAGES));
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| MessageWriter)
        // It would be said by `eprintln!`.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(voice::is_terminal());
    // An error: a subscriber is set already.
    messages.try_init().ok();
}

/// What the resolver has to say of each bad packet is left out: forged ones come in any number.
const USUAL_MESSAGES: &str = "info,hickory_net=off,hickory_proto=off,hickory_resolver=off";
