//! The admin socket: where it is, and what each request does.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixListener;

use super::{Daemon, Start, StartError, shown};
use crate::backend::{self, Backend};
use crate::config::{Config, MAX_WEIGHT};
use crate::control::admin::{self as socket, Answer, Progress, Request, ServerState};
use crate::exit::ExitStatus;

/// A listening admin socket.
pub(super) struct Admin {
    pub(super) path: PathBuf,
    listener: UnixListener,
}

/// Binds the admin socket, for the daemon's own user alone.
pub(super) fn listen(start: &Start, config: &Config) -> Result<Admin, StartError> {
    let path = start
        .socket
        .as_ref()
        .or(config.global.socket.as_ref())
        .unwrap_or(&start.default_socket)
        .clone();
    let fail = |problem: String| StartError::Admin {
        path: shown(&path),
        problem,
    };
    make_room(&path).map_err(fail)?;
    let listener = UnixListener::bind(&path).map_err(|error| fail(advice(&path, &error)))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(|error| fail(error.to_string()))?;
    Ok(Admin { path, listener })
}

/// Removes what a daemon that died has left; refuses when one is alive, since two would share the traffic.
fn make_room(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(
            "is there already and is no socket; choose another path with --socket".to_owned(),
        );
    }
    if UnixStream::connect(path).is_ok() {
        return Err(
            "another lb answers there; stop it first, or give this one its own --socket".to_owned(),
        );
    }
    fs::remove_file(path)
        .map_err(|error| format!("cannot remove the one that a former lb has left: {error}"))
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

/// Answers requests for ever.
pub(super) async fn serve(daemon: Rc<Daemon>, admin: Admin) {
    socket::serve(admin.listener, move |request, progress| {
        let daemon = Rc::clone(&daemon);
        async move { daemon.answer(request, progress).await }
    })
    .await;
}

impl Daemon {
    async fn answer(&self, request: Request, progress: Progress) -> Answer {
        match request {
            Request::Status => Answer::value(&self.report()),
            Request::ServerList => Answer::value(&self.report().backends),
            Request::SetServer {
                backend,
                server,
                state,
            } => self.set_server(&backend, &server, state),
            Request::SetWeight {
                backend,
                server,
                weight,
            } => self.set_weight(&backend, &server, weight),
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
                Some(count) => Answer::done(format!(
                    "backend {backend}: {count} held servers are let go"
                )),
            },
            Request::Upgrade { .. } => {
                Answer::failed(ExitStatus::Failed, "this daemon cannot be upgraded")
            }
        }
    }

    fn set_server(&self, backend: &str, server: &str, state: ServerState) -> Answer {
        let (backend, found) = match self.find(backend, server) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let admin = match state {
            ServerState::Ready => backend::Admin::Ready,
            ServerState::Drain => backend::Admin::Drain,
            ServerState::Maint => backend::Admin::Maint,
        };
        found.state().admin = admin;
        backend.refresh(Instant::now());
        self.checker.check_now(&found);
        let status = found.state().status();
        tracing::info!(
            "backend {}: server {server} is {status} by the operator",
            backend.name
        );
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
        tracing::info!(
            "backend {}: server {server} has weight {weight} by the operator",
            backend.name
        );
        Answer::done(format!("{}/{server} has weight {weight}", backend.name))
    }

    fn find(
        &self,
        backend: &str,
        server: &str,
    ) -> Result<(Arc<Backend>, Arc<backend::Server>), Answer> {
        let backends = self.backends.borrow();
        let Some(found) = backends.get(backend) else {
            let known: Vec<_> = backends.keys().map(String::as_str).collect();
            return Err(Answer::bad_request(format!(
                "no backend {backend}; there are: {}",
                known.join(", ")
            )));
        };
        let snapshot = found.snapshot();
        let member = snapshot
            .members
            .iter()
            .find(|member| &*member.server.name == server);
        member
            .map(|member| (Arc::clone(found), Arc::clone(&member.server)))
            .ok_or_else(|| {
                let known: Vec<_> = snapshot
                    .members
                    .iter()
                    .map(|member| &*member.server.name)
                    .collect();
                Answer::bad_request(format!(
                    "no server {server} in backend {backend}; there are: {}",
                    known.join(", ")
                ))
            })
    }
}
