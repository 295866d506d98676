//! Processes: started and replaced by an opened descriptor, watched by pidfd.
//!
//! Rule: a program is opened once, checked through that descriptor, and executed through it, so that what was
//! checked is what runs. Nothing here decides which program may be executed.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr;

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use rustix::process::{Pid, PidfdFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// A program about to be started: descriptor, arguments (the first is its name) and the whole environment.
pub(crate) struct Program<'a> {
    pub binary: BorrowedFd<'a>,
    pub args: &'a [OsString],
    pub env: &'a [(OsString, OsString)],
}

/// Starts a child. It inherits `fds`, under the same numbers, besides its standard streams, and nothing that this process
/// has inherited by accident; and this thread's signal mask, so that no signal is deadly before it has set its own.
/// An `execve` that fails is this function's error.
pub(crate) fn spawn(program: &Program<'_>, fds: &[BorrowedFd<'_>], stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
    let image = Image::new(program)?;
    let inherited: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    // The path is never used: the hook below executes the descriptor, or fails and reports why.
    let mut command = Command::new("/");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    in_child(&mut command, Some((inherited, image)));
    command.spawn()
}

/// Lets a program that is not this one begin with an empty signal mask: std passes this thread's on.
pub(crate) fn unblock_signals(command: &mut Command) {
    in_child(command, None);
}

/// Whether a debugger holds a thread of the process.
pub(crate) fn is_traced(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let traced = |status: String| {
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|tracer| tracer.trim() != "0")
    };
    threads.into_iter().any(|thread| std::fs::read_to_string(thread.path().join("status")).is_ok_and(traced))
}

/// Replaces this process by `program`. Returns only if that failed, and then nothing has changed.
/// The caller makes inheritable what shall be inherited, and is the first thread; others end.
pub(crate) fn replace(program: &Program<'_>) -> io::Error {
    match Image::new(program) {
        Ok(image) => image.execute(),
        Err(error) => error,
    }
}

/// A descriptor that is readable once the process has ended. The process must be a child, or its pid can be reused.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Anonymous memory that is read like a file and can be inherited.
pub(crate) fn memfd(name: &str) -> io::Result<OwnedFd> {
    Ok(nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?)
}

/// What such memory holds, wherever it was read or written last.
pub(crate) fn contents(memory: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(memory.metadata()?.len()).unwrap_or_default();
    let mut bytes = vec![0; length];
    memory.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// `prctl(PR_SET_NAME)`: what `ps` shows for a program that was executed by descriptor; `haproxy` if it was started under
/// that name, by which scripts look for it.
pub(crate) fn set_name() -> io::Result<()> {
    Ok(nix::sys::prctl::set_name(if is_haproxy() { c"haproxy" } else { c"lb" })?)
}

/// Whether this program was started under the name `haproxy`.
pub(crate) fn is_haproxy() -> bool {
    env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("haproxy"))
}

/// The program that this process runs, to be executed again.
pub(crate) fn own_program() -> io::Result<OwnedFd> {
    Ok(open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Leaves the terminal that it was started from, as a daemon does.
pub(crate) fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Gives up the standard streams of the process that started this one.
pub(crate) fn leave_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Lets this process and its children use the files that they make: an inherited umask may take that from the owner.
pub(crate) fn own_files() {
    let inherited = umask(Mode::all());
    umask(inherited - Mode::S_IRWXU);
}

/// What happens between fork and exec. `program`: what is executed instead of the command, and the descriptors that it
/// inherits.
fn in_child(command: &mut Command, program: Option<(Vec<i32>, Image)>) {
    // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed: sigprocmask,
    // close_range, fcntl and execveat are, and everything they need was allocated before.
    unsafe {
        command.pre_exec(move || {
            let Some((inherited, image)) = &program else {
                return Ok(SigSet::empty().thread_set_mask()?);
            };
            // Linux 5.11; without it, or where a filter forbids it, the child has what this process has inherited.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            if inherited.iter().any(|number| libc::fcntl(*number, libc::F_SETFD, 0) < 0) {
                return Err(io::Error::last_os_error());
            }
            Err(image.execute())
        });
    }
}

/// Argument vectors as `execveat` wants them, allocated before a fork.
struct Image {
    binary: i32,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// What the pointers point into.
    _strings: Vec<CString>,
}

// SAFETY: the pointers refer to the heap buffers of `_strings`, which are owned by the same value and never changed.
unsafe impl Send for Image {}
// SAFETY: as above; nothing is ever written through them.
unsafe impl Sync for Image {}

impl Image {
    fn new(program: &Program<'_>) -> io::Result<Self> {
        let mut strings = Vec::with_capacity(program.args.len() + program.env.len());
        for arg in program.args {
            strings.push(c_string(arg)?);
        }
        for (key, value) in program.env {
            let mut pair = key.clone();
            pair.push("=");
            pair.push(value);
            strings.push(c_string(&pair)?);
        }
        let pointers =
            |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let (args, env) = strings.split_at(program.args.len());
        let (argv, envp) = (pointers(args), pointers(env));
        Ok(Self { binary: program.binary.as_raw_fd(), argv, envp, _strings: strings })
    }

    fn execute(&self) -> io::Error {
        // SAFETY: both vectors end with a null pointer and point to NUL-terminated strings that `self` owns; the
        // empty path with AT_EMPTY_PATH names the descriptor itself.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                self.binary,
                c"".as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        io::Error::last_os_error()
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::sys::fd;

    fn sh(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].iter().map(OsString::from).collect()
    }

    #[test]
    fn a_child_runs_the_descriptor_with_its_arguments_environment_and_one_more_descriptor() {
        let shell = File::open("/bin/sh").unwrap();
        let (near, far) = fd::seqpacket_pair().unwrap();
        let number = far.as_raw_fd().to_string();
        let env = [("FD".into(), number.into())];
        // A redirection in sh takes one digit only in some shells, so the descriptor is looked at through /proc.
        let args = sh("test -S /proc/self/fd/$FD && echo inherited $0");
        let program = Program { binary: shell.as_fd(), args: &args, env: &env };
        let mut child = spawn(&program, &[far.as_fd()], Stdio::piped(), Stdio::inherit()).unwrap();
        drop(far);
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(said, "inherited sh\n");
        // And it did not leak: the child was its last holder. (A child that another test has forked at this moment
        // may hold a copy until its own exec.)
        poll(&mut [PollFd::new(near.as_fd(), PollFlags::POLLIN)], 10_000_u16).unwrap();
        assert!(matches!(fd::recv(near.as_fd(), &mut [0; 8]), Err(fd::RecvError::Closed)));
    }

    #[test]
    fn what_is_no_program_fails_at_once_with_the_kernels_reason() {
        let mut rubbish = File::from(memfd("rubbish").unwrap());
        rubbish.write_all(b"this is no program").unwrap();
        let program = Program { binary: rubbish.as_fd(), args: &sh("true"), env: &[] };
        let error = spawn(&program, &[], Stdio::null(), Stdio::null()).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EACCES | libc::ENOEXEC)), "{error}");
    }

    #[test]
    fn a_pidfd_becomes_readable_when_the_process_ends() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd_open(child.id()).unwrap();
        let ended =
            |timeout: PollTimeout| poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1;
        assert!(!ended(PollTimeout::ZERO));
        child.kill().unwrap();
        assert!(ended(PollTimeout::from(10_000_u16)));
        child.wait().unwrap();
    }
}
