//! Service: what a supervisor owns in every role: engines, listening sockets, the program, the takeover path.
//!
//! Nothing here depends on the role; the messages of the engine that serves are in `messages`.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::fault;
use crate::handoff::channel::ChannelError;
use crate::handoff::control::{Listener, Mode, Stop};
use crate::supervisor::binary::Binary;
use crate::supervisor::children::Engines;
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::kept_names::KeptNames;
use crate::supervisor::listeners::HeldListeners;
use crate::supervisor::options::RunOptions;
use crate::supervisor::restart::Restart;
use crate::supervisor::stderr::print;
use crate::supervisor::systemd::ServiceManager;
use crate::supervisor::takeover::by_pid;
use crate::supervisor::takeover::predecessor::Predecessor;

/// The parts that exist in every role.
pub(crate) struct Service {
    pub options: RunOptions,
    pub manager: ServiceManager,
    pub binary: Rc<Binary>,
    /// 1 at the start, one more with each upgrade.
    pub generation: u64,
    /// When the service was started, by this supervisor or one that it has replaced.
    pub began: Instant,
    pub listeners: HeldListeners,
    pub names: KeptNames,
    pub engines: Engines,
    pub restart: Restart,
    pub predecessor: Predecessor,
}

impl Service {
    /// Starts an engine that is to serve.
    pub(crate) fn start_engine(&mut self, mode: Mode, now: Instant) -> Result<(), ChannelError> {
        let engine = EngineProcess::start(&self.binary, &self.options, mode, self.generation, now)?;
        self.engines.active = Some(engine);
        Ok(())
    }

    /// Starts the engine again if that is due. A failed start counts as an engine that died at once.
    pub(crate) fn restart_if_due(&mut self, now: Instant) {
        if self.restart.take_due(now)
            && let Err(error) = self.start_engine(Mode::Restart, now)
        {
            print(format!("cannot start an engine: {error}"));
            self.restart.after_exit(Duration::ZERO, now);
        }
    }

    /// Schedules the successor of an engine that has died.
    pub(crate) fn replace_engine(&mut self, engine: &EngineProcess, how: &str, now: Instant) {
        let served = engine.serving_since.map(|since| now - since).unwrap_or_default();
        let delay = self.restart.after_exit(served, now);
        let when = if delay.is_zero() { "now".into() } else { format!("in {} ms", delay.as_millis()) };
        print(format!("engine {} {how}; the next one starts {when}, connections wait in the queues", engine.pid));
        self.manager.status("engine lost, restarting");
    }

    /// Listeners, names and START, to an engine that starts alone.
    pub(crate) fn introduce_active(&mut self) {
        if let Some(engine) = self.engines.active.as_mut().filter(|engine| !engine.introduced) {
            engine.introduce(self.listeners.announced(), self.names.parts(), self.began.elapsed());
        }
    }

    /// Keeps a duplicate of an engine's listening socket. `tentative`: of a new engine, until its upgrade has succeeded.
    pub(crate) fn keep_listener(&mut self, listener: &Listener, fds: Vec<OwnedFd>, tentative: bool) {
        for socket in fds {
            if let Err(error) = self.listeners.keep(listener.clone(), socket, tentative) {
                let Listener { frontend, bind, .. } = listener;
                print(format!("listener {frontend} {bind}: {error}; it would not survive the engine"));
            }
        }
        if self.manager.is_ready() {
            self.listeners.store(&self.manager);
        }
    }

    /// The service manager counts the service as started, with every listening socket in its store.
    pub(crate) fn announce_ready(&mut self, pid: u32) {
        self.listeners.store(&self.manager);
        if let Some(once_serving) = self.options.once_serving.take() {
            self.follow_pid();
            once_serving.perform();
        }
        self.manager.ready(&format!("serving, engine {pid}"));
    }

    /// The takeover socket of a predecessor that was named by its pid gets the name of this one.
    fn follow_pid(&mut self) {
        if let Some(own) = &mut self.options.takeover
            && let Some(path) = by_pid::own_path_beside(&own.path)
        {
            self.predecessor.rename(&path);
            own.path = path;
        }
    }

    /// Orders the engines to stop and closes the queues of clients: duplicates alone would keep accepting connections.
    pub(crate) fn stop(&mut self, order: &Stop, now: Instant) {
        self.restart.cancel();
        self.manager.stopping("draining");
        self.listeners.close_traffic(&self.manager);
        self.engines.stop(order, now);
    }

    /// The other supervisor has everything; the engines here drain.
    pub(crate) fn retire(&mut self) {
        fault::point("supervisor.retire");
        self.restart.cancel();
        self.engines.retire_active();
        self.listeners.hand_on(&self.manager);
        self.predecessor.close();
        self.manager.stopping("taken over, draining");
    }

    /// Removes the paths of the admin socket and the takeover socket, if they are still those that were bound.
    pub(crate) fn unlink_paths(&self) {
        self.listeners.unlink_paths();
        self.predecessor.unlink();
    }
}
