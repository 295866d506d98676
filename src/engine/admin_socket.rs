//! The engine's end of the admin socket: where it is, and when it takes requests.
//!
//! Requests reach the engine's loop over one channel; each carries the way back for its answer.

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use crate::control::admin::{self, Answer, Conversations, ProgressSender, Request};
use crate::engine::admin_place::{AdminClaim, AdminPath, AdminPlaces, NoAdminSocket, display_path, leads_somewhere};
use crate::engine::displaced::Displaced;
use crate::engine::error::EngineError;
use crate::engine::haproxy_sockets::HaproxySockets;
use crate::engine::listeners::inherited::Inherited;
use crate::engine::supervisor_link::Reports;
use crate::exit::ExitStatus;
use crate::handoff::channel::SHARE_VARIABLE;
use crate::handoff::control::{Listener, ListenerKind, Mode};
use crate::sys::{fd, local};

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

/// The admin socket, or the lack of one.
pub(super) struct AdminListener {
    /// `None`: there is none, or it is closed.
    bound: Option<BoundSocket>,
    conversations: Conversations,
    requests: mpsc::UnboundedSender<PendingRequest>,
    /// Accepts, unless another engine does.
    server: Option<JoinHandle<()>>,
    /// The same requests in HAProxy's words.
    pub(super) haproxy: HaproxySockets,
}

/// A socket that listens.
#[derive(Debug)]
struct BoundSocket {
    path: AdminPath,
    socket: OwnedFd,
    cookie: u64,
    /// Of a path that was another program's.
    taken: Option<Displaced>,
}

impl AdminListener {
    /// Where it is, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.bound.as_ref().map(|bound| bound.path.path.as_path())
    }

    /// Takes requests from now on.
    pub(super) fn serve(&mut self) -> Result<(), EngineError> {
        self.haproxy.serve()?;
        let Some(BoundSocket { socket, taken, .. }) = self.bound.as_mut().filter(|_| self.server.is_none()) else {
            return Ok(());
        };
        taken.iter_mut().for_each(Displaced::settle);
        let listener = socket.try_clone().and_then(|socket| UnixListener::from_std(socket.into()));
        let listener = listener.map_err(EngineError::system("cannot listen on the admin socket"))?;
        let (requests, conversations) = (self.requests.clone(), self.conversations.clone());
        self.server = Some(spawn_local(async move {
            let handler = move |request, progress| pass_on(requests.clone(), request, progress);
            match admin::serve(listener, conversations, handler).await {}
        }));
        Ok(())
    }

    /// Makes the socket again if its path was removed or leads elsewhere, or if it could not be made before. To be called
    /// while this engine is the one that serves it.
    pub(super) fn restore(&mut self, places: &AdminPlaces, reports: &Reports) -> Result<(), EngineError> {
        let places = match &self.bound {
            Some(bound) if bound.path.is_intact() => return Ok(()),
            Some(bound) => places.only(&bound.path.path),
            None => places.clone(),
        };
        let bound = match bind(&places, reports, false)? {
            Ok(bound) => bound,
            Err(refusal) => {
                warn(&places, &refusal);
                return Ok(());
            }
        };
        tracing::warn!("admin socket made again: {}", display_path(&bound.path.path));
        if let Some(gone) = self.bound.replace(bound) {
            reports.unlisten(gone.cookie)?;
        }
        if let Some(server) = self.server.take() {
            server.abort();
        }
        self.serve()
    }

    /// Takes no more requests; those under way continue. The socket stays.
    pub(super) async fn park(&mut self) {
        self.haproxy.park().await;
        if let Some(server) = self.server.take() {
            server.abort();
            // Cancelled, as intended.
            server.await.ok();
        }
    }

    /// Takes no more requests, and removes the path, so that the next process can bind it. While another engine has the
    /// socket, or may have it, the path stays: it leads to that engine, or the next process replaces it as stale.
    pub(super) async fn close(&mut self, upgrading: bool) {
        self.haproxy.close(upgrading);
        let served = self.server.is_some();
        self.park().await;
        if let Some(BoundSocket { path, .. }) = self.bound.take()
            && served
            && !upgrading
            && let Some(id) = path.id
        {
            local::unlink(&path.path, id);
        }
    }

    /// Closes a socket that another engine serves. For an engine that ends.
    pub(super) fn release_if_parked(&mut self) {
        if self.server.is_none() {
            self.bound = None;
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

/// Binds the admin socket, for the engine's own user alone, or takes over the one of the previous engine. Without one, an
/// engine serves all the same, unless it is the first one and its socket has a place that is named or is another's.
pub(super) fn listen(
    places: &AdminPlaces,
    mode: Mode,
    inherited: &mut Inherited,
    reports: &Reports,
    requests: mpsc::UnboundedSender<PendingRequest>,
) -> Result<AdminListener, EngineError> {
    let bound = match inherit(places, inherited) {
        Some(bound) => Ok(bound),
        None => bind(places, reports, env::var_os(SHARE_VARIABLE).is_some())?,
    };
    let bound = match bound {
        Ok(bound) => Some(bound),
        Err(refusal) if mode == Mode::Fresh && (places.is_named() || refusal.answered) => {
            return Err(EngineError::Admin { path: refusal.path, problem: refusal.problem });
        }
        Err(refusal) => {
            warn(places, &refusal);
            None
        }
    };
    let asked = requests.clone();
    let haproxy = HaproxySockets::new(Box::new(move |request| {
        Box::pin(pass_on(asked.clone(), request, ProgressSender::silent()))
    }));
    Ok(AdminListener { bound, conversations: Conversations::default(), requests, server: None, haproxy })
}

/// The socket of the previous engine. In another container its path may lead elsewhere: then it is left to that engine.
fn inherit(places: &AdminPlaces, inherited: &mut Inherited) -> Option<BoundSocket> {
    places.paths().iter().filter(|path| leads_somewhere(path)).find_map(|path| {
        let held = inherited.admin(&display_path(path))?;
        Some(BoundSocket {
            path: AdminPath::new(path.clone()),
            socket: held.socket,
            cookie: held.listener.cookie,
            taken: None,
        })
    })
}

/// Binds a new socket, of which the supervisor keeps a duplicate. `beside` as in [`AdminPlaces::claim`]; the variable
/// for that stays in the environment of the engine, so that only the first start looks at it.
fn bind(
    places: &AdminPlaces,
    reports: &Reports,
    beside: bool,
) -> Result<Result<BoundSocket, NoAdminSocket>, EngineError> {
    let AdminClaim { path, socket, taken } = match places.claim(beside) {
        Ok(claimed) => claimed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let cookie = fd::cookie(socket.as_fd()).map_err(EngineError::system("cannot look at the admin socket"))?;
    let address = display_path(&path);
    let (kind, frontend) = (ListenerKind::Admin, String::new());
    reports.listener(&Listener { kind, frontend, bind: address.clone(), worker: 0, address, cookie }, &socket)?;
    Ok(Ok(BoundSocket { path: AdminPath::new(path), socket, cookie, taken }))
}

fn warn(places: &AdminPlaces, NoAdminSocket { path, problem, .. }: &NoAdminSocket) {
    if matches!(places, AdminPlaces::Nowhere) {
        return;
    }
    tracing::warn!(
        "no admin socket: {path}: {problem}. Traffic is served, but `lb status`, `lb server`, `lb reload` and \
         `lb upgrade` do not reach this daemon; HUP, once a place is free, makes the socket"
    );
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

/// For answers that are on their way when the process ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
