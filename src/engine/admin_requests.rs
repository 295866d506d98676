//! The admin socket: where it is, and what each request does.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use crate::backend::{self, Backend};
use crate::config::{AdminState, Config, MAX_WEIGHT};
use crate::control::admin::{self as socket, Answer, Conversations, ProgressSender, Request};
use crate::engine::listeners::inherited::Inherited;
use crate::engine::supervisor_link::Reports;
use crate::engine::{Engine, Start, StartError, shown};
use crate::exit::ExitStatus;
use crate::handoff;
use crate::handoff::control::{Listener, ListenerKind, Upgrade};
use crate::sys::fd;

/// The listening admin socket.
pub(super) struct Admin {
    pub(super) path: PathBuf,
    /// `None` once it is closed.
    socket: Option<OwnedFd>,
    conversations: Conversations,
    /// Accepts, unless another engine does.
    server: Option<JoinHandle<()>>,
}

impl Admin {
    fn new(path: PathBuf, socket: OwnedFd) -> Self {
        Self { path, socket: Some(socket), conversations: Conversations::default(), server: None }
    }

    /// Answers requests from now on.
    pub(super) fn serve(&mut self, daemon: &Rc<Engine>) -> std::io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let listener = UnixListener::from_std(socket.try_clone()?.into())?;
        let daemon = Rc::clone(daemon);
        let conversations = self.conversations.clone();
        self.server = Some(spawn_local(async move {
            let handler = move |request, progress| {
                let daemon = Rc::clone(&daemon);
                async move { daemon.answer(request, progress).await }
            };
            match socket::serve(listener, conversations, handler).await {}
        }));
        Ok(())
    }

    /// Takes no more requests; those under way go on. The socket stays.
    pub(super) async fn park(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Cancelled is what it should be.
            server.await.ok();
        }
    }

    /// Takes no more requests, and whoever is started next shall find the path free. While another engine has the socket,
    /// or may have it, the path stays: it is that one's, or else nobody answers there and it is replaced.
    pub(super) async fn close(&mut self, upgrading: bool) {
        let served = self.server.is_some();
        self.park().await;
        self.socket = None;
        if served && !upgrading {
            fs::remove_file(&self.path).ok();
        }
    }

    /// The end has begun: a socket that another engine serves is that one's alone from now on.
    pub(super) fn let_go(&mut self) {
        if self.server.is_none() {
            self.socket = None;
        }
    }

    /// Waits until every request under way is answered, but not for ever.
    pub(super) async fn finish(&mut self) {
        self.park().await;
        tokio::time::timeout(LAST_WORDS, self.conversations.over()).await.ok();
    }
}

/// Binds the admin socket, for the daemon's own user alone, or takes over the one of the engine before.
pub(super) fn listen(
    start: &Start,
    config: &Config,
    inherited: &mut Inherited,
    reports: &Reports,
) -> Result<Admin, StartError> {
    let path = start.socket.as_ref().or(config.global.socket.as_ref()).unwrap_or(&start.default_socket).clone();
    let fail = |problem: String| StartError::Admin { path: shown(&path), problem };
    // In another container the path may lead elsewhere: then it is left to the engine that has it now.
    if leads_somewhere(&path)
        && let Some(held) = inherited.admin(&shown(&path))
    {
        return Ok(Admin::new(path, held.socket));
    }
    make_room(&path).map_err(fail)?;
    make_folder(&path);
    let socket = bind(&path).map_err(|error| fail(advice(&path, &error)))?;
    let cookie = fd::cookie(socket.as_fd()).map_err(|error| fail(error.to_string()))?;
    let listener = Listener {
        kind: ListenerKind::Admin,
        frontend: String::new(),
        bind: shown(&path),
        worker: 0,
        address: shown(&path),
        cookie,
    };
    reports.listener(&listener, &socket)?;
    Ok(Admin::new(path, socket))
}

/// Nobody can connect before `listen`, and then the mode is right.
fn bind(path: &Path) -> std::io::Result<OwnedFd> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether somebody can be reached there: an inherited socket is one that can, since the supervisor has it, too.
fn leads_somewhere(path: &Path) -> bool {
    let connected = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    // Too many who wait are somebody's, too.
    connected().map_or_else(|e: std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock, |()| true)
}

/// Removes what a daemon that died has left; refuses when one is alive, since two would share the traffic.
fn make_room(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err("is there already and is no socket; choose another path with --socket".to_owned());
    }
    if UnixStream::connect(path).is_ok() {
        return Err("another lb answers there; stop it first, or give this one its own --socket".to_owned());
    }
    fs::remove_file(path).map_err(|error| format!("cannot remove the one that a former lb has left: {error}"))
}

/// One level, such as `/run/lb`, which a boot leaves empty. What hinders it shows when the socket is bound.
fn make_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        match fs::DirBuilder::new().mode(0o750).create(folder) {
            Ok(()) | Err(_) => {}
        }
    }
}

