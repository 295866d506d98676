//! Applying a configuration, at the start and at each reload: prepare everything that can fail, then commit what cannot.
//!
//! A reload waits three times, for the file, for the addresses of names and for the queues of listeners that it closes; in
//! between it happens at once.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{BindEntry, Config, SocketPlace, counted};
use crate::control::admin::Answer;
use crate::control::state_file;
use crate::engine::admin_place::{AdminPlaces, display_path};
use crate::engine::error::EngineError;
use crate::engine::haproxy_sockets::NewSockets;
use crate::engine::inputs::{Jobs, LoopEvent, ReloadStep};
use crate::engine::launch::ConfigSource;
use crate::engine::listeners::inherited::Inherited;
use crate::engine::listeners::{LeavingListeners, NewlyBound};
use crate::engine::reload_queue::ReloadAsker;
use crate::engine::stop_state::stop_limit;
use crate::engine::{Engine, limits, names};
use crate::exit::ExitStatus;
use crate::handoff::channel::SHARE_VARIABLE;
use crate::handoff::control::Mode;
use crate::sys::resources;

/// Applies the first configuration, on listeners that the previous engine has left, where it has. Nothing is accepted
/// yet. `patience`: how long an address that another process is about to leave is waited for.
pub(super) fn apply_first(
    engine: &mut Engine,
    config: Config,
    inherited: &mut Inherited,
    patience: Duration,
) -> Result<(), EngineError> {
    let prepared = match env::var_os(SHARE_VARIABLE) {
        None => engine.listeners.bind_new(&config, inherited, patience, false)?,
        Some(_) => engine.listeners.bind_new(&sharing(&config), inherited, patience, true)?,
    };
    let fresh = engine.origin.mode == Mode::Fresh;
    let sockets = engine.admin.haproxy.bind_new(&config, inherited, patience, env::var_os(SHARE_VARIABLE).is_some());
    let sockets = match sockets {
        // At the first start a socket that cannot be had is refused. Later an engine serves without it, rather than not at all.
        (_, Some(error)) if fresh => return Err(error.into()),
        (sockets, error) => {
            error.iter().for_each(|error| tracing::warn!("{error}"));
            sockets
        }
    };
    // No frontend runs yet that could leave an address.
    commit(engine, config, prepared, sockets).map(drop)
}

/// Beside another program, which ends once this one serves.
fn sharing(config: &Config) -> Config {
    let mut config = config.clone();
    config.frontends.iter_mut().for_each(|frontend| frontend.reuse_port = true);
    config
}

/// Reloads, now or when the reloads asked for before are over.
pub(super) fn ask(engine: &mut Engine, jobs: &mut Jobs, asker: ReloadAsker) {
    engine.reloads.push(asker);
    begin_next(engine, jobs);
}

/// Continues the reload under way.
pub(super) fn advance(engine: &mut Engine, jobs: &mut Jobs, step: ReloadStep) {
    match step {
        ReloadStep::Read { asker, .. } | ReloadStep::NamesFound { asker, .. } if engine.upgrade_status.is_running() => {
            postpone(engine, asker);
        }
        ReloadStep::Read { asker, config } => match config.and_then(|config| guarded(|| named(engine, config))) {
            Ok((config, looked_up)) => {
                let found = async {
                    timeout(NEW_NAMES, looked_up).await.ok();
                    LoopEvent::Reload(ReloadStep::NamesFound { asker, config })
                };
                return jobs.start_apart(found, LoopEvent::Reload(ReloadStep::Failed));
            }
            Err(why) => finish(engine, asker, Err(why)),
        },
        ReloadStep::NamesFound { asker, config } => match guarded(|| apply(engine, *config)) {
            Ok((done, leaving)) => {
                let warnings = engine.pools.report_unusable();
                if let ReloadAsker::Client { progress, .. } = &asker {
                    warnings.iter().for_each(|warning| progress.say(format!("warning: {warning}")));
                }
                let retired = engine.listeners.retire(leaving);
                let retired = async {
                    retired.await;
                    LoopEvent::Reload(ReloadStep::Retired { asker, done })
                };
                jobs.start_apart(retired, LoopEvent::Reload(ReloadStep::Failed));
                return;
            }
            Err(why) => finish(engine, asker, Err(why)),
        },
        ReloadStep::Retired { asker, done } => finish(engine, asker, Ok(done)),
        ReloadStep::Failed => over(engine),
    }
    begin_next(engine, jobs);
}

