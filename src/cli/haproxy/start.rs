//! `haproxy -f FILE`: the supervisor, in this process.

use std::time::Duration;

use super::daemon::starter;
use super::line::HaproxyLine;
use super::report::HaproxyReport;
use crate::cli::arguments::ConfigArgs;
use crate::cli::ask::AdminSocket;
use crate::cli::{ExitStatus, run};
use crate::supervisor::{
    self, KeptConfig, OldProcesses, OnceServing, PidFile, RunOptions, TakeoverOptions, get_sockets,
};

/// Serves until it is stopped.
pub(super) fn start(
    line: &HaproxyLine,
    kept: Option<KeptConfig>,
    report: &mut HaproxyReport,
) -> Result<ExitStatus, String> {
    line.notices.iter().for_each(|notice| report.notice(notice));
    let pid_file = line.pid_file().map(|path| {
        PidFile::at(path).map_err(|_| format!("[haproxy.main()] Cannot create pidfile {}", path.display()))
    });
    let pid_file = pid_file.transpose()?;
    let starter = starter(line).map_err(|error| format!("cannot become a daemon: {error}"))?;
    let config =
        ConfigArgs { file: line.files.clone(), skip_refused: line.skip_refused, bind: Vec::new(), server: Vec::new() };
    let options = run::options(&config, AdminSocket::new(line.socket.clone()), kept);
    let old = OldProcesses::find(&line.old, line.old_end);
    let takeover = old.takeover_path().map(|path| TakeoverOptions { path, probation: Some(PROBATION), linger: false });
    let adopted = match (&line.old_socket, &takeover) {
        (_, Some(_)) => Vec::new(),
        (Some(path), None) => get_sockets(path).map_err(|error| error.to_string())?,
        (None, None) => old.listening().unwrap_or_else(|error| {
            report.notice(&format!(
                "the listening sockets of the old process cannot be duplicated ({error}), only shared"
            ));
            Vec::new()
        }),
    };
    let once_serving = Some(OnceServing { pid_file, old, starter });
    let code = supervisor::run(RunOptions { takeover, adopted, once_serving, ..options });
    Ok(if code == 0 { ExitStatus::Done } else { ExitStatus::Failed })
}

/// How long a new engine must serve before the sessions of an old `lb` move to it: scripts wait for it.
const PROBATION: Duration = Duration::from_secs(2);
