//! An engine's end of the control socket: orders come in, reports go out. Lives on the control thread.
//!
//! How an engine uses it:
//! 1. [`attach`] (`None`: no supervisor started this process), then [`Orders::begin`]: mode, generation, listeners.
//! 2. Bind what is missing, [`Reports::listener`] for each new socket, build backends (in an upgrade from what the
//!    other engine sends), [`Reports::prepared`].
//! 3. On [`SupervisorOrder::Go`]: make the workers ready, check that each answers, [`Reports::ready`], *then* accept: a death
//!    before READY must not take a connection with it.
//! 4. [`Reports::heartbeat`] every [`Reports::heartbeat_interval`], for as long as the workers answer.
//! 5. Follow [`Orders::next`] to the end.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::engine::listeners::inherited::Inherited;
use crate::handoff::channel::CONTROL_VARIABLE;
use crate::handoff::channel::{ChannelError, Inbox, Outbox};
use crate::handoff::control::{
    Abort, Control, Done, Heartbeat, Hello, Listener, Mode, NamesPart, Parked, Prepared, ProcessKind, Progress, Ready,
    StatusLine, Stop, Unlisten, Upgrade, UpgradePhase,
};
use crate::handoff::features;
use crate::sys::clock::millis;
use crate::sys::{fd, socket};

/// Between two heartbeats of a serving engine.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// The same while an upgrade runs.
pub(super) const HEARTBEAT_FAST: Duration = Duration::from_millis(100);

/// Why the link to the supervisor failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SupervisorLinkError {
    #[error("the supervisor's socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the supervisor: {0}")]
    Channel(#[from] ChannelError),
    #[error("the supervisor gave up: {0}")]
    Aborted(String),
    #[error("the supervisor sent a message out of turn")]
    OutOfTurn,
    #[error("{came} listeners came, {announced} were announced")]
    Listeners { came: usize, announced: u32 },
}

/// What an engine starts with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub mode: Mode,
    /// 1 at the first start, one more with each upgrade.
    pub generation: u64,
    /// Pid of the supervisor.
    pub supervisor: u32,
    /// Since the first start.
    pub uptime: Duration,
    pub inherited: Inherited,
    /// Addresses of host names that an engine before this one has left with the supervisor.
    pub names: Vec<Vec<u8>>,
    /// In an upgrade: the link to the engine that serves.
    pub peer: Option<PeerEnd>,
}

/// An engine's end of the socket pair between the two engines of an upgrade.
#[derive(Debug)]
pub(super) struct PeerEnd {
    pub socket: OwnedFd,
    /// Readable once that engine is dead, and only then.
    pub pidfd: OwnedFd,
}

/// An order of the supervisor.
#[derive(Debug)]
pub(super) enum SupervisorOrder {
    /// Get ready to accept, report READY, accept.
    Go,
    /// An upgrade begins: export the state to the new engine.
    Peer(PeerEnd),
    /// Stop accepting except from these (by cookie), deregister the listeners, keep them, report PARKED.
    Park(Vec<u64>),
    /// Accept again.
    Resume,
    /// The other engine cannot resume any more.
    Commit,
    /// Hand the sessions over within this time; the others stay. Report DONE.
    Move(Duration),
    Stop(Stop),
    /// Read the configuration again.
    Reload,
    /// An upgrade is in this phase.
    Phase(UpgradePhase),
    /// A line for the client that asked for the upgrade.
    Progress(Progress),
    /// End at once: the upgrade failed.
    Abort(String),
    /// The supervisor is gone. Stop.
    Orphaned,
}

/// The incoming half.
pub(super) struct Orders {
    link: Arc<SupervisorLink>,
    inbox: Inbox<Control>,
    orphaned: bool,
}

/// The outgoing half. Cheap to clone; any thread may use it; nothing blocks.
#[derive(Clone)]
pub(super) struct Reports {
    link: Arc<SupervisorLink>,
}

/// The socket and what waits for room in it.
struct SupervisorLink {
    socket: AsyncFd<OwnedFd>,
    outbox: Mutex<Outbox>,
    /// A message waits in the outbox for room in the socket, which `Orders` watches.
    stuck: Notify,
    /// An upgrade is running.
    hurry: AtomicBool,
}

/// Connects to the supervisor that started this process, and sends HELLO. `None`: there is none. To be called
/// once, within a runtime, before descriptors were opened that could have the inherited number.
pub(super) fn attach() -> Result<Option<(Orders, Reports)>, SupervisorLinkError> {
    let Some(number) = env::var_os(CONTROL_VARIABLE) else {
        return Ok(None);
    };
    let number = number.to_str().and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| io::Error::other("its number is none"))?;
    let (orders, reports) = connect(fd::inherit(number)?)?;
    Ok(Some((orders, reports)))
}