/// Begins the next reload, unless an upgrade runs: the two engines would follow different files.
pub(super) fn begin_next(engine: &mut Engine, jobs: &mut Jobs) {
    if engine.upgrade_status.is_running() {
        return;
    }
    if let Some(asker) = engine.reloads.begin() {
        report(engine, "reloading", true);
        let config = engine.reloads.reader.read(&engine.launch.source);
        let read = async { LoopEvent::Reload(ReloadStep::Read { asker, config: config.await }) };
        jobs.start_apart(read, LoopEvent::Reload(ReloadStep::Failed));
    }
}

/// An upgrade has begun meanwhile. The new engine reads the file by itself; if it fails, this one does so then.
fn postpone(engine: &mut Engine, asker: ReloadAsker) {
    match asker {
        ReloadAsker::Client { .. } => finish(engine, asker, Err("an upgrade has begun meanwhile".to_owned())),
        ReloadAsker::Signal => {
            over(engine);
            engine.reloads.push(asker);
        }
    }
}

/// Follows the names of a configuration too. Returns what completes once the new ones were looked up.
fn named(engine: &mut Engine, config: Box<Config>) -> Result<(Box<Config>, impl Future<Output = ()> + use<>), String> {
    let looked_up = engine.pools.follow_names(&engine.config, Some(&config));
    Ok((config, looked_up))
}

/// A panic fails the reload and nothing else: a bug in reading a file must not end the sessions.
fn guarded<T>(stretch: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(stretch))
        .unwrap_or_else(|_| Err("a bug of lb: it panicked, and stderr has the place".to_owned()))
}

/// Applies a configuration as a whole, or not at all. Returns the outcome for people, and the addresses that are left.
fn apply(engine: &mut Engine, config: Config) -> Result<(String, LeavingListeners), String> {
    engine.pools.learn(&engine.config);
    if engine.stopping.is_some() {
        return Err("the daemon is stopping".to_owned());
    }
    if config.global.state_dir != engine.config.global.state_dir
        && let Some(state_dir) = &config.global.state_dir
    {
        state_file::prepare(state_dir).map_err(|error| format!("state_dir: {error}"))?;
    }
    let none = &mut Inherited::default();
    let prepared =
        engine.listeners.bind_new(&config, none, Duration::ZERO, false).map_err(|error| error.to_string())?;
    let sockets = match engine.admin.haproxy.bind_new(&config, none, Duration::ZERO, false) {
        (_, Some(error)) => return Err(error.to_string()),
        (sockets, None) => sockets,
    };
    engine.pools.follow(&config, BTreeMap::new());
    for note in fixed_settings(engine, &config) {
        tracing::warn!("{note}");
    }
    let (frontends, backends) = (config.frontends.len(), config.backends.len());
    let done = format!("reloaded: {}, {}", counted(frontends, "frontend"), counted(backends, "backend"));
    let leaving = commit(engine, config, prepared, sockets).map_err(|error| error.to_string())?;
    Ok((done, leaving))
}

/// From here on nothing is refused; what still goes wrong is reported and left out. Returns the addresses that are left.
fn commit(
    engine: &mut Engine,
    config: Config,
    prepared: NewlyBound,
    sockets: NewSockets,
) -> Result<LeavingListeners, EngineError> {
    let Engine { listeners, pools, .. } = &mut *engine;
    pools.look_for_circles(&config, Some(listeners.entrances(&config, &prepared)), |_| true);
    for settings in &config.backends {
        pools.apply(settings.clone())?;
    }
    let mut leaving = Vec::new();
    for settings in &config.frontends {
        // The configuration was checked: the backend exists.
        if let Some(backend) = pools.get(&settings.backend) {
            leaving.extend(listeners.configure(settings, backend));
        }
    }
    listeners.open(prepared)?;
    engine.admin.haproxy.apply(&config, sockets, &engine.reports)?;
    let Engine { listeners, pools, log, workers, .. } = engine;
    leaving.extend(listeners.remove_unconfigured(&config));
    pools.remove_unconfigured(&config);
    log.change(config.global.log.rate, config.log_places());
    listeners
        .limit()
        .set_max(limits::of_process(&config, resources::raise_descriptor_limit(), workers.count()).maxconn);
    engine.config = config;
    Ok(leaving)
}

