//! `Origin`: a server in the test process that misbehaves on purpose. It runs on its own thread, can be stopped (its
//! connections are cut, as when a server is killed) and restarted on the same port, counts connections and requests,
//! and keeps an account of each session.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{oneshot, watch};

use super::client::HANG;
use super::netns::Netns;
use super::outcome::{Ending, Outcome};
use super::port::Port;
use super::proxy_header::{ProxyHeader, read_header};
use super::session::{self, Sessions};
use super::wait::{eventually, settled};

/// How an origin treats a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As the client's `Plan` asks.
    Planned,
    /// Send back every byte; close after the client.
    Echo,
    /// Answer each request with this many bytes.
    Http(usize),
    /// Never read, never write.
    Stall,
    /// RST at once.
    Reset,
    /// FIN at once, nothing read.
    Close,
    /// Send these bytes, then read until the client's FIN.
    SpeakFirst(Vec<u8>),
    /// As `SpeakFirst`, with the address the client connected to.
    SpeakAddress,
}

#[derive(Debug)]
pub(crate) struct Origin {
    place: Place,
    shared: Arc<OriginState>,
    netns: Option<OwnedFd>,
    engine: Option<OriginThread>,
}

#[derive(Debug, Clone)]
enum Place {
    Port(Arc<Port>),
    /// In another network namespace, where the port needs no holder.
    Fixed(SocketAddr),
    Unix(PathBuf),
}

/// The state common to the origin's thread and the test.
#[derive(Debug)]
pub(crate) struct OriginState {
    pub(crate) behaviour: Behaviour,
    proxied: bool,
    connections: AtomicU64,
    open: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) http_status: AtomicU16,
    pub(crate) sessions: Sessions,
    headers: Mutex<Vec<ProxyHeader>>,
    pub(crate) released: watch::Sender<bool>,
}

#[derive(Debug)]
struct OriginThread {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Origin {
    /// On a free port of 127.0.0.1.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_at(Place::Port(Arc::new(Port::reserve())), behaviour, false, None)
    }

    /// Greets each client with `name`.
    pub(crate) fn named(name: &str) -> Self {
        Self::start(Behaviour::SpeakFirst(name.as_bytes().to_vec()))
    }

    pub(crate) fn start_v6(behaviour: Behaviour) -> Self {
        let port = Port::reserve_at("[::1]:0".parse().unwrap());
        Self::start_at(Place::Port(Arc::new(port)), behaviour, false, None)
    }

    /// At this address of the machine, whose port another origin holds elsewhere.
    pub(crate) fn start_at_address(addr: SocketAddr, behaviour: Behaviour) -> Self {
        Self::start_at(Place::Fixed(addr), behaviour, false, None)
    }

    /// On a free port of this address.
    pub(crate) fn start_on(addr: SocketAddr, behaviour: Behaviour) -> Self {
        Self::start_at(Place::Port(Arc::new(Port::reserve_at(addr))), behaviour, false, None)
    }

    /// On a free port of every address of this machine.
    pub(crate) fn start_everywhere(behaviour: Behaviour) -> Self {
        let port = Port::reserve_at("0.0.0.0:0".parse().unwrap());
        Self::start_at(Place::Port(Arc::new(port)), behaviour, false, None)
    }

    /// A connection begins with a PROXY header, which is recorded.
    pub(crate) fn start_proxied(behaviour: Behaviour) -> Self {
        Self::start_at(Place::Port(Arc::new(Port::reserve())), behaviour, true, None)
    }

    pub(crate) fn start_unix(path: PathBuf, behaviour: Behaviour) -> Self {
        Self::start_at(Place::Unix(path), behaviour, false, None)
    }

    /// At the far end of `netns`.
    pub(crate) fn start_in(netns: &Netns, behaviour: Behaviour) -> Self {
        let addr = SocketAddr::from((netns.far(), 9000));
        Self::start_at(Place::Fixed(addr), behaviour, false, Some(netns.descriptor()))
    }

    /// A port that refuses; `restart` makes it serve.
    pub(crate) fn stopped(behaviour: Behaviour) -> Self {
        let mut origin = Self::start(behaviour);
        origin.stop();
        origin
    }

