//! The sockets where HAProxy's commands are answered: bound, kept and given back as the listeners of a frontend are, and
//! served when the admin socket is.
//!
//! The supervisor keeps a duplicate of each, under a name that no frontend can have, so that no tool is refused while an
//! engine is replaced. A supervisor that knows nothing of them treats them as listeners of a frontend that is gone.

use std::fs;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, spawn_local};

use crate::config::{self, Bind, BindEntry, Config, HaproxySocket};
use crate::control::haproxy_api::{ApiListener, Asks, HaproxyApi, SocketRole};
use crate::engine::error::EngineError;
use crate::engine::listeners::bind::{Bound, BoundOrigin};
use crate::engine::listeners::inherited::Inherited;
use crate::engine::listeners::listener_error::ListenerError;
use crate::engine::supervisor_link::Reports;
use crate::proxy::worker::ListenerId;

/// All of them. Lives on the control thread.
pub(super) struct HaproxySockets {
    api: HaproxyApi,
    sockets: Vec<ServedSocket>,
    /// Clients are accepted.
    serving: bool,
}

/// Sockets that a new configuration needs and the running one has not.
pub(super) struct NewSockets(Vec<(HaproxySocket, Bound)>);

struct ServedSocket {
    settings: HaproxySocket,
    bound: Bound,
    server: Option<JoinHandle<()>>,
}

impl HaproxySockets {
    /// `asks`: how commands become requests.
    pub(super) fn new(asks: Asks) -> Self {
        Self { api: HaproxyApi::new(asks), sockets: Vec::new(), serving: false }
    }

    /// Binds what is new, and returns what could not be bound with it. Nothing that runs is touched. `patience` and `beside`
    /// as for listeners of frontends.
    pub(super) fn bind_new(
        &mut self,
        config: &Config,
        inherited: &mut Inherited,
        patience: Duration,
        beside: bool,
    ) -> (NewSockets, Option<ListenerError>) {
        let (mut new, mut failed) = (Vec::new(), None);
        for wanted in &config.global.haproxy_sockets {
            let have = self.sockets.iter().find(|have| have.settings.bind == wanted.bind);
            if have.is_some_and(|have| have.bound.is_found()) {
                continue;
            }
            match bind(wanted, inherited, patience, beside) {
                Ok(bound) => new.push((wanted.clone(), bound)),
                // Its path was removed, and stays so for now.
                Err(error) if have.is_some() => tracing::warn!("{error}"),
                Err(error) => failed = Some(error),
            }
        }
        (NewSockets(new), failed)
    }

    /// Shows new sockets to the supervisor, serves them if it is time, and gives back those that the configuration does not
    /// have any more. Changed levels, modes and owners hold from now on.
    pub(super) fn apply(&mut self, config: &Config, new: NewSockets, reports: &Reports) -> Result<(), EngineError> {
        let wanted = &config.global.haproxy_sockets;
        let leaves = |socket: &mut ServedSocket| {
            let stays = wanted.iter().find(|wanted| wanted.bind == socket.settings.bind);
            let again = new.0.iter().any(|(settings, _)| settings.bind == socket.settings.bind);
            match stays.filter(|_| !again) {
                Some(wanted) => {
                    socket.change(wanted);
                    false
                }
                None => true,
            }
        };
        let leaving: Vec<_> = self.sockets.extract_if(.., leaves).collect();
        for socket in leaving {
            socket.give_back(reports);
        }
        for (settings, bound) in new.0 {
            for (listener, socket) in bound.described(OWNER) {
                reports.listener(&listener, socket)?;
            }
            tracing::info!("haproxy_socket: listening on {}, level {}", bound.shown(), settings.level);
            self.sockets.push(ServedSocket { settings, bound, server: None });
        }
        let order = |socket: &ServedSocket| wanted.iter().position(|wanted| wanted.bind == socket.settings.bind);
        self.sockets.sort_by_key(order);
        let places = self.sockets.iter().map(|socket| (socket.place(), socket.settings.level));
        self.api.configure(places.collect(), config.global.haproxy_socket_timeout);
        if self.serving { self.serve() } else { Ok(()) }
    }

