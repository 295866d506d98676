//! Composition root: configuration → running daemon. The only place that starts long-lived tasks and threads, and the
//! only one that knows both the data plane and the control plane.

mod admin;
mod apply;
mod bind;
mod discover;
mod limits;
mod report;
mod stop;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use self::bind::Bound;
use crate::backend::Backend;
use crate::backend::health::Transition;
use crate::config::{self, Config, Problems};
use crate::control::checker::{Checker, OnChange, Seen};
use crate::control::resolver::{FOLLOW, Resolver};
use crate::exit::ExitStatus;
use crate::log::{By, SessionLog};
use crate::proxy::frontend::Frontend;
use crate::proxy::limit::Limit;
use crate::proxy::worker::{Supplies, Whose, Worker};
use crate::proxy::{Finding, Notice};
use crate::sys::resources;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    /// `--bind` and `--server`: one frontend and one backend.
    Flags {
        binds: Vec<String>,
        servers: Vec<String>,
    },
}

/// What `lb run` was asked to do.
#[derive(Debug, Clone)]
pub struct Start {
    pub source: Source,
    /// Admin socket given on the command line; goes before the configuration's.
    pub socket: Option<PathBuf>,
    /// Admin socket when nobody names one.
    pub default_socket: PathBuf,
}

impl Source {
    /// Reads the configuration as it is now.
    pub fn read(&self) -> Result<Config, Problems> {
        match self {
            Self::File(path) => config::load(path),
            Self::Flags { binds, servers } => config::from_flags(binds, servers),
        }
    }
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Bind(#[from] bind::BindError),
    #[error("admin socket {path}: {problem}")]
    Admin { path: String, problem: String },
    #[error("{what}: {error}")]
    System {
        what: &'static str,
        error: io::Error,
    },
    #[error("backend {name}: {error}")]
    Servers {
        name: String,
        error: crate::backend::TooManyServers,
    },
}

/// Runs the daemon until it is told to stop.
pub fn run(start: Start) -> ExitStatus {
    init_words();
    let config = match start.source.read() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitStatus::BadInput;
        }
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(live(start, config)),
        Err(error) => Err(StartError::System {
            what: "cannot start the control thread",
            error,
        }),
    };
    match outcome {
        Ok(()) => ExitStatus::Done,
        Err(error) => {
            eprintln!("lb: {error}");
            ExitStatus::Failed
        }
    }
}

/// The running daemon. Lives on the control thread.
pub(crate) struct Daemon {
    start: Start,
    started: Instant,
    config: RefCell<Config>,
    workers: Rc<Vec<Worker>>,
    frontends: RefCell<BTreeMap<String, Served>>,
    backends: RefCell<BTreeMap<String, Arc<Backend>>>,
    global: Arc<Limit>,
    log: SessionLog,
    checker: Checker,
    resolver: Resolver,
    discovery: discover::Discovery,
    next_listener: Cell<u64>,
    socket: PathBuf,
}

/// A frontend and its listening sockets.
struct Served {
    frontend: Arc<Frontend>,
    bound: Vec<Bound>,
}

async fn live(start: Start, config: Config) -> Result<(), StartError> {
    // Before anything is opened, so that a signal that comes meanwhile is not lost.
    let mut signals = Signals::catch()?;
    let admin = admin::listen(&start, &config)?;
    let (notices, mut heard) = mpsc::channel(NOTICES);
    let daemon = Rc::new(Daemon::new(
        start,
        config.clone(),
        admin.path.clone(),
        notices,
    )?);
    daemon.begin(config).await?;
    spawn_local(admin::serve(Rc::clone(&daemon), admin));
    spawn_local(follow_names(Rc::clone(&daemon)));
    spawn_local(discover::follow(Rc::clone(&daemon)));
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    tracing::info!("lb {} serves", env!("CARGO_PKG_VERSION"));
    loop {
        tokio::select! {
            Some(notice) = heard.recv() => daemon.hear(notice),
            word = signals.next() => match word {
                Word::Reload => daemon.reload_by_signal().await,
                Word::Stop(patience) => return stop::stop(&daemon, patience, &mut signals, &mut heard).await,
            },
        }
    }
}

