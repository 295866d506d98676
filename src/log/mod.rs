//! The session log: one line a session in HAProxy's tcplog format, to stdout or to syslog.
//!
//! Everything else that the process logs goes to stderr through `tracing`.

mod line;
mod sink;
mod writer;

pub(crate) use self::line::{By, During, SessionLine, Termination};
pub use self::writer::SessionLog;
