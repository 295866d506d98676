//! Process 2, the engine: it serves the traffic of one generation, and ends when its supervisor orders it to.
//!
//! `process` starts it, `startup` prepares it, `run` is its loop. The loop alone changes an [`Engine`], which owns its
//! parts: there is one thread, and no part is shared.

mod admin_place;
mod admin_requests;
mod admin_socket;
mod config_reader;
mod displaced;
mod error;
mod haproxy_sockets;
mod heartbeat;
mod inputs;
pub(crate) mod launch;
mod limits;
mod listeners;
mod names;
mod origin;
mod pools;
pub(crate) mod process;
mod rates;
mod reload;
mod reload_queue;
mod run;
mod sessions;
mod startup;
mod status;
mod stop;
mod stop_state;
mod succession;
mod supervisor_link;
mod upgrade_status;
mod workers;

use tokio::sync::mpsc;

use self::admin_socket::AdminListener;
use self::error::EngineError;
use self::launch::LaunchOptions;
use self::listeners::Listeners;
use self::origin::EngineOrigin;
use self::pools::Pools;
use self::rates::Rates;
use self::reload_queue::ReloadQueue;
use self::stop_state::StopState;
use self::succession::Succession;
use self::supervisor_link::Reports;
use self::upgrade_status::UpgradeStatus;
use self::workers::Workers;
use crate::config::Config;
use crate::log::SessionLog;
use crate::proxy::Notice;
use crate::proxy::context::WorkerResources;
use crate::proxy::limit::Limit;
use crate::sys::resources;

/// An engine with all its parts. Lives on the control thread.
struct Engine {
    launch: LaunchOptions,
    origin: EngineOrigin,
    /// In force.
    config: Config,
    reports: Reports,
    log: SessionLog,
    workers: Workers,
    listeners: Listeners,
    pools: Pools,
    rates: Rates,
    admin: AdminListener,
    succession: Succession,
    upgrade_status: UpgradeStatus,
    reloads: ReloadQueue,
    /// The engine is coming to its end, and nothing is opened any more.
    stopping: Option<StopState>,
    /// GO or PARK is being carried out: the next order waits.
    order_under_way: bool,
}

impl Engine {
    /// An engine that serves nothing yet. `notices` is where the workers report what traffic has found.
    fn new(
        launch: LaunchOptions,
        origin: EngineOrigin,
        reports: Reports,
        config: Config,
        admin: AdminListener,
        notices: mpsc::Sender<Notice>,
    ) -> Result<Self, EngineError> {
        let threads = config.global.threads.unwrap_or_else(resources::cores);
        let limits = limits::of_process(&config, resources::raise_descriptor_limit(), threads);
        let log = SessionLog::start(config.global.log.rate, config.log_places())
            .map_err(EngineError::system("cannot start the log"))?;
        let resources = WorkerResources { log: log.clone(), notices, pipes: limits.pipes };
        let workers =
            Workers::start(threads, &resources).map_err(EngineError::system("cannot start a worker thread"))?;
        Ok(Self {
            listeners: Listeners::new(workers.clone(), reports.clone(), Limit::new(limits.maxconn)),
            pools: Pools::new(workers.clone(), log.clone()),
            rates: Rates::new(threads, limits.pipes),
            succession: Succession::new(workers.clone()),
            upgrade_status: UpgradeStatus::default(),
            reloads: ReloadQueue::default(),
            stopping: None,
            order_under_way: false,
            launch,
            origin,
            config,
            reports,
            log,
            workers,
            admin,
        })
    }
}
