//! Composition root: configuration → running daemon. The only place that starts long-lived tasks and threads, and the
//! only one that knows both the data plane and the control plane.

mod admin_requests;
mod limits;
mod listeners;
mod pools;
mod reload;
mod run;
mod status;
mod stop;
mod succession;
mod supervisor_link;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

use self::admin_requests::Admin;
use self::listeners::bind::Bound;
use self::run::Ears;
use self::succession::{Export, Import};
use crate::backend::Backend;
use crate::backend::health::Transition;
use crate::config::{self, Config, Problems};
use crate::control::checker::{Checker, OnChange, Seen};
use crate::control::resolver::{FOLLOW, Resolver};
use crate::engine::succession::peer_link::PeerLinkError;
use crate::engine::supervisor_link::{Beginning, LinkError, Reports};
use crate::exit::ExitStatus;
use crate::fault;
use crate::handoff::control::{Mode, Progress, UpgradePhase};
use crate::handoff::features::announcement;
use crate::log::{By, SessionLog};
use crate::proxy::frontend::Frontend;
use crate::proxy::limit::Limit;
use crate::proxy::worker::{SessionFilter, Worker, WorkerResources};
use crate::proxy::{Finding, Notice};
use crate::sys::{process, resources};

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(PathBuf),
    /// `--bind` and `--server`: one frontend and one backend.
    Flags {
        binds: Vec<String>,
        servers: Vec<String>,
    },
}

/// What `lb run` was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub source: Source,
    /// Admin socket given on the command line; goes before the configuration's.
    pub socket: Option<PathBuf>,
    /// Admin socket when nobody names one.
    pub default_socket: PathBuf,
}

