//! HAProxy's command line: flags of one or two letters, each value in a word of its own, lists of pids without an end.
//! What is joined to a flag is passed over, as HAProxy does: `-cq` is `-c`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::ProcessWords;
use crate::supervisor::OldEnd;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HaproxyTask {
    /// `-v`; with the features of the build, `-vv`.
    Version {
        features: bool,
    },
    /// `-c`
    Check,
    /// `-cc`
    Condition(String),
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
    /// `-dW`
    pub(super) strict: bool,
    /// `-D`
    pub(super) daemon: bool,
    /// `-W`, `-Ws`
    master: bool,
    /// `-db`, `-d`, `-Ws`: no daemon because of the file
    foreground: bool,
    /// `-p`
    pid_file: Option<PathBuf>,
    /// `-sf` and `-st`
    pub(super) old: Vec<u32>,
    /// How the old processes end.
    pub(super) old_end: OldEnd,
    /// `-x`
    pub(super) old_socket: Option<PathBuf>,
    /// `--skip-refused` and `--socket`, which are those of `lb run`
    pub(super) skip_refused: bool,
    pub(super) socket: Option<PathBuf>,
    /// Of flags that have no effect here, with the reason.
    pub(super) notices: Vec<String>,
}

/// Why a line is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// The usage says it all.
    Usage,
    Wrong(String),
}