/// The same over a given socket.
pub(super) fn connect(socket: OwnedFd) -> Result<(Orders, Reports), SupervisorLinkError> {
    let socket = socket::watch(socket, Interest::READABLE | Interest::WRITABLE)?;
    let link = SupervisorLink {
        socket,
        outbox: Mutex::new(Outbox::new(0)),
        stuck: Notify::new(),
        hurry: AtomicBool::new(false),
    };
    let link = Arc::new(link);
    let reports = Reports { link: Arc::clone(&link) };
    reports.send(&Control::Hello(Hello {
        role: ProcessKind::Engine,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        offers: features::offers(),
    }))?;
    Ok((Orders { link, inbox: Inbox::new(0), orphaned: false }, reports))
}

impl Orders {
    /// Waits for everything up to START.
    pub(super) async fn begin(&mut self) -> Result<Beginning, SupervisorLinkError> {
        let supervisor = match self.receive().await? {
            (Control::Hello(hello), _) if hello.role == ProcessKind::Supervisor => hello.pid,
            _ => return Err(SupervisorLinkError::OutOfTurn),
        };
        let (mut inherited, mut peer, mut came, mut names) = (Inherited::default(), None, 0_usize, Vec::new());
        loop {
            match self.receive().await? {
                (Control::Listener(listener), fds) => {
                    for socket in fds {
                        inherited.add(listener.clone(), socket)?;
                        came += 1;
                    }
                }
                (Control::Peer(_), fds) => peer = peer_end(fds),
                (Control::Names(part), _) => names.push(part.saved),
                (Control::Start(start), _) if start.listeners as usize == came => {
                    self.link.hurry.store(start.mode == Mode::Upgrade, Relaxed);
                    let (mode, generation) = (start.mode, start.generation);
                    let uptime = Duration::from_millis(start.uptime_ms);
                    return Ok(Beginning { mode, generation, supervisor, uptime, inherited, names, peer });
                }
                (Control::Start(start), _) => {
                    return Err(SupervisorLinkError::Listeners { came, announced: start.listeners });
                }
                (Control::Abort(abort), _) => return Err(SupervisorLinkError::Aborted(abort.reason)),
                (Control::Phase(_), _) => {}
                _ => return Err(SupervisorLinkError::OutOfTurn),
            }
        }
    }

    /// The next order. [`SupervisorOrder::Orphaned`] is the last one: after it this waits for ever.
    ///
    /// Cancel safety: nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> SupervisorOrder {
        if self.orphaned {
            return std::future::pending().await;
        }
        loop {
            let (message, fds) = match self.receive().await {
                Ok(received) => received,
                Err(error) => {
                    if !matches!(&error, SupervisorLinkError::Channel(error) if error.is_closed()) {
                        tracing::error!("{error}");
                    }
                    self.orphaned = true;
                    return SupervisorOrder::Orphaned;
                }
            };
            if let Control::Phase(phase) = &message {
                self.link.hurry.store(phase.phase != UpgradePhase::Idle, Relaxed);
            }
            if let Some(order) = order_of(message, fds) {
                return order;
            }
        }
    }

    async fn receive(&mut self) -> Result<(Control, Vec<OwnedFd>), SupervisorLinkError> {
        loop {
            if let Some(received) = self.inbox.receive(self.link.socket.as_fd())? {
                return Ok(received);
            }
            let wanted = if self.link.outbox().is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            tokio::select! {
                ready = self.link.socket.ready(wanted) => {
                    // Cleared before looking once more: what comes in between raises a new edge.
                    ready?.clear_ready();
                }
                // A report did not fit: look at the outbox again.
                () = self.link.stuck.notified() => {}
            }
            self.link.outbox().flush(self.link.socket.as_fd())?;
        }
    }
}

impl Reports {
    /// A socket that this engine has bound: the supervisor keeps a duplicate.
    pub(super) fn listener(&self, listener: &Listener, socket: &OwnedFd) -> Result<(), SupervisorLinkError> {
        let socket = Arc::new(socket.try_clone()?);
        self.link.send(&Control::Listener(listener.clone()), vec![socket])
    }

