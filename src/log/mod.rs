//! What the process says. The session log: one line a session in HAProxy's tcplog format or in one of its own, to
//! streams or to syslog, and there also a line for each server that changes its state. The voice: everything else, on
//! stderr, from `tracing` and from the commands.
//!
//! Rule: no thread but those that write waits for a reader, and no failure of one is an error of the process.

mod change_line;
mod client_name;
mod format;
mod header;
mod line;
mod session_ends;
mod sink;
mod sinks;
pub(crate) mod voice;
mod writer;

pub(crate) use self::change_line::ChangeLine;
pub use self::client_name::ClientName;
pub(crate) use self::line::{Attempts, By, During, SessionLine, SessionTimes, Termination};
pub(crate) use self::session_ends::SessionEnds;
pub use self::writer::SessionLog;