impl Daemon {
    fn new(
        start: Start,
        config: Config,
        socket: PathBuf,
        notices: mpsc::Sender<Notice>,
    ) -> Result<Self, StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let descriptors = resources::raise_descriptor_limit();
        let threads = config.global.threads.unwrap_or_else(resources::cores);
        let pipes = limits::pipes(descriptors, threads);
        let maxconn = limits::maxconn(&config, descriptors, threads, pipes);
        let log = SessionLog::start(&config.global.log).map_err(system("cannot start the log"))?;
        let supplies = Supplies {
            log: log.clone(),
            notices,
            pipes,
        };
        let workers = (0..threads)
            .map(|index| Worker::start(index, supplies.clone()))
            .collect::<Result<Vec<_>, _>>();
        let workers = Rc::new(workers.map_err(system("cannot start a worker thread"))?);
        Ok(Self {
            start,
            started: Instant::now(),
            config: RefCell::new(config),
            frontends: RefCell::default(),
            backends: RefCell::default(),
            global: Arc::new(Limit::new(maxconn)),
            log,
            checker: Checker::new(cut_when_down(Rc::clone(&workers))),
            workers,
            resolver: Resolver::default(),
            discovery: discover::Discovery::default(),
            next_listener: Cell::new(0),
            socket,
        })
    }

    /// What live traffic learnt goes to the checks.
    fn hear(&self, notice: Notice) {
        let seen = match notice.finding {
            Finding::Failed { cause, after } => Seen::Failed { cause, after },
            Finding::TimedOut { after } => Seen::TimedOut { after },
            Finding::Slow => Seen::Slow,
        };
        self.checker.observe(&notice.backend, &notice.server, seen);
    }
}

/// Cuts the sessions of a server that went DOWN, where its backend wants that.
fn cut_when_down(workers: Rc<Vec<Worker>>) -> OnChange {
    Rc::new(move |backend, server, change| {
        if change.transition == Transition::WentDown
            && backend.snapshot().settings.shutdown_sessions_when_down
        {
            for worker in workers.iter() {
                worker.cut(
                    Whose::Server(Arc::clone(server)),
                    By::ServerDown,
                    Duration::ZERO,
                );
            }
        }
    })
}

/// Looks host names up again from time to time.
async fn follow_names(daemon: Rc<Daemon>) {
    loop {
        tokio::time::sleep(FOLLOW.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        let names = daemon.names(&daemon.config.borrow());
        if !names.is_empty() && !daemon.resolver.follow(names).await.is_empty() {
            daemon.refresh_servers(|_| true);
        }
    }
}

/// Words for people go to stderr; `LB_LOG` chooses how many (`error` to `trace`).
fn init_words() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LB_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let words = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    // An error: somebody in this process listens already.
    words.try_init().ok();
}

/// Tells the service manager, if there is one.
pub(crate) fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// What a signal asks for.
pub(crate) enum Word {
    Reload,
    /// Drain for so long; `None`: for `hard_stop_after`.
    Stop(Option<Duration>),
}

pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, StartError> {
        let catch = |kind| {
            signal(kind).map_err(|error| StartError::System {
                what: "cannot catch signals",
                error,
            })
        };
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            int: catch(SignalKind::interrupt())?,
            hup: catch(SignalKind::hangup())?,
        })
    }

    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.term.recv() => Word::Stop(None),
            _ = self.int.recv() => Word::Stop(Some(Duration::from_secs(1))),
            _ = self.hup.recv() => Word::Reload,
        }
    }
}

/// Notices that control may be behind.
const NOTICES: usize = 1024;

/// A path as messages show it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
