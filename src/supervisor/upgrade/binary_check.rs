//! Binary check: the new binary checks the configuration and prints its protocol version, before anything is touched.
//!
//! It is run as `lb engine --probe …` and prints one line, which
//! [`announcement`](crate::handoff::features::announcement) writes and
//! `evaluate` reads. If it fails, the rest of its output is shown to the requester.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::handoff::features::ANNOUNCEMENT;
use crate::handoff::frame::MAJOR;
use crate::supervisor::binary::Binary;
use crate::supervisor::engine_process::child_env;
use crate::supervisor::options::RunOptions;
use crate::supervisor::upgrade::machine::UpgradeEvent;
use crate::sys::process;

/// A check that runs.
#[derive(Debug)]
pub(crate) struct BinaryCheck {
    pub pid: u32,
    output: io::PipeReader,
    text: Vec<u8>,
    open: bool,
}

/// The result of a successful check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BinaryReport {
    /// Of the binary; informational.
    pub version: String,
    /// Newest version of a supervisor's record that it can continue from; 0: none.
    pub state: u32,
}

impl BinaryCheck {
    /// Starts the binary as `lb engine --probe`.
    pub(crate) fn start(binary: &Binary, options: &RunOptions) -> io::Result<Self> {
        let (output, input) = io::pipe()?;
        crate::sys::fd::set_nonblocking(output.as_fd())?;
        let own = ["engine", "--probe"].map(OsString::from);
        let args = binary.command_line(own.into_iter().chain(options.args.iter().cloned()));
        let program = process::Program { binary: binary.as_fd(), args: &args, env: &child_env(options) };
        let fds: Vec<_> = options.config.iter().map(AsFd::as_fd).collect();
        let errors = Stdio::from(input.try_clone()?);
        let child = process::spawn(&program, &fds, Stdio::from(input), errors)?;
        Ok(Self { pid: child.id(), output, text: Vec::new(), open: true })
    }

    /// Reads what it has printed so far.
    pub(crate) fn read(&mut self) {
        let mut chunk = [0; 4096];
        loop {
            match self.output.read(&mut chunk) {
                Ok(0) => self.open = false,
                Ok(n) => {
                    // Bounded, whatever the binary prints.
                    let room = MAX_TEXT.saturating_sub(self.text.len());
                    self.text.extend_from_slice(&chunk[..n.min(room)]);
                    if room > 0 {
                        continue;
                    }
                    self.open = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return;
        }
    }

    /// The pipe to wait for, while there is more to come.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.output.as_fd())
    }

    /// The result, after the process has ended with `code` (`None`: by a signal).
    pub(crate) fn finish(mut self, code: Option<i32>) -> Result<BinaryReport, UpgradeEvent> {
        self.read();
        evaluate(code, &String::from_utf8_lossy(&self.text))
    }

    pub(crate) fn kill(&self) {
        match kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(_) => {}
        }
    }
}

fn evaluate(code: Option<i32>, text: &str) -> Result<BinaryReport, UpgradeEvent> {
    let failed = |what: &str| {
        let said: String = text.lines().filter(|line| !line.is_empty()).take(5).collect::<Vec<_>>().join("; ");
        let said: String = said.chars().filter(|c| !c.is_control()).take(600).collect();
        let colon = if said.is_empty() { "" } else { ": " };
        UpgradeEvent::ProbeFailed(format!("{what}{colon}{said}"))
    };
    match code {
        Some(0) => {}
        Some(2) => return Err(failed("the new binary does not accept the configuration")),
        Some(code) => {
            return Err(failed(&format!("the check of the new binary ended with code {code}")));
        }
        None => return Err(failed("the check of the new binary was killed by a signal")),
    }
    let Some(line) = text.lines().find(|line| line.split(' ').next() == Some(ANNOUNCEMENT)) else {
        return Err(failed("the new binary is not lb"));
    };
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    match value("core").map(str::parse::<u16>) {
        Some(Ok(MAJOR)) => {}
        Some(Ok(core)) => {
            return Err(UpgradeEvent::Incompatible(format!(
                "the new binary speaks hand-off protocol {core}, this one {MAJOR}; restart instead"
            )));
        }
        _ => return Err(failed("the new binary is not lb")),
    }
    let version = value("version").unwrap_or("unknown").to_owned();
    Ok(BinaryReport { version, state: value("state").and_then(|state| state.parse().ok()).unwrap_or(0) })
}

const MAX_TEXT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::features::{SUPERVISOR_STATE, announcement};

    #[test]
    fn a_binary_passes_only_with_the_right_line_and_code() {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let good = BinaryReport { version, state: SUPERVISOR_STATE };
        assert_eq!(evaluate(Some(0), &format!("noise\n{}\n", announcement())).unwrap(), good);
        let later = evaluate(Some(0), "lb-handoff core=1 state=9 version=2.0 more=things").unwrap();
        assert_eq!((later.version.as_str(), later.state), ("2.0", 9));
        for (code, text, expected) in [
            (Some(0), "", "the new binary is not lb"),
            (Some(0), "hello, world", "the new binary is not lb: hello, world"),
            (Some(0), "lb-handoff core=x", "the new binary is not lb: lb-handoff core=x"),
            (Some(2), "a.toml:1:2: no\n\nb", "the new binary does not accept the configuration: a.toml:1:2: no; b"),
            (Some(101), "\u{1b}[1mpanicked", "the check of the new binary ended with code 101: [1mpanicked"),
            (None, "", "the check of the new binary was killed by a signal"),
        ] {
            let Err(UpgradeEvent::ProbeFailed(why)) = evaluate(code, text) else { panic!("{text} has passed") };
            assert_eq!(why, expected);
        }
        assert!(matches!(evaluate(Some(0), "lb-handoff core=2"), Err(UpgradeEvent::Incompatible(_))));
    }
}