fn finish(engine: &mut Engine, asker: ReloadAsker, outcome: Result<String, String>) {
    over(engine);
    restore_admin_socket(engine);
    let refused = |why| format!("reload refused, the running configuration stays:\n{why}");
    match (asker, outcome) {
        (ReloadAsker::Client { reply, .. }, Ok(done)) => reply.send(Answer::done(done)),
        (ReloadAsker::Client { reply, .. }, Err(why)) => reply.send(Answer::failed(ExitStatus::BadInput, refused(why))),
        (ReloadAsker::Signal, Ok(done)) => tracing::info!("{done}"),
        (ReloadAsker::Signal, Err(why)) => tracing::error!("{}", refused(why)),
    }
}

/// An admin socket that was removed cannot be asked to reload, but HUP can.
fn restore_admin_socket(engine: &mut Engine) {
    let places = AdminPlaces::of(&engine.launch, &engine.config);
    if engine.stopping.is_none()
        && !engine.upgrade_status.is_running()
        && let Err(error) = engine.admin.restore(&places, &engine.reports)
    {
        tracing::error!("admin socket: {error}");
    }
}

/// The reload under way is over, whatever became of it.
fn over(engine: &mut Engine) {
    engine.reloads.end();
    // Of two configurations one is in force, and only its names count.
    drop(engine.pools.follow_names(&engine.config, None));
    names::report(engine);
    report(engine, "serving", false);
}

fn report(engine: &Engine, status: &str, reloading: bool) {
    let (stop_limit, watchdog) = (stop_limit(&engine.config), engine.config.global.watchdog);
    if let Err(error) = engine.reports.status(status, reloading, Some(stop_limit), Some(watchdog)) {
        tracing::debug!("{error}");
    }
}

/// What a reload cannot change in a running process.
fn fixed_settings(engine: &Engine, config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let (threads, running) = (config.global.threads.unwrap_or_else(resources::cores), engine.workers.count());
    if threads != running {
        notes.push(format!("threads stays {running}: `lb upgrade` starts {threads}"));
    }
    if let ConfigSource::Kept { name, .. } = &engine.launch.source {
        notes.push(format!(
            "{} is as it was at the start: it came through a descriptor, and is not read again",
            name.display()
        ));
    }
    for frontend in &config.frontends {
        let had = engine.listeners.frontend(&frontend.name).map(|frontend| frontend.route().settings.bind.clone());
        let differs = |old: &BindEntry, new: &BindEntry| old.is_at(new) && old.v4v6 != new.v4v6;
        if had.iter().flatten().any(|old| frontend.bind.iter().any(|new| differs(old, new))) {
            notes.push(format!(
                "frontend {}: v4v6 of addresses that are bound already stays as it is until a restart",
                frontend.name
            ));
        }
    }
    notes.extend(moved_socket(engine, &config.global.socket));
    notes
}

fn moved_socket(engine: &Engine, wanted: &SocketPlace) -> Option<String> {
    let stays = engine.admin.path().filter(|_| engine.launch.socket.is_none())?;
    let wish = match wanted {
        SocketPlace::Path(path) if path != stays => format!("move it to {}", display_path(path)),
        SocketPlace::Nowhere => "close it".to_owned(),
        SocketPlace::Path(_) | SocketPlace::Usual => return None,
    };
    Some(format!("the admin socket stays {}: restart to {wish}", display_path(stays)))
}

/// How long a reload waits for names that are new. What is found later is applied then.
const NEW_NAMES: Duration = Duration::from_secs(1);
