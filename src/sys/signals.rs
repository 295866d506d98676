//! Signals: what the parent process has left of them is undone, and none ends or stops this process by accident.
//!
//! Rule: signals are blocked, not ignored. A child inherits either, and an engine begins with the same mask; for another
//! program `process::unblock_signals` empties it.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;
use nix::sys::signal::{SigSet, Signal};

/// Makes signals that the parent ignores act again (without CHLD no child has an exit status, and `nohup` takes HUP), and
/// blocks all of them but `open` and the faults of this process itself. Returns those that are blocked.
///
/// Must come while the process has one thread, and before the first child. What is pending stays so.
pub(crate) fn begin(open: &[Signal]) -> io::Result<SigSet> {
    for number in (1..=libc::SIGRTMAX()).filter(|number| *number != libc::SIGPIPE) {
        act_again(number);
    }
    let mut blocked = SigSet::all();
    for signal in FAULTS.iter().chain(open) {
        blocked.remove(*signal);
    }
    blocked.thread_set_mask()?;
    Ok(blocked)
}

/// Gives the signal its default action if it is ignored. Only then: a pending CHLD would be lost.
fn act_again(number: i32) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the kernel writes a whole `sigaction` for a valid number, and zeroes are one as well; the default action
    // is no function, so nothing can be called.
    unsafe {
        if libc::sigaction(number, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
        {
            libc::signal(number, libc::SIG_DFL);
        }
    }
}

/// Signals by which the kernel reports a fault: blocked, they would end the process all the same, without a trace.
const FAULTS: [Signal; 7] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGSYS, Signal::SIGABRT];