    fn start_at(place: Place, behaviour: Behaviour, proxied: bool, netns: Option<OwnedFd>) -> Self {
        let shared = OriginState {
            behaviour,
            proxied,
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            http_status: AtomicU16::new(200),
            sessions: Sessions::default(),
            headers: Mutex::new(Vec::new()),
            released: watch::Sender::new(false),
        };
        let mut origin = Self { place, shared: Arc::new(shared), netns, engine: None };
        origin.restart();
        origin
    }

    /// Serves (again) at the same address. No effect when it already serves.
    pub(crate) fn restart(&mut self) {
        if self.engine.is_some() {
            return;
        }
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let place = self.place.clone();
        let shared = self.shared.clone();
        let netns = self.netns.as_ref().map(|fd| fd.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            if let Some(netns) = netns {
                setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&place);
                ready.send(()).unwrap();
                tokio::select! {
                    () = listener.serve(shared) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("the origin's thread listens");
        self.engine = Some(OriginThread { stop, thread });
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) fn stop(&mut self) {
        if let Some(OriginThread { stop, thread }) = self.engine.take() {
            drop(stop);
            thread.join().unwrap();
            self.shared.open.store(0, Ordering::Relaxed);
        }
    }

    /// As written in a configuration.
    pub(crate) fn server(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix@{}", path.display()),
            _ => self.addr().to_string(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match &self.place {
            Place::Port(port) => port.addr(),
            Place::Fixed(addr) => *addr,
            Place::Unix(_) => panic!("a unix socket has no address"),
        }
    }

    pub(crate) fn echoes(&self) -> bool {
        self.shared.behaviour == Behaviour::Echo
    }

    /// Connections accepted since the beginning, health checks included.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Requests answered by `Behaviour::Http`.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What `Behaviour::Http` answers from now on.
    pub(crate) fn set_http_status(&self, status: u16) {
        self.shared.http_status.store(status, Ordering::Relaxed);
    }

    /// Lets sessions with `Pace::ServerStalls` read.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// The PROXY headers seen so far.
    pub(crate) fn proxy_headers(&self) -> Vec<ProxyHeader> {
        self.shared.headers.lock().unwrap().clone()
    }

    /// Waits until the origin has begun to send in the session `seed` and can send no more; returns the number of bytes
    /// sent.
    #[track_caller]
    pub(crate) fn wait_until_stuck(&self, seed: u64) -> u64 {
        eventually(HANG, "a first byte sent", || (self.shared.sessions.sent(seed) > 0).then_some(()));
        settled(HANG, Duration::from_millis(200), || self.shared.sessions.sent(seed))
    }

    /// The origin's account of the session `seed`, once it is over.
    #[track_caller]
    pub(crate) fn outcome(&self, seed: u64) -> Outcome {
        let what = format!("the origin's end of session {seed}");
        eventually(HANG, &what, || self.shared.sessions.outcome(seed))
    }

    /// Whether the origin saw the session `seed` and what ended it, without waiting.
    pub(crate) fn ending(&self, seed: u64) -> Option<Ending> {
        self.shared.sessions.outcome(seed).map(|outcome| outcome.ending)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
        if let Place::Unix(path) = &self.place {
            drop(std::fs::remove_file(path));
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(place: &Place) -> Self {
        let addr = match place {
            Place::Unix(path) => {
                drop(std::fs::remove_file(path));
                return Self::Unix(UnixListener::bind(path).unwrap());
            }
            Place::Port(port) => port.addr(),
            Place::Fixed(addr) => *addr,
        };
        let socket = match addr {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        }
        .unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(addr).unwrap();
        Self::Tcp(socket.listen(4096).unwrap())
    }

    async fn serve(self, shared: Arc<OriginState>) {
        loop {
            match &self {
                Self::Tcp(listener) => {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    shared.clone().spawn(stream);
                }
                Self::Unix(listener) => shared.clone().spawn(listener.accept().await.unwrap().0),
            }
        }
    }
}

impl OriginState {
    fn spawn(self: Arc<Self>, mut stream: impl session::Stream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            if self.proxied {
                match read_header(&mut stream).await {
                    Ok(header) => self.headers.lock().unwrap().push(header),
                    Err(_) => {
                        self.open.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
            session::serve(stream, &self).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