impl Source {
    /// Reads the configuration as it is now.
    pub(crate) fn read(&self) -> Result<Config, Problems> {
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
    Bind(#[from] listeners::bind::BindError),
    #[error("admin socket {path}: {problem}")]
    Admin { path: String, problem: String },
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
    #[error("backend {name}: {error}")]
    Servers { name: String, error: crate::backend::TooManyServers },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("hand-off: {0}")]
    Handoff(#[from] PeerLinkError),
    #[error("an engine is started by `lb run`, not by hand")]
    Alone,
    #[error("a worker thread does not answer")]
    Hangs,
    #[error("a worker thread has ended")]
    WorkerLost,
    #[error("the supervisor ended this engine: {0}")]
    Aborted(String),
}

impl StartError {
    fn admin_lost(error: io::Error) -> Self {
        Self::System { what: "cannot listen on the admin socket", error }
    }
}

/// Runs the engine until its supervisor tells it to stop.
pub(crate) fn run(start: Start) -> ExitStatus {
    init_words();
    let config = match start.source.read() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitStatus::BadInput;
        }
    };
    // A terminal and some service managers signal every process of the group. Orders come from the supervisor.
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    let blocked = signals.into_iter().collect::<SigSet>().thread_block();
    resources::reserve_descriptors();
    let system = |what| move |error| StartError::System { what, error };
    let outcome = blocked
        .map_err(io::Error::from)
        .and_then(|()| process::set_name(c"lb"))
        .and_then(|()| Builder::new_current_thread().enable_all().build_local(LocalOptions::default()))
        .map_err(system("cannot start the control thread"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(live(start, config));
            // A look-up of a name may still be under way in the C library, for half a minute: the end must not wait.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitStatus::Done,
        Err(error) => {
            eprintln!("lb: {error}");
            ExitStatus::Failed
        }
    }
}

/// What a new binary is asked before it becomes an engine: whether it accepts the configuration, and what it speaks.
pub(crate) fn probe(source: &Source) -> ExitStatus {
    fault::point("engine.probe");
    match source.read() {
        Ok(_) => {
            println!("{}", announcement());
            ExitStatus::Done
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitStatus::BadInput
        }
    }
}

/// The running daemon. Lives on the control thread.
pub(crate) struct Engine {
    start: Start,
    /// What the supervisor said at the start.
    origin: Origin,
    reports: Reports,
    started: Instant,
    config: RefCell<Config>,
    workers: Rc<Vec<Worker>>,
    frontends: RefCell<BTreeMap<String, Served>>,
    backends: RefCell<BTreeMap<String, Arc<Backend>>>,
    global: Arc<Limit>,
    log: SessionLog,
    checker: Checker,
    resolver: Resolver,
    discovery: pools::followers::Discovery,
    next_listener: Cell<u64>,
    /// Connections are accepted.
    serving: Cell<bool>,
    /// The end has begun: nothing is opened any more.
    stopping: Cell<bool>,
    moving: Cell<succession::Moving>,
    /// Held by the one reload that is under way: of two, the one asked for last must win.
    reloading: tokio::sync::Mutex<()>,
    socket: PathBuf,
    phase: Cell<UpgradePhase>,
    phase_since: Cell<Instant>,
    next_request: Cell<u64>,
    /// A worker thread has ended, which only a bug does.
    worker_lost: Notify,
    /// Who waits for the outcome of an upgrade.
    upgrades: RefCell<HashMap<u64, mpsc::UnboundedSender<Progress>>>,
    /// In an upgrade away from this engine: what the new one has been told.
    export: RefCell<Option<Export>>,
    /// In an upgrade to this engine: where sessions will come from.
    import: RefCell<Option<Import>>,
    ghosts: RefCell<Ghosts>,
}

/// Stand-ins for names that only sessions of the engine before still know.
#[derive(Debug, Default)]
struct Ghosts {
    frontends: HashMap<String, Arc<Frontend>>,
    backends: HashMap<String, Arc<Backend>>,
}

/// Where this engine stands in the life of the daemon.
#[derive(Debug, Clone, Copy)]
struct Origin {
    mode: Mode,
    supervisor: u32,
    generation: u64,
    /// Of the daemon when this engine started.
    uptime: Duration,
}

/// A frontend and its listening sockets.
struct Served {
    frontend: Arc<Frontend>,
    bound: Vec<Bound>,
}

async fn live(start: Start, config: Config) -> Result<(), StartError> {
    fault::point("engine.start");
    let (mut orders, reports) = supervisor_link::attach()?.ok_or(StartError::Alone)?;
    let beginning = orders.begin().await?;
    let upgrade = beginning.mode == Mode::Upgrade;
    let prepared = prepare(start, config, beginning, &reports).await;
    let (daemon, admin, heard) = prepared.inspect_err(|error| {
        // Whoever asked for the upgrade is to read it; otherwise it is on stderr.
        if upgrade && let Err(lost) = reports.abort(error.to_string()) {
            tracing::debug!("{lost}");
        }
    })?;
    let ears = Ears { orders, heard, admin };
    run::follow(&daemon, ears).await
}

/// Everything that can fail, before anything is accepted.
async fn prepare(
    start: Start,
    config: Config,
    beginning: Beginning,
    reports: &Reports,
) -> Result<(Rc<Engine>, Admin, mpsc::Receiver<Notice>), StartError> {
    let origin = Origin {
        mode: beginning.mode,
        supervisor: beginning.supervisor,
        generation: beginning.generation,
        uptime: beginning.uptime,
    };
    let mut inherited = beginning.inherited;
    let admin = admin_requests::listen(&start, &config, &mut inherited, reports)?;
    let (notices, heard) = mpsc::channel(NOTICES);
    let daemon = Engine::new(start, origin, reports.clone(), &config, admin.path.clone(), notices)?;
    if beginning.peer.is_none() {
        daemon.start_discovery(&config, BTreeMap::new());
    }
    daemon.begin(config, &mut inherited).await?;
    match beginning.peer {
        Some(end) => {
            let import = daemon.import(end).await?;
            *daemon.import.borrow_mut() = Some(import);
        }
        None => daemon.discover().await,
    }
    for held in inherited.left_over() {
        reports.unlisten(held.listener.cookie)?;
    }
    fault::point("engine.prepare");
    let daemon = Rc::new(daemon);
    spawn_local(follow_names(Rc::clone(&daemon)));
    spawn_local(pools::followers::follow(Rc::clone(&daemon)));
    reports.prepared(daemon.listeners())?;
    Ok((daemon, admin, heard))
}

impl Engine {
    fn new(
        start: Start,
        origin: Origin,
        reports: Reports,
        config: &Config,
        socket: PathBuf,
        notices: mpsc::Sender<Notice>,
    ) -> Result<Self, StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let descriptors = resources::raise_descriptor_limit();
        let threads = config.global.threads.unwrap_or_else(resources::cores);
        let pipes = limits::pipes(descriptors, threads);
        let maxconn = limits::maxconn(config, descriptors, threads, pipes);
        let log = SessionLog::start(&config.global.log).map_err(system("cannot start the log"))?;
        let supplies = WorkerResources { log: log.clone(), notices, pipes };
        let workers = (0..threads).map(|index| Worker::start(index, supplies.clone())).collect::<Result<Vec<_>, _>>();
        let workers = Rc::new(workers.map_err(system("cannot start a worker thread"))?);
        Ok(Self {
            start,
            origin,
            reports,
            started: Instant::now(),
            config: RefCell::new(config.clone()),
            frontends: RefCell::default(),
            backends: RefCell::default(),
            global: Arc::new(Limit::new(maxconn)),
            log,
            checker: Checker::new(cut_when_down(Rc::clone(&workers))),
            workers,
            resolver: Resolver::default(),
            discovery: pools::followers::Discovery::default(),
            next_listener: Cell::new(0),
            serving: Cell::new(false),
            stopping: Cell::new(false),
            moving: Cell::default(),
            reloading: tokio::sync::Mutex::default(),
            socket,
            phase: Cell::new(UpgradePhase::Idle),
            phase_since: Cell::new(Instant::now()),
            next_request: Cell::new(1),
            worker_lost: Notify::new(),
            upgrades: RefCell::default(),
            export: RefCell::default(),
            import: RefCell::default(),
            ghosts: RefCell::default(),
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
        if change.transition == Transition::WentDown && backend.snapshot().settings.shutdown_sessions_when_down {
            for worker in workers.iter() {
                worker.cut(SessionFilter::Server(Arc::clone(server)), By::ServerDown, Duration::ZERO);
            }
        }
    })
}

/// Looks host names up again from time to time.
async fn follow_names(daemon: Rc<Engine>) {
    loop {
        tokio::time::sleep(FOLLOW.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        let names = daemon.names(&daemon.config.borrow());
        if daemon.reloading.try_lock().is_ok() {
            daemon.resolver.keep_only(&names);
        }
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

/// Notices that control may be behind.
const NOTICES: usize = 1024;

/// A path as messages show it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
