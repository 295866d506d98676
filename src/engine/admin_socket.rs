//! The engine's end of the admin socket: where it is, and when it takes requests.
//!
//! Requests reach the engine's loop over one channel; each carries the way back for its answer.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use crate::config::Config;
use crate::control::admin::{self, Answer, Conversations, ProgressSender, Request};
use crate::engine::error::EngineError;
use crate::engine::launch::LaunchOptions;
use crate::engine::listeners::inherited::Inherited;
use crate::engine::supervisor_link::Reports;
use crate::exit::ExitStatus;
use crate::handoff::control::{Listener, ListenerKind};
use crate::sys::fd;
use crate::sys::local::{self, Claim, ClaimError, LocalKind, PathId};

/// A request that waits for the loop's answer.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) request: Request,
    pub(super) progress: ProgressSender,
    pub(super) reply: Reply,
}

/// The way back for the one answer of a request. Dropped without one, the client reads that the request failed.
#[derive(Debug)]
pub(super) struct Reply(oneshot::Sender<Answer>);

impl Reply {
    /// Answers. A client that has gone away does not matter.
    pub(super) fn send(self, answer: Answer) {
        self.0.send(answer).ok();
    }
}

/// The listening admin socket.
#[derive(Debug)]
pub(super) struct AdminListener {
    path: PathBuf,
    /// Only the path that was bound is removed.
    path_id: Option<PathId>,
    /// `None` once it is closed.
    socket: Option<OwnedFd>,
    conversations: Conversations,
    requests: mpsc::UnboundedSender<PendingRequest>,
    /// Accepts, unless another engine does.
    server: Option<JoinHandle<()>>,
}

impl AdminListener {
    fn new(path: PathBuf, socket: OwnedFd, requests: mpsc::UnboundedSender<PendingRequest>) -> Self {
        let path_id = local::path_id(&path);
        Self { path, path_id, socket: Some(socket), conversations: Conversations::default(), requests, server: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes requests from now on.
    pub(super) fn serve(&mut self) -> Result<(), EngineError> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let listener = socket.try_clone().and_then(|socket| UnixListener::from_std(socket.into()));
        let listener = listener.map_err(EngineError::system("cannot listen on the admin socket"))?;
        let (requests, conversations) = (self.requests.clone(), self.conversations.clone());
        self.server = Some(spawn_local(async move {
            let handler = move |request, progress| pass_on(requests.clone(), request, progress);
            match admin::serve(listener, conversations, handler).await {}
        }));
        Ok(())
    }

    /// Takes no more requests; those under way continue. The socket stays.
    pub(super) async fn park(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Cancelled, as intended.
            server.await.ok();
        }
    }

    /// Takes no more requests, and removes the path, so that the next process can bind it. While another engine has the
    /// socket, or may have it, the path stays: it leads to that engine, or the next process replaces it as stale.
    pub(super) async fn close(&mut self, upgrading: bool) {
        let served = self.server.is_some();
        self.park().await;
        self.socket = None;
        if served
            && !upgrading
            && let Some(id) = self.path_id
        {
            local::unlink(&self.path, id);
        }
    }

    /// Closes a socket that another engine serves. For an engine that ends.
    pub(super) fn release_if_parked(&mut self) {
        if self.server.is_none() {
            self.socket = None;
        }
    }

    /// Takes no more requests, and returns a future that is ready when all are answered, or after a while.
    pub(super) async fn finish(&mut self) -> impl Future<Output = ()> + 'static {
        self.park().await;
        let conversations = self.conversations.clone();
        async move {
            timeout(LAST_ANSWERS, conversations.over()).await.ok();
        }
    }
}

/// Binds the admin socket, for the engine's own user alone, or takes over the one of the previous engine.
pub(super) fn listen(
    launch: &LaunchOptions,
    config: &Config,
    inherited: &mut Inherited,
    reports: &Reports,
    requests: mpsc::UnboundedSender<PendingRequest>,
) -> Result<AdminListener, EngineError> {
    let path = launch.socket.as_ref().or(config.global.socket.as_ref()).unwrap_or(&launch.default_socket).clone();
    let fail = |problem: String| EngineError::Admin { path: display_path(&path), problem };
    // In another container the path may lead elsewhere: then the inherited socket is left to the engine that has it.
    if leads_somewhere(&path)
        && let Some(held) = inherited.admin(&display_path(&path))
    {
        return Ok(AdminListener::new(path, held.socket, requests));
    }
    make_folder(&path);
    let socket = claim(&path).map_err(fail)?;
    let cookie = fd::cookie(socket.as_fd()).map_err(|error| fail(error.to_string()))?;
    let listener = Listener {
        kind: ListenerKind::Admin,
        frontend: String::new(),
        bind: display_path(&path),
        worker: 0,
        address: display_path(&path),
        cookie,
    };
    reports.listener(&listener, &socket)?;
    Ok(AdminListener::new(path, socket, requests))
}

/// A path as messages show it.
pub(super) fn display_path(path: &Path) -> String {
    path.display().to_string()
}

/// Passes a request to the loop and waits for its answer.
async fn pass_on(
    requests: mpsc::UnboundedSender<PendingRequest>,
    request: Request,
    progress: ProgressSender,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    let pending = PendingRequest { request, progress, reply: Reply(reply) };
    // An error: the loop has ended; then there is no answer either.
    requests.send(pending).ok();
    let lost = |_| Answer::failed(ExitStatus::Failed, "the daemon failed while doing this; its log says more");
    answer.await.unwrap_or_else(lost)
}

/// Listens at the path, with the lock of its directory if that can be opened. Refuses when another process answers there,
/// since two would share the traffic.
fn claim(path: &Path) -> Result<OwnedFd, String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let lock = fs::File::open(folder).ok().map(|folder| local::lock(folder, Instant::now() + LOCK_LIMIT)).transpose();
    match lock.and_then(|_lock| local::claim(path, LocalKind::Stream, BACKLOG)) {
        Ok(Claim::Bound(socket)) => Ok(socket),
        Ok(Claim::Answered(_)) | Err(ClaimError::Crowded) => {
            Err("another lb answers there; stop it first, or give this one its own --socket".to_owned())
        }
        Err(ClaimError::NotASocket) => {
            Err("is there already and is no socket; choose another path with --socket".to_owned())
        }
        Err(ClaimError::Locked) => Err("another lb is just being started there; try again".to_owned()),
        Err(ClaimError::Io(error)) => Err(advice(path, &error)),
    }
}

/// Whether a socket listens there. An inherited socket does, since the supervisor keeps it open, too.
fn leads_somewhere(path: &Path) -> bool {
    match local::connect(path, LocalKind::Stream) {
        Ok(_) => true,
        // A full queue belongs to a listening socket, too.
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// One level, such as `/run/lb`, which a boot leaves empty. A failure shows when the socket is bound.
fn make_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        match fs::DirBuilder::new().mode(0o750).create(folder) {
            Ok(()) | Err(_) => {}
        }
    }
}

fn advice(path: &Path, error: &std::io::Error) -> String {
    let folder = path.parent().map(display_path).unwrap_or_default();
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

const BACKLOG: i32 = 128;
/// The lock of the directory is held for some system calls only.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// For answers that are on their way when the process ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
