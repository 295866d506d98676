//! OnceServing: what a supervisor that was started as `haproxy` does once, when it serves.

use std::fs;
use std::io::Write;

use crate::log::voice;
use crate::supervisor::old_processes::OldProcesses;
use crate::supervisor::pid_file::PidFile;
use crate::supervisor::stderr::print;
use crate::sys::process;

/// All of it.
#[derive(Debug)]
pub(crate) struct OnceServing {
    /// Gets the pid of this process.
    pub pid_file: Option<PidFile>,
    /// They end now.
    pub old: OldProcesses,
    /// A pipe to the process that the operator has started, which waits to return; then this one is a daemon.
    pub starter: Option<fs::File>,
}

impl OnceServing {
    pub(crate) fn perform(self) {
        if let Some(file) = &self.pid_file
            && let Err(error) = file.write()
        {
            print(format!("cannot write the pid file {}: {error}", file.path().display()));
        }
        self.old.dismiss();
        if let Some(mut starter) = self.starter {
            voice::flush();
            if let Err(error) = process::leave_streams() {
                print(format!("/dev/null: {error}"));
            }
            match starter.write_all(b"serving") {
                // It was ended meanwhile.
                Ok(()) | Err(_) => {}
            }
        }
    }
}
