//! What the process says. The session log: one line a session in HAProxy's tcplog format, to stdout or to syslog. The
//! voice: everything else, on stderr, from `tracing` and from the commands.
//!
//! Rule: no thread but those that write waits for a reader, and no failure of one is an error of the process.

mod client_name;
mod line;
mod sink;
pub(crate) mod voice;
mod writer;

pub use self::client_name::ClientName;
pub(crate) use self::line::{By, During, SessionLine, Termination};
pub use self::writer::SessionLog;
