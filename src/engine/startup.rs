//! From START to PREPARED: everything that can fail, before anything is accepted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::{Config, Loaded};
use crate::control::state_file;
use crate::engine::admin_place::AdminPlaces;
use crate::engine::config_reader::ConfigReader;
use crate::engine::error::EngineError;
use crate::engine::inputs::{Inputs, Jobs};
use crate::engine::launch::LaunchOptions;
use crate::engine::origin::EngineOrigin;
use crate::engine::pools::server_states::StateFiles;
use crate::engine::supervisor_link::{self, Beginning, Orders, Reports};
use crate::engine::{Engine, admin_socket, reload, run};
use crate::fault;
use crate::handoff::control::{Heartbeat, Mode};

/// The whole life of an engine.
pub(super) async fn live(launch: LaunchOptions, loaded: Loaded) -> Result<(), EngineError> {
    fault::point("engine.start");
    let (mut orders, reports) = supervisor_link::attach()?.ok_or(EngineError::Alone)?;
    let beginning = orders.begin().await?;
    let upgrade = beginning.mode == Mode::Upgrade;
    let prepared = prepare(launch, loaded, beginning, orders, &reports).await;
    let (engine, inputs) = prepared.inspect_err(|error| {
        // In an upgrade the supervisor shows it to the client that asked; otherwise it is on stderr.
        if upgrade && let Err(lost) = reports.abort(error.to_string()) {
            tracing::debug!("{lost}");
        }
    })?;
    run::run(engine, inputs).await
}

async fn prepare(
    launch: LaunchOptions,
    loaded: Loaded,
    beginning: Beginning,
    orders: Orders,
    reports: &Reports,
) -> Result<(Engine, Inputs), EngineError> {
    let origin = EngineOrigin {
        mode: beginning.mode,
        supervisor: beginning.supervisor,
        generation: beginning.generation,
        uptime: beginning.uptime,
        started: Instant::now(),
        inherited: Heartbeat { sessions: 0, accepted: 0, served: 0, failed: 0, full: false },
    };
    let config_reader = ConfigReader::default();
    let config = config_reader.settle(loaded, beginning.mode == Mode::Fresh);
    prepare_state_dir(&config, beginning.mode)?;
    let mut inherited = beginning.inherited;
    let (asked, requests) = mpsc::unbounded_channel();
    let (noticed, notices) = mpsc::channel(NOTICES);
    let places = AdminPlaces::of(&launch, &config);
    let admin = admin_socket::listen(&places, beginning.mode, &mut inherited, reports, asked)?;
    let mut engine = Engine::new(launch, origin, reports.clone(), config.clone(), admin, noticed)?;
    engine.reloads.reader = config_reader;
    engine.pools.resume_names(&beginning.names, &config);
    let states = if beginning.peer.is_none() { StateFiles::load(&config) } else { StateFiles::default() };
    if beginning.peer.is_none() {
        engine.pools.resume_places(&states, &config);
        engine.pools.follow(&config, BTreeMap::new());
    }
    let patience = if beginning.mode == Mode::Fresh { PATIENCE } else { Duration::ZERO };
    reload::apply_first(&mut engine, config, &mut inherited, patience)?;
    match beginning.peer {
        Some(end) => {
            engine.succession.heritage.import(end, &engine.config, &engine.listeners, &mut engine.pools).await?
        }
        None => {
            engine.pools.discover(&engine.config).await;
            engine.pools.take_states(&states);
        }
    }
    for held in inherited.left_over() {
        // The admin socket of another program is one of its unix sockets.
        if held.is_handed_down() && !held.listener.bind.starts_with("unix@") {
            tracing::warn!("a socket was handed down ({}), and no frontend binds it: it is closed", held.listener.bind);
        }
        reports.unlisten(held.listener.cookie)?;
    }
    fault::point("engine.prepare");
    reports.prepared(engine.listeners.count())?;
    Ok((engine, Inputs { orders, notices, requests, jobs: Jobs::default() }))
}

/// At the first start a directory that cannot be used is refused. Later an engine serves without it, rather than not at
/// all.
fn prepare_state_dir(config: &Config, mode: Mode) -> Result<(), EngineError> {
    match config.global.state_dir.as_deref().map(state_file::prepare) {
        Some(Err(error)) if mode == Mode::Fresh => Err(error.into()),
        Some(Err(error)) => {
            tracing::warn!("state_dir is not used: {error}");
            Ok(())
        }
        Some(Ok(())) | None => Ok(()),
    }
}

/// An engine whose supervisor was killed leaves its addresses within a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Notices that the control thread may be behind; further ones are dropped.
const NOTICES: usize = 1024;
