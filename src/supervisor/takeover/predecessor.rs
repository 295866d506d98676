//! Predecessor: the running side of a takeover. Another supervisor connects to the takeover socket and asks; it gets
//! everything by the steps of an upgrade, in which its engine is the new one.
//!
//! Rules: the kernel's credentials are checked before a byte is read; one takeover at a time; a caller that is silent or
//! malformed is disconnected without effect.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::handoff::channel::ChannelError;
use crate::handoff::control::{Control, ProcessKind, Progress, Takeover};
use crate::handoff::frame::DecodeError;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::stderr::print;
use crate::supervisor::takeover::socket::{Claimed, TakeoverSocket, TakeoverSocketError};
use crate::supervisor::upgrade::outcome::{Outcome, UpgradeKind};

/// The takeover socket and the supervisors that have connected to it.
#[derive(Debug)]
pub(crate) struct Predecessor {
    socket: Option<TakeoverSocket>,
    /// No connection is accepted, or the path is not tried again, before this time.
    paused_until: Option<Instant>,
    /// The time until the path is tried again.
    next_pause: Duration,
    callers: Vec<Caller>,
}

/// A supervisor that has connected but not asked yet.
#[derive(Debug)]
struct Caller {
    connection: Connection,
    greeted: bool,
    /// When it is disconnected.
    by: Instant,
}

/// A supervisor that asks for a takeover.
#[derive(Debug)]
pub(crate) struct TakeoverRequest {
    connection: Connection,
    /// `None`: the default.
    pub probation: Option<Duration>,
}

impl Predecessor {
    /// Without a socket the process cannot be taken over.
    pub(crate) fn new(socket: Option<TakeoverSocket>) -> Self {
        Self { socket, paused_until: None, next_pause: FIRST_PAUSE, callers: Vec::new() }
    }

    /// The takeover socket.
    pub(crate) fn socket(&self) -> Option<&TakeoverSocket> {
        self.socket.as_ref()
    }

    /// The takeover socket while another caller may be accepted.
    pub(crate) fn accepting(&self) -> Option<&TakeoverSocket> {
        let open = self.callers.len() < CALLERS && self.paused_until.is_none();
        self.socket.as_ref().filter(|_| open)
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.callers.iter().map(|caller| &caller.connection)
    }

    pub(crate) fn is_caller(&self, id: ConnectionId) -> bool {
        self.connections().any(|connection| connection.id() == id)
    }

    pub(crate) fn has_callers(&self) -> bool {
        !self.callers.is_empty()
    }

