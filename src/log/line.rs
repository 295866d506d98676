//! The session line: what one session was, by default in HAProxy's tcplog format.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::client_name::ClientName;
use super::session_ends::SessionEnds;
use crate::config::{BindEntry, LogSettings};
use crate::sys::clock;

/// Which side or cause ended a session: the first letter of HAProxy's termination state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Both sides sent FIN.
    Nobody,
    Client,
    Server,
    /// A rule or limit of this proxy.
    Proxy,
    /// This host ran out of something.
    Resource,
    ClientTimeout,
    ServerTimeout,
    /// The server went DOWN and its sessions were to be cut.
    ServerDown,
    /// It was on a backup, and a server came UP whose option this is.
    ServerUp,
    /// The operator, or the end of the drain.
    Killed,
}

/// In which phase: the second letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// Waiting for the PROXY header.
    Request,
    Queue,
    Connect,
    Data,
    /// Or the end was ordered from outside, as HAProxy logs that.
    Finished,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination {
    pub by: By,
    pub during: During,
}

impl Termination {
    /// Whether a session did not end by itself, or did not reach its server at once, as HAProxy has it.
    pub(crate) fn is_error(self, attempts: Attempts) -> bool {
        self.by != By::Nobody || attempts.retries > 0 || attempts.redispatched
    }
}

/// The facts of one session.
#[derive(Debug, Clone)]
pub struct SessionLine {
    pub client: ClientName,
    pub accepted: SystemTime,
    pub frontend: Arc<str>,
    pub backend: Arc<str>,
    pub server: Option<Arc<str>>,
    pub times: SessionTimes,
    /// From server to client.
    pub bytes_out: u64,
    /// From client to server.
    pub bytes_in: u64,
    pub ending: Termination,
    /// Sessions of the process, the frontend, the backend and the server at the end of this one, itself included.
    pub sessions: [u32; 4],
    pub attempts: Attempts,
    /// Written before the end: times and bytes are those so far.
    pub partial: bool,
    /// Of its frontend, when it was written.
    pub settings: Arc<LogSettings>,
    /// `None` unless the settings have a format.
    pub ends: Option<Box<SessionEnds>>,
    /// Where it came in; `None` as above, or not known any more.
    pub entry: Option<Arc<BindEntry>>,
}

/// How long a session took to reach its server, and in all.
#[derive(Debug, Clone, Copy)]
pub struct SessionTimes {
    /// Waited for a server; `None`: never got one.
    pub queue: Option<Duration>,
    /// Waited for the connection, retries included; `None`: never had one.
    pub connect: Option<Duration>,
    pub total: Duration,
}

/// What it took to reach the server.
#[derive(Debug, Clone, Copy)]
pub struct Attempts {
    pub retries: u32,
    pub redispatched: bool,
    /// Sessions in front of this one when it was queued.
    pub queue_position: u32,
}

impl SessionLine {
    pub(crate) fn is_error(&self) -> bool {
        self.ending.is_error(self.attempts)
    }
}

/// HAProxy's tcplog: `client [time] frontend backend/server Tw/Tc/Tt bytes -- a/f/b/s/retries srvq/bckq`.
impl fmt::Display for SessionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server_name();
        let accepted = clock::log_time(self.accepted);
        write!(f, "{} [{accepted}] {} {}/{server} ", self.client, self.frontend, self.backend)?;
        let SessionTimes { queue, connect, total } = self.times;
        let so_far = if self.partial { "+" } else { "" };
        write!(f, "{}/{}/{so_far}{}", PhaseMillis(queue), PhaseMillis(connect), PhaseMillis(Some(total)))?;
        let [process, frontend, backend, on_server] = self.sessions;
        let counts = format_args!("{process}/{frontend}/{backend}/{on_server}/{}", self.attempts);
        write!(f, " {so_far}{} {} {counts} 0/{}", self.bytes_out, self.ending, self.attempts.queue_position)
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Nobody => '-',
            By::Client => 'C',
            By::Server => 'S',
            By::Proxy => 'P',
            By::Resource => 'R',
            By::ClientTimeout => 'c',
            By::ServerTimeout => 's',
            By::ServerDown => 'D',
            By::ServerUp => 'U',
            By::Killed => 'K',
        };
        let during = match self.during {
            During::Request => 'R',
            During::Queue => 'Q',
            During::Connect => 'C',
            During::Data => 'D',
            During::Finished => '-',
        };
        write!(f, "{by}{during}")
    }
}

/// The retries, with a `+` when the last one went to another server.
impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.redispatched { "+" } else { "" }, self.retries)
    }
}

/// Milliseconds, or -1 for a phase that was not reached.
pub(super) struct PhaseMillis(pub(super) Option<Duration>);

impl fmt::Display for PhaseMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => write!(f, "{}", duration.as_millis()),
            None => f.write_str("-1"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::log) fn line() -> SessionLine {
        SessionLine {
            client: ClientName::Ip("10.0.1.2:33313".parse().unwrap()),
            accepted: SystemTime::UNIX_EPOCH,
            frontend: "fnt".into(),
            backend: "bck".into(),
            server: Some("srv1".into()),
            times: SessionTimes {
                queue: Some(Duration::ZERO),
                connect: Some(Duration::from_millis(7)),
                total: Duration::from_millis(5007),
            },
            bytes_out: 212,
            bytes_in: 0,
            ending: Termination { by: By::Nobody, during: During::Finished },
            sessions: [4, 3, 2, 1],
            attempts: Attempts { retries: 3, redispatched: true, queue_position: 0 },
            partial: false,
            settings: Arc::default(),
            ends: None,
            entry: None,
        }
    }

    #[test]
    fn a_line_reads_as_tcplog() {
        let text = line().to_string();
        let (head, tail) = text.split_once("] ").unwrap();
        assert!(head.starts_with("10.0.1.2:33313 ["), "{text}");
        assert_eq!(tail, "fnt bck/srv1 0/7/5007 212 -- 4/3/2/1/+3 0/0");
    }

    #[test]
    fn a_session_without_server_is_marked() {
        let ending = Termination { by: By::ServerTimeout, during: During::Queue };
        let times = SessionTimes { queue: None, connect: None, ..line().times };
        let text = SessionLine { server: None, times, ending, client: ClientName::Unknown, ..line() }.to_string();
        assert!(text.contains(" bck/<NOSRV> -1/-1/5007 212 sQ ") && text.starts_with("-:0 ["), "{text}");
    }
}