impl HaproxyLine {
    /// Reads the words behind the name of the program.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, LineError> {
        let mut words = words.into_iter().peekable();
        let (mut line, mut verbose) = (Self::new(), false);
        while let Some(word) = words.next() {
            let flag = word.to_str().and_then(|word| word.strip_prefix('-')).ok_or(LineError::Usage)?;
            let mut value = || words.next().ok_or_else(|| LineError::Wrong(format!("-{flag} needs a value")));
            match flag.as_bytes() {
                b"-skip-refused" => line.skip_refused = true,
                b"-socket" => line.socket = Some(value()?.into()),
                b"-" => line.files.extend(words.by_ref().map(PathBuf::from)),
                [b'v', more @ ..] => {
                    line.task = HaproxyTask::Version { features: more.starts_with(b"v") };
                    return Ok(line);
                }
                [b'd', more @ ..] => line.debug(flag, more.first().copied()),
                [b'c', b'c', ..] => {
                    let condition = words.next().ok_or(LineError::Usage)?;
                    line.task = HaproxyTask::Condition(condition.to_string_lossy().into_owned());
                }
                // Beside a condition nothing else is done.
                [b'c', ..] if line.task != HaproxyTask::Run => {}
                [b'c', ..] => line.task = HaproxyTask::Check,
                [b'q', ..] => line.quiet = true,
                [b'V', ..] => verbose = true,
                [b'D', ..] => line.daemon = true,
                [b'W', b's', ..] => (line.master, line.foreground) = (true, true),
                [b'W', ..] => line.master = true,
                [b's', end @ (b'f' | b't'), ..] => {
                    line.old_end = if *end == b'f' { OldEnd::Finish } else { OldEnd::Terminate };
                    while let Some(pid) = words.next_if(|word| !word.as_bytes().starts_with(b"-")) {
                        line.old.extend(pids(flag, &pid)?);
                    }
                }
                [b'f', ..] => line.files.push(value()?.into()),
                [b'C', ..] => line.folder = Some(value()?.into()),
                [b'p', ..] => line.pid_file = Some(value()?.into()),
                [b'x', ..] => line.old_socket = Some(value()?.into()),
                [b'n' | b'N' | b'm' | b'L' | b'S', ..] => {
                    let value = value()?;
                    line.ignore(&flag[..1], &value);
                }
                _ => return Err(LineError::Usage),
            }
        }
        line.quiet &= !verbose;
        let has_work = !line.files.is_empty() || matches!(line.task, HaproxyTask::Condition(_));
        if has_work { Ok(line) } else { Err(LineError::Usage) }
    }

    /// What the file says about the process counts where the line does not.
    pub(super) fn follow(&mut self, words: &ProcessWords) {
        self.daemon |= words.daemon && !self.foreground;
        self.master |= words.master_worker;
        self.pid_file = self.pid_file.take().or_else(|| words.pidfile.as_ref().map(PathBuf::from));
    }

    /// A plain process in the foreground writes none.
    pub(super) fn pid_file(&self) -> Option<&Path> {
        self.pid_file.as_deref().filter(|_| self.daemon || self.master)
    }

    fn new() -> Self {
        Self {
            task: HaproxyTask::Run,
            files: Vec::new(),
            folder: None,
            quiet: false,
            strict: false,
            daemon: false,
            master: false,
            foreground: false,
            pid_file: None,
            old: Vec::new(),
            old_end: OldEnd::Finish,
            old_socket: None,
            skip_refused: false,
            socket: None,
            notices: Vec::new(),
        }
    }

    /// `-d…`. Most are about parts that HAProxy alone has; an unknown one is its debug mode.
    fn debug(&mut self, flag: &str, which: Option<u8>) {
        match which {
            Some(b'W') => self.strict = true,
            Some(b'K') => {
                self.notices.push(format!("-{flag} prints nothing: docs/haproxy.md lists the words of the file."))
            }
            Some(b'L') => self.notices.push(format!("-{flag} prints nothing: there are no object files to load.")),
            Some(b'e' | b'p' | b'S' | b'G' | b'R' | b'r' | b'V' | b'M' | b'D') => {}
            _ => self.foreground = true,
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
        let mut line = HaproxyLine::read(line.split_whitespace().map(OsString::from))?;
        line.follow(&ProcessWords::default());
        Ok(line)
    }

    #[test]
    fn lines_of_scripts_are_read() {
        let unit = read("-Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock").unwrap();
        assert_eq!((&unit.task, unit.daemon), (&HaproxyTask::Run, false));
        assert_eq!(unit.pid_file(), Some(Path::new("/run/haproxy.pid")));
        assert!(unit.notices[0].starts_with("-S /run/haproxy-master.sock has no effect: "), "{:?}", unit.notices);
        let reload = read("-f a -f b -p pid -D -sf 1 22 -q -- c d").unwrap();
        assert_eq!(reload.files, ["a", "b", "c", "d"].map(PathBuf::from));
        assert_eq!((reload.old, reload.old_end, reload.daemon), (vec![1, 22], OldEnd::Finish, true));
        assert!(reload.quiet);
        let check = read("-c -q -V -C /etc -f x -st -dr -dM7 -de").unwrap();
        assert!(!check.strict && read("-f x -dW").unwrap().strict);
        assert_eq!((check.task, check.quiet, check.old_end), (HaproxyTask::Check, false, OldEnd::Terminate));
        assert_eq!((check.old.len(), check.folder), (0, Some("/etc".into())));
        let docker = read("-W -db -D -p pid -f x -x /run/admin.sock").unwrap();
        assert_eq!((docker.daemon, docker.pid_file()), (true, Some(Path::new("pid"))));
        assert_eq!(docker.old_socket, Some("/run/admin.sock".into()));
        assert_eq!(read("-f x -p pid").unwrap().pid_file(), None);
        let ours = read("-f x --skip-refused --socket /lb.sock").unwrap();
        assert_eq!((ours.skip_refused, ours.socket), (true, Some("/lb.sock".into())));
        assert_eq!(read("-v -Z").unwrap().task, HaproxyTask::Version { features: false });
        assert_eq!(read("-vv").unwrap().task, HaproxyTask::Version { features: true });
    }

    #[test]
    fn what_is_joined_to_a_flag_is_passed_over() {
        for (line, task) in [
            ("-f x -cq", HaproxyTask::Check),
            ("-f x -qc", HaproxyTask::Run),
            ("-f x -Vc", HaproxyTask::Run),
            ("-fy x -cV", HaproxyTask::Check),
            ("-cc 1", HaproxyTask::Condition("1".into())),
            ("-ccq 1 -c -f x", HaproxyTask::Condition("1".into())),
            ("-vq", HaproxyTask::Version { features: false }),
        ] {
            let read = read(line).unwrap();
            assert_eq!((read.task, read.quiet), (task, line.contains("-q")), "{line}");
        }
        let named = read("-fy x -Cz / -n5 7 -sfx 1 -pq pid -Wx").unwrap();
        assert_eq!((named.files, named.folder, named.old), (vec!["x".into()], Some("/".into()), vec![1]));
        assert_eq!(named.notices, ["-n 7 has no effect: write `maxconn` in the section `global`."]);
        let debug = read("-f x -dKall -dL -dp").unwrap();
        assert_eq!(debug.notices.len(), 2, "{:?}", debug.notices);
    }

    #[test]
    fn the_file_counts_where_the_line_says_nothing() {
        let words = ProcessWords { daemon: true, master_worker: false, pidfile: Some("its.pid".into()) };
        for (line, daemon, pid_file) in [
            ("-f x", true, Some("its.pid")),
            ("-f x -p own.pid", true, Some("own.pid")),
            ("-f x -db", false, None),
            ("-f x -W -db", false, Some("its.pid")),
            ("-f x -d", false, None),
            ("-f x -dxy", false, None),
            ("-f x -dM7", true, Some("its.pid")),
            ("-f x -Ws", false, Some("its.pid")),
            ("-f x -Ws -D", true, Some("its.pid")),
            ("-f x -Dc -db", true, Some("its.pid")),
        ] {
            let mut read = HaproxyLine::read(line.split_whitespace().map(OsString::from)).unwrap();
            read.follow(&words);
            assert_eq!((read.daemon, read.pid_file()), (daemon, pid_file.map(Path::new)), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in ["", "-D", "-Z -f x", "-c x", "-cc", "-sx -f x", "--help", "-h"] {
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