    /// When [`Self::on_time`] is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.callers.iter().map(|caller| caller.by).chain(self.paused_until).min()
    }

    /// Ends a pause and disconnects silent callers. `path`: where a socket that is missing is to be claimed.
    pub(crate) fn on_time(&mut self, path: Option<&Path>, now: Instant) {
        if self.paused_until.take_if(|until| now >= *until).is_some()
            && self.socket.is_none()
            && let Some(path) = path
        {
            self.claim(path, now);
        }
        self.callers.retain(|caller| {
            if now >= caller.by {
                print("takeover: a caller connected and then sent nothing");
            }
            now < caller.by
        });
    }

    /// Uses this socket.
    pub(crate) fn open(&mut self, socket: TakeoverSocket) {
        self.socket = Some(socket);
    }

    /// Claims the path after a predecessor that has fallen silent while handing over. If it recovers, it keeps the
    /// path, and both serve the same queues. Neither can decide which of the two is to stay, and if both drained on a
    /// guess, no engine would be left: this one continues to serve, prints a warning, and leaves the path alone.
    pub(crate) fn claim(&mut self, path: &Path, now: Instant) {
        match TakeoverSocket::claim_at_once(path) {
            Ok(Claimed::Ours(socket)) => self.socket = Some(socket),
            Ok(Claimed::Answered(_)) | Err(TakeoverSocketError::Crowded(_) | TakeoverSocketError::Locked(_))
                if self.next_pause < LAST_PAUSE =>
            {
                self.paused_until = Some(now + self.next_pause);
                self.next_pause *= 2;
            }
            Ok(Claimed::Answered(_)) => print(format!(
                "WARNING: another lb serves at {}, too; stop one of them, this one cannot be taken over",
                path.display()
            )),
            Err(error) => print(format!("{error}; this one cannot be taken over")),
        }
    }

    /// Closes the socket, which the successor has now, and disconnects the callers.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.callers.clear();
    }

    /// Moves the path.
    pub(crate) fn rename(&mut self, path: &Path) {
        if let Some(Err(error)) = self.socket.as_mut().map(|socket| socket.rename(path)) {
            print(format!("takeover: {} cannot be made: {error}", path.display()));
        }
    }

    /// Removes the path.
    pub(crate) fn unlink(&self) {
        self.socket.iter().for_each(TakeoverSocket::unlink);
    }

    /// Accepts the callers that wait.
    pub(crate) fn accept(&mut self, now: Instant) {
        while let Some(socket) = self.accepting() {
            match socket.accept() {
                Ok(Some(Ok(socket))) => {
                    let connection = Connection::new(socket);
                    self.callers.push(Caller { connection, greeted: false, by: now + CALLER_LIMIT });
                }
                Ok(Some(Err(uid))) => print(format!("takeover: uid {uid} may not ask for it")),
                Ok(None) => return,
                Err(error) => {
                    // Usually out of descriptors; trying again at once would spin.
                    print(format!("takeover: {error}"));
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Reads the messages of a caller, up to its request.
    pub(crate) fn on_caller(&mut self, id: ConnectionId) -> Option<TakeoverRequest> {
        loop {
            let place = self.callers.iter().position(|caller| caller.connection.id() == id)?;
            let caller = &mut self.callers[place];
            match caller.connection.receive() {
                Ok(None) => return None,
                Ok(Some((Control::Hello(hello), _))) if hello.role == ProcessKind::Supervisor && !caller.greeted => {
                    caller.greeted = true;
                }
                Ok(Some((Control::Takeover(request), _))) if caller.greeted => {
                    let connection = self.callers.remove(place).connection;
                    return Some(TakeoverRequest::new(connection, &request));
                }
                Ok(Some(_)) => {
                    print("takeover: a caller sent a message out of turn");
                    self.callers.remove(place);
                }
                // It has only tested whether a process listens.
                Err(error) if error.is_closed() && !caller.greeted => {
                    self.callers.remove(place);
                }
                Err(error) => refuse_malformed(self.callers.remove(place).connection, &error),
            }
        }
    }
}

impl TakeoverRequest {
    fn new(connection: Connection, request: &Takeover) -> Self {
        Self { connection, probation: request.probation_ms.map(Duration::from_millis) }
    }

    /// Refuses the takeover.
    pub(crate) fn refuse(mut self, outcome: &Outcome) {
        self.connection.send_last(&last_message(outcome));
    }

    /// Answers with `hello`. The connection then leads to the new engine.
    pub(crate) fn accept(mut self, hello: &Control) -> Result<Connection, ChannelError> {
        self.connection.send(hello, vec![])?;
        Ok(self.connection)
    }
}

fn refuse_malformed(mut connection: Connection, error: &ChannelError) {
    print(format!("takeover: a caller failed: {error}"));
    if let ChannelError::Decode(DecodeError::Major { .. }) = error {
        let outcome = Outcome::incompatible(UpgradeKind::Takeover, error);
        connection.send_last(&last_message(&outcome));
    }
}

fn last_message(outcome: &Outcome) -> Control {
    Control::Progress(Progress { request: 0, text: outcome.text.clone(), exit: Some(u32::from(outcome.exit.code())) })
}

/// The most callers at once; others wait in the queue.
const CALLERS: usize = 4;
/// How long a caller may take to send its request.
const CALLER_LIMIT: Duration = Duration::from_secs(5);
/// The time until the path is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The first pause that is not waited: 12.7 s after the first try.
const LAST_PAUSE: Duration = Duration::from_millis(12_800);
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
