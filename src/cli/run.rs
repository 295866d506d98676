//! `lb run`: the daemon in the foreground; and `lb engine`, which its supervisor starts.

use std::ffi::OsString;
use std::path::PathBuf;

use super::ExitStatus;
use super::arguments::{ConfigArgs, DEFAULT_FILE, EngineArgs, RunArgs};
use super::ask::AdminSocket;
use super::usual_sockets::usual_sockets;
use crate::engine::launch::{ConfigSource, LaunchOptions};
use crate::engine::process;
use crate::supervisor;

/// This process becomes the supervisor; it starts the engine with the same arguments.
pub(super) fn run(args: RunArgs, socket: AdminSocket) -> ExitStatus {
    let probation = args.probation;
    let linger = args.linger;
    let takeover = args.takeover.map(|path| supervisor::TakeoverOptions { path, probation, linger });
    let code = supervisor::run(supervisor::RunOptions { args: words(&args.config, socket.given()), takeover });
    ExitStatus::from_code(code)
}

pub(super) fn engine(args: EngineArgs, socket: AdminSocket) -> ExitStatus {
    let source = source(args.config);
    if args.probe {
        return process::probe(&source);
    }
    process::run(LaunchOptions { source, socket: socket.given(), usual_sockets: usual_sockets() })
}

/// The arguments as a command line writes them.
fn words(config: &ConfigArgs, socket: Option<PathBuf>) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    if let Some(socket) = socket {
        option("--socket", socket.into());
    }
    if let Some(file) = &config.file {
        option("-f", file.into());
    }
    for bind in &config.bind {
        option("--bind", bind.into());
    }
    for server in &config.server {
        option("--server", server.into());
    }
    words
}

fn source(config: ConfigArgs) -> ConfigSource {
    if config.bind.is_empty() && config.server.is_empty() {
        return ConfigSource::File(config.file.unwrap_or_else(|| DEFAULT_FILE.into()));
    }
    ConfigSource::Flags { binds: config.bind, servers: config.server }
}