fn advice(path: &Path, error: &std::io::Error) -> String {
    let folder = path.parent().map(shown).unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{folder} does not exist; create it, or choose another path with --socket")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("may not be created in {folder}; choose another path with --socket")
        }
        _ => error.to_string(),
    }
}

impl Engine {
    async fn answer(&self, request: Request, progress: ProgressSender) -> Answer {
        match request {
            Request::Status => Answer::value(&self.report()),
            Request::ServerList => Answer::value(&self.report().backends),
            Request::SetServer { backend, server, state } => self.set_server(&backend, &server, state),
            Request::SetWeight { backend, server, weight } => self.set_weight(&backend, &server, weight),
            Request::Reload if self.upgrading() => Answer::busy("reload refused: an upgrade is in progress"),
            Request::Reload => {
                progress.say("reading the configuration");
                match self.reload().await {
                    Ok(done) => Answer::done(done),
                    Err(why) => Answer::failed(
                        ExitStatus::BadInput,
                        format!("reload refused, the running configuration stays:\n{why}"),
                    ),
                }
            }
            Request::Accept { backend } => match self.discovery.accept(&backend) {
                None => Answer::bad_request(format!("backend {backend} has no discovery")),
                Some(0) => Answer::bad_request(format!("backend {backend} has no held change")),
                Some(count) => Answer::done(format!("backend {backend}: {count} held servers are let go")),
            },
            Request::Upgrade { binary, probation_ms } => self.upgrade(binary, probation_ms, progress).await,
        }
    }

    /// Passes the request on to the supervisor, and its words back.
    async fn upgrade(&self, binary: Option<PathBuf>, probation_ms: Option<u64>, progress: ProgressSender) -> Answer {
        let (sender, mut lines) = mpsc::unbounded_channel();
        let request = self.next_request.replace(self.next_request.get() + 1);
        self.upgrades.borrow_mut().insert(request, sender);
        let binary = binary.map(|path| path.display().to_string());
        let message = Upgrade { request, binary, probation_ms };
        if let Err(error) = self.reports.upgrade(message) {
            return Answer::failed(ExitStatus::Failed, error.to_string());
        }
        while let Some(line) = lines.recv().await {
            match line.exit.map(|code| u8::try_from(code).unwrap_or(1)) {
                None => progress.say(line.text),
                Some(0) => return Answer::done(line.text),
                Some(code) if code == ExitStatus::Busy.code() => return Answer::busy(line.text),
                Some(code) => return Answer::failed(ExitStatus::from_code(code), line.text),
            }
        }
        Answer::failed(ExitStatus::Failed, "the supervisor is gone")
    }

    /// A line for who asked for an upgrade.
    pub(super) fn tell_asker(&self, line: handoff::control::Progress) {
        let mut upgrades = self.upgrades.borrow_mut();
        let (request, last) = (line.request, line.exit.is_some());
        if let Some(asker) = upgrades.get(&request) {
            // An asker that is gone does not stop the upgrade.
            asker.send(line).ok();
        }
        if last {
            upgrades.remove(&request);
        }
    }

    fn set_server(&self, backend: &str, server: &str, state: AdminState) -> Answer {
        let (backend, found) = match self.find(backend, server) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        found.state().admin = state;
        backend.refresh(Instant::now());
        self.checker.check_now(&found);
        let status = found.state().status();
        tracing::info!("backend {}: server {server} is {status} by the operator", backend.name);
        Answer::done(format!("{}/{server} is {status}", backend.name))
    }

    fn set_weight(&self, backend: &str, server: &str, weight: u16) -> Answer {
        if weight > MAX_WEIGHT {
            return Answer::bad_request(format!("weight {weight} is not from 0 to {MAX_WEIGHT}"));
        }
        let (backend, found) = match self.find(backend, server) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        found.state().weight = Some(weight);
        backend.refresh(Instant::now());
        tracing::info!("backend {}: server {server} has weight {weight} by the operator", backend.name);
        Answer::done(format!("{}/{server} has weight {weight}", backend.name))
    }

    fn find(&self, backend: &str, server: &str) -> Result<(Arc<Backend>, Arc<backend::Server>), Answer> {
        let backends = self.backends.borrow();
        let Some(found) = backends.get(backend) else {
            let known: Vec<_> = backends.keys().map(String::as_str).collect();
            return Err(Answer::bad_request(format!("no backend {backend}; there are: {}", known.join(", "))));
        };
        let snapshot = found.snapshot();
        let member = snapshot.members.iter().find(|member| &*member.server.name == server);
        member.map(|member| (Arc::clone(found), Arc::clone(&member.server))).ok_or_else(|| {
            let known: Vec<_> = snapshot.members.iter().map(|member| &*member.server.name).collect();
            Answer::bad_request(format!("no server {server} in backend {backend}; there are: {}", known.join(", ")))
        })
    }
}

const BACKLOG: i32 = 128;
/// For answers that are on their way when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(500);
