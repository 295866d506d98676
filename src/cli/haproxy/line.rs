//! HAProxy's command line: flags of one or two letters, each value in a word of its own, lists of pids without an end.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::supervisor::OldEnd;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HaproxyTask {
    /// `-v`; with the features of the build, `-vv`.
    Version {
        features: bool,
    },
    /// `-c`
    Check,
    Run,
}

/// A command line of `haproxy`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HaproxyLine {
    pub(super) task: HaproxyTask,
    /// `-f`, and what follows `--`
    pub(super) files: Vec<PathBuf>,
    /// `-C`
    pub(super) folder: Option<PathBuf>,
    /// `-q` without `-V`
    pub(super) quiet: bool,
    /// `-D`, which `-db`, `-d` and `-Ws` undo
    pub(super) daemon: bool,
    /// `-W`, `-Ws`, `-D`: the processes that write a pid file
    pub(super) pid_file: Option<PathBuf>,
    /// `-sf` and `-st`
    pub(super) old: Vec<u32>,
    /// How the old processes end.
    pub(super) old_end: OldEnd,
    /// `-x`
    pub(super) old_socket: Option<PathBuf>,
    /// `-dW`: warnings are errors
    pub(super) strict: bool,
    /// LineFlags that have no effect here, with the reason.
    pub(super) notices: Vec<String>,
}

/// Why a line is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// The usage says it all.
    Usage,
    Wrong(String),
}

/// The flags so far.
#[derive(Debug, Default)]
struct LineFlags {
    check: bool,
    quiet: bool,
    verbose: bool,
    daemon: bool,
    master: bool,
    foreground: bool,
}

impl HaproxyLine {
    /// Reads the words behind the name of the program.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, LineError> {
        let mut words = words.into_iter().peekable();
        let (mut line, mut flags) = (Self::new(), LineFlags::default());
        while let Some(word) = words.next() {
            let flag = word.to_str().and_then(|word| word.strip_prefix('-')).ok_or(LineError::Usage)?;
            let mut value = || words.next().ok_or_else(|| LineError::Wrong(format!("-{flag} needs a value")));
            match flag {
                "f" => line.files.push(value()?.into()),
                "C" => line.folder = Some(value()?.into()),
                "p" => line.pid_file = Some(value()?.into()),
                "x" => line.old_socket = Some(value()?.into()),
                "n" | "N" | "m" | "L" | "S" => {
                    let value = value()?;
                    line.ignore(flag, &value);
                }
                "c" => flags.check = true,
                "q" => flags.quiet = true,
                "V" => flags.verbose = true,
                "D" | "Ds" => flags.daemon = true,
                "W" => flags.master = true,
                "Ws" => (flags.master, flags.foreground) = (true, true),
                "db" | "d" => flags.foreground = true,
                "dW" => line.strict = true,
                "-" => line.files.extend(words.by_ref().map(PathBuf::from)),
                _ if flag.starts_with('v') => {
                    line.task = HaproxyTask::Version { features: flag.starts_with("vv") };
                    return Ok(line);
                }
                _ if flag.starts_with("sf") || flag.starts_with("st") => {
                    line.old_end = if flag.starts_with("sf") { OldEnd::Finish } else { OldEnd::Terminate };
                    while let Some(pid) = words.next_if(|word| !word.as_bytes().starts_with(b"-")) {
                        line.old.extend(pids(flag, &pid)?);
                    }
                }
                // The other switches for debugging are about HAProxy's own parts.
                _ if flag.starts_with('d') => {}
                _ => return Err(LineError::Usage),
            }
        }
        line.finish(&flags)
    }

    fn new() -> Self {
        Self {
            task: HaproxyTask::Run,
            files: Vec::new(),
            folder: None,
            quiet: false,
            daemon: false,
            pid_file: None,
            old: Vec::new(),
            old_end: OldEnd::Finish,
            old_socket: None,
            strict: false,
            notices: Vec::new(),
        }
    }

    fn ignore(&mut self, flag: &str, value: &OsStr) {
        let remedy = match flag {
            "n" => "write `maxconn` in the section `global`",
            "N" => "write `maxconn` in `defaults` or in the frontends",
            "m" => "limit the memory by the service manager, as with `MemoryMax=` of systemd",
            "L" => "peers do not exist here",
            _ => "there is no master socket; ask the stats socket",
        };
        self.notices.push(format!("-{flag} {} has no effect: {remedy}.", value.display()));
    }

    fn finish(mut self, flags: &LineFlags) -> Result<Self, LineError> {
        if self.files.is_empty() {
            return Err(LineError::Usage);
        }
        self.daemon = flags.daemon && !flags.foreground;
        self.quiet = flags.quiet && !flags.verbose;
        if flags.check {
            self.task = HaproxyTask::Check;
        }
        if !(self.daemon || flags.master) {
            self.pid_file = None;
        }
        Ok(self)
    }
}

/// The pids of a word: `$(cat FILE)` in quotes is one word of several lines.
fn pids(flag: &str, word: &OsStr) -> Result<Vec<u32>, LineError> {
    let text = word.to_string_lossy();
    let pids: Result<_, _> = text.split_ascii_whitespace().map(str::parse).collect();
    pids.map_err(|_| LineError::Wrong(format!("-{flag} option: some bytes unconsumed in PID list {{{text}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<HaproxyLine, LineError> {
        HaproxyLine::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn lines_of_scripts_are_read() {
        let unit = read("-Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock").unwrap();
        assert_eq!((unit.task, unit.daemon), (HaproxyTask::Run, false));
        assert_eq!(unit.pid_file, Some("/run/haproxy.pid".into()));
        assert!(unit.notices[0].starts_with("-S /run/haproxy-master.sock has no effect: "), "{:?}", unit.notices);
        let reload = read("-f a -f b -p pid -D -sf 1 22 -q -- c d").unwrap();
        assert_eq!(reload.files, ["a", "b", "c", "d"].map(PathBuf::from));
        assert_eq!((reload.old, reload.old_end, reload.daemon), (vec![1, 22], OldEnd::Finish, true));
        assert!(reload.quiet);
        let check = read("-c -q -V -C /etc -f x -st -dr -dM7 -de").unwrap();
        assert_eq!((check.task, check.quiet, check.old_end), (HaproxyTask::Check, false, OldEnd::Terminate));
        assert_eq!((check.old.len(), check.folder), (0, Some("/etc".into())));
        let docker = read("-W -db -D -p pid -f x -x /run/admin.sock").unwrap();
        assert_eq!((docker.daemon, docker.old_socket), (false, Some("/run/admin.sock".into())));
        assert_eq!(docker.pid_file, Some("pid".into()));
        // A plain process in the foreground writes none.
        assert_eq!(read("-f x -p pid").unwrap().pid_file, None);
        assert_eq!(read("-v -Z").unwrap().task, HaproxyTask::Version { features: false });
        assert_eq!(read("-vv").unwrap().task, HaproxyTask::Version { features: true });
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in ["", "-D", "-Z -f x", "-c x", "--help", "-h"] {
            assert_eq!(read(line), Err(LineError::Usage), "{line}");
        }
        for (line, reason) in [
            ("-f", "-f needs a value"),
            ("-f x -p", "-p needs a value"),
            ("-f x -sf 1 abc", "-sf option: some bytes unconsumed in PID list {abc}"),
        ] {
            assert_eq!(read(line), Err(LineError::Wrong(reason.into())), "{line}");
        }
        let quoted = ["-f", "x", "-sf", "7\n8\n"].map(OsString::from);
        assert_eq!(HaproxyLine::read(quoted).unwrap().old, [7, 8]);
    }
}
