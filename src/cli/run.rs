//! `lb run`: the daemon in the foreground; and `lb engine`, which its supervisor starts.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::{ConfigArgs, DEFAULT_FILE, EngineArgs, RunArgs};
use super::ask::AdminSocket;
use super::usual_sockets::sockets_of_engine;
use super::{ExitStatus, output};
use crate::config;
use crate::engine::launch::{ConfigSource, LaunchOptions};
use crate::engine::process;
use crate::handoff::channel::CONFIG_VARIABLE;
use crate::supervisor::{self, KeptConfig, RunOptions, TakeoverOptions};
use crate::sys::fd;

/// This process becomes the supervisor; it starts the engine with the same arguments.
pub(super) fn run(args: RunArgs, socket: AdminSocket) -> ExitStatus {
    let (probation, linger) = (args.probation, args.linger);
    let takeover = args.takeover.map(|path| TakeoverOptions { path, probation, linger });
    let mut config = args.config;
    config.file.extend(args.path);
    match kept(&config.file).map(|kept| options(&config, socket, kept)) {
        Ok(options) => ExitStatus::from_code(supervisor::run(RunOptions { takeover, ..options })),
        Err(problem) => {
            output::complain(&problem);
            ExitStatus::BadInput
        }
    }
}

/// The options of a supervisor with this configuration.
pub(super) fn options(config: &ConfigArgs, socket: AdminSocket, kept: Option<KeptConfig>) -> RunOptions {
    let args = words(config, socket.given());
    RunOptions { args, takeover: None, config: kept, adopted: Vec::new(), once_serving: None }
}

pub(super) fn engine(args: EngineArgs, socket: AdminSocket) -> ExitStatus {
    let source = source(args.config);
    if args.probe {
        return process::probe(&source);
    }
    process::run(LaunchOptions { source, socket: socket.given(), usual_sockets: sockets_of_engine() })
}

/// The configuration, if it comes through a descriptor that engines do not have, or could not read a second time.
pub(super) fn kept(files: &[PathBuf]) -> Result<Option<KeptConfig>, String> {
    let [file] = files else {
        return Ok(None);
    };
    if !is_own_descriptor(file) {
        return Ok(None);
    }
    if let Some(config) = KeptConfig::inherited() {
        return Ok(Some(config));
    }
    let text = config::read(file).map_err(|problems| problems.to_string())?;
    let kept = KeptConfig::new(&text).map_err(|error| format!("{}: cannot be kept: {error}", file.display()))?;
    Ok(Some(kept))
}

/// `<(command)` is `/dev/fd/N`.
fn is_own_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdin", "/proc/self", "/proc/thread-self"].iter().any(|own| path.starts_with(own))
}

/// The arguments as a command line writes them.
fn words(config: &ConfigArgs, socket: Option<PathBuf>) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    if let Some(socket) = socket {
        option("--socket", socket.into());
    }
    for file in &config.file {
        option("-f", file.into());
    }
    for bind in &config.bind {
        option("--bind", bind.into());
    }
    for server in &config.server {
        option("--server", server.into());
    }
    words.extend(config.skip_refused.then(|| "--skip-refused".into()));
    words
}

fn source(config: ConfigArgs) -> ConfigSource {
    if config.bind.is_empty() && config.server.is_empty() {
        let skip_refused = config.skip_refused;
        let mut paths = config.file;
        if paths.is_empty() {
            paths.push(DEFAULT_FILE.into());
        }
        return match kept_by_supervisor() {
            Some(text) => ConfigSource::Kept { name: paths.swap_remove(0), text: Arc::new(text), skip_refused },
            None => ConfigSource::Files { paths, skip_refused },
        };
    }
    ConfigSource::Flags { binds: config.bind, servers: config.server }
}

fn kept_by_supervisor() -> Option<File> {
    let number = env::var(CONFIG_VARIABLE).ok()?.parse().ok()?;
    Some(fd::inherit(number).ok()?.into())
}