    /// A listener is given up, after it was served empty.
    pub(super) fn unlisten(&self, cookie: u64) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Unlisten(Unlisten { cookie }))
    }

    /// Everything is bound and built.
    pub(super) fn prepared(&self, listeners: u32) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Prepared(Prepared { listeners }))
    }

    /// From now on this engine serves. A STOP takes up to `stop_limit`; silence for as long as `watchdog` is a hang.
    pub(super) fn ready(&self, stop_limit: Duration, watchdog: Duration) -> Result<(), SupervisorLinkError> {
        let (stop_limit_ms, watchdog_ms) = (millis(stop_limit), Some(millis(watchdog)));
        self.send(&Control::Ready(Ready { stop_limit_ms, watchdog_ms }))
    }

    /// Nothing is accepted any more.
    pub(super) fn parked(&self) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Parked(Parked {}))
    }

    /// What became of the sessions.
    pub(super) fn done(&self, done: Done) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Done(done))
    }

    /// The engine cannot be prepared. It ends after this.
    pub(super) fn abort(&self, reason: impl Into<String>) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Abort(Abort { reason: reason.into() }))
    }

    /// The addresses of host names, for the engine after this one. Nothing is sent while there are none.
    pub(super) fn names(&self, parts: Vec<Vec<u8>>) -> Result<(), SupervisorLinkError> {
        (0..).zip(parts).try_for_each(|(part, saved)| self.send(&Control::Names(NamesPart { part, saved })))
    }

    /// Every worker has answered since the last one. Left out while other reports wait: a supervisor that stood still for
    /// hours has no use for all of them.
    pub(super) fn heartbeat(&self, beat: Heartbeat) -> Result<(), SupervisorLinkError> {
        let mut outbox = self.link.outbox();
        outbox.flush(self.link.socket.as_fd())?;
        if !outbox.is_empty() {
            return Ok(());
        }
        drop(outbox);
        self.send(&Control::Heartbeat(beat))
    }

    /// When the next heartbeat is due.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        if self.link.hurry.load(Relaxed) { HEARTBEAT_FAST } else { HEARTBEAT }
    }

    /// Asks for an upgrade; PROGRESS bears the same request number.
    pub(super) fn upgrade(&self, request: Upgrade) -> Result<(), SupervisorLinkError> {
        self.send(&Control::Upgrade(request))
    }

    /// A line for the service manager; the limits if they differ from those in READY.
    pub(super) fn status(
        &self,
        text: impl Into<String>,
        reloading: bool,
        stop_limit: Option<Duration>,
        watchdog: Option<Duration>,
    ) -> Result<(), SupervisorLinkError> {
        let (stop_limit_ms, watchdog_ms) = (stop_limit.map(millis), watchdog.map(millis));
        self.send(&Control::Status(StatusLine { text: text.into(), reloading, stop_limit_ms, watchdog_ms }))
    }

    fn send(&self, message: &Control) -> Result<(), SupervisorLinkError> {
        self.link.send(message, vec![])
    }
}

impl SupervisorLink {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // A panic while it was held left a queue that is still whole.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &Control, fds: Vec<Arc<OwnedFd>>) -> Result<(), SupervisorLinkError> {
        let mut outbox = self.outbox();
        outbox.push(message, fds)?;
        outbox.flush(self.socket.as_fd())?;
        if !outbox.is_empty() {
            self.stuck.notify_one();
        }
        Ok(())
    }
}

/// The order in a message. `None`: the message is none, which a newer supervisor may send.
fn order_of(message: Control, fds: Vec<OwnedFd>) -> Option<SupervisorOrder> {
    let order = match message {
        Control::Go(_) => SupervisorOrder::Go,
        Control::Park(park) => SupervisorOrder::Park(park.except.into_iter().map(|listener| listener.cookie).collect()),
        Control::Resume(_) => SupervisorOrder::Resume,
        Control::Commit(_) => SupervisorOrder::Commit,
        Control::Move(order) => SupervisorOrder::Move(Duration::from_millis(order.limit_ms)),
        Control::Stop(stop) => SupervisorOrder::Stop(stop),
        Control::Reload(_) => SupervisorOrder::Reload,
        Control::Progress(progress) => SupervisorOrder::Progress(progress),
        Control::Abort(abort) => SupervisorOrder::Abort(abort.reason),
        Control::Peer(_) => SupervisorOrder::Peer(peer_end(fds)?),
        Control::Phase(phase) => SupervisorOrder::Phase(phase.phase),
        _ => return None,
    };
    Some(order)
}

/// The kind of message has guaranteed two descriptors.
fn peer_end(fds: Vec<OwnedFd>) -> Option<PeerEnd> {
    let [socket, pidfd] = <[OwnedFd; 2]>::try_from(fds).ok()?;
    Some(PeerEnd { socket, pidfd })
}