    /// Accepts clients from now on.
    pub(super) fn serve(&mut self) -> Result<(), EngineError> {
        self.serving = true;
        for socket in &mut self.sockets {
            socket.serve(&self.api)?;
        }
        Ok(())
    }

    /// Accepts no more; clients that are there are answered on. The sockets stay.
    pub(super) async fn park(&mut self) {
        self.serving = false;
        for socket in &mut self.sockets {
            if let Some(server) = socket.server.take() {
                server.abort();
                // Cancelled, as intended.
                server.await.ok();
            }
        }
    }

    /// The supervisor is gone: the paths are given back, unless another engine has the sockets or may have them.
    pub(super) fn close(&mut self, upgrading: bool) {
        for socket in mem::take(&mut self.sockets) {
            let served = socket.server.is_some();
            if let Some(server) = socket.server {
                server.abort();
            }
            if served && !upgrading {
                socket.bound.unpublish();
            }
        }
    }
}

impl ServedSocket {
    fn serve(&mut self, api: &HaproxyApi) -> Result<(), EngineError> {
        let Some(slot) = self.bound.sockets.first().filter(|_| self.server.is_none()) else {
            return Ok(());
        };
        let listener = slot.socket.try_clone().and_then(|socket| listener(socket, &self.settings.bind));
        let listener = listener.map_err(EngineError::system("cannot listen on haproxy_socket"))?;
        let (api, role) = (api.clone(), SocketRole { level: self.settings.level, master: false });
        self.server = Some(spawn_local(async move { match api.serve(listener, role).await {} }));
        self.bound.settle();
        Ok(())
    }

    /// The same place with other settings. Clients that are there keep their level.
    fn change(&mut self, wanted: &HaproxySocket) {
        if self.settings == *wanted {
            return;
        }
        self.settings = wanted.clone();
        self.bound.gate.change(entry(wanted));
        if let Err(error) = self.bound.listen(&owner()) {
            tracing::warn!("{error}");
        }
        // Served anew with the level that holds now.
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }

    fn give_back(self, reports: &Reports) {
        if let Some(server) = self.server {
            server.abort();
        }
        self.bound.unpublish();
        for slot in &self.bound.sockets {
            if let Err(error) = reports.unlisten(slot.cookie) {
                tracing::debug!("{error}");
            }
        }
        tracing::info!("haproxy_socket: no longer listening on {}", self.bound.shown());
    }

    /// As `show cli sockets` has it.
    fn place(&self) -> String {
        let shown = self.bound.shown();
        match &self.settings.bind {
            Bind::Address(addr) if addr.is_ipv4() => format!("ipv4@{shown}"),
            Bind::Address(_) => format!("ipv6@{shown}"),
            _ => shown,
        }
    }
}

fn bind(
    wanted: &HaproxySocket,
    inherited: &mut Inherited,
    patience: Duration,
    beside: bool,
) -> Result<Bound, ListenerError> {
    let (owner, entry) = (owner(), entry(wanted));
    if let Some(folder) = entry.unix_path().and_then(|path| path.parent()) {
        // One level, such as `/run/haproxy`, which a boot leaves empty. A failure shows when the socket is bound.
        match fs::DirBuilder::new().mode(0o755).create(folder) {
            Ok(()) | Err(_) => {}
        }
    }
    // What this engine itself has there was removed, and is made anew.
    let origin = BoundOrigin { inherited: inherited.traffic(OWNER, &entry), own: beside, patience };
    let mut bound = Bound::new(&owner, &entry, origin, 1, || ListenerId(0))?;
    bound.listen(&owner)?;
    bound.publish(&owner, beside)?;
    Ok(bound)
}

fn listener(socket: OwnedFd, bind: &Bind) -> std::io::Result<ApiListener> {
    match bind {
        Bind::Address(_) => TcpListener::from_std(socket.into()).map(ApiListener::Tcp),
        _ => UnixListener::from_std(socket.into()).map(ApiListener::Unix),
    }
}

fn entry(socket: &HaproxySocket) -> BindEntry {
    BindEntry { access: socket.access.clone(), ..BindEntry::new(socket.bind.clone()) }
}

/// Stands where a frontend does for a listener of traffic.
fn owner() -> config::Frontend {
    config::Frontend::new("", Vec::new(), "")
}

/// No name of a frontend has a blank.
const OWNER: &str = "haproxy socket";
