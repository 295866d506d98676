//! Children: the engines of this supervisor, and how ended processes are reaped.

use std::time::Instant;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::handoff::control::{Stop, StopMode};
use crate::supervisor::connection::ConnectionId;
use crate::supervisor::engine_process::EngineProcess;

/// The engines, without the new one of an upgrade.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    /// The engine that serves, or is about to.
    pub active: Option<EngineProcess>,
    /// Engines that were replaced and drain.
    pub draining: Vec<EngineProcess>,
}

/// An engine that has ended.
pub(crate) enum EndedEngine {
    Active(Box<EngineProcess>),
    Draining,
}

impl Engines {
    /// Engines from before the supervisor was replaced; the one that serves comes first.
    pub(crate) fn restore(engines: Vec<EngineProcess>) -> Self {
        let mut engines = engines.into_iter();
        Self { active: engines.next(), draining: engines.collect() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &EngineProcess> {
        self.active.iter().chain(&self.draining)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EngineProcess> {
        self.active.iter_mut().chain(&mut self.draining)
    }

    pub(crate) fn find_mut(&mut self, id: ConnectionId) -> Option<&mut EngineProcess> {
        self.iter_mut().find(|engine| engine.id() == id)
    }

    pub(crate) fn is_active(&self, id: ConnectionId) -> bool {
        self.active.as_ref().is_some_and(|engine| engine.id() == id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_none() && self.draining.is_empty()
    }

    /// Whether an engine has been READY and is not replaced yet.
    pub(crate) fn is_serving(&self) -> bool {
        self.active.as_ref().is_some_and(|engine| engine.serving_since.is_some())
    }

    /// Orders every engine to stop. One that drains already is ordered again only to end now.
    pub(crate) fn stop(&mut self, order: &Stop, now: Instant) {
        for engine in self.iter_mut().filter(|engine| engine.stop_by.is_none() || order.mode == StopMode::Now) {
            engine.stop(order, now);
        }
    }

    /// Orders engines that were replaced to drain.
    pub(crate) fn drain_replaced(&mut self, now: Instant) {
        for engine in self.draining.iter_mut().filter(|engine| engine.stop_by.is_none()) {
            engine.stop(&Stop::DRAIN, now);
        }
    }

    /// Puts the active engine among those that drain.
    pub(crate) fn retire_active(&mut self) {
        self.draining.extend(self.active.take());
    }

    /// When the next engine is to be killed. `upgrading`: the active one is being replaced.
    pub(crate) fn wake_at(&self, upgrading: bool) -> Option<Instant> {
        let stops = self.iter().filter_map(|engine| engine.stop_by);
        let active = self.active.as_ref();
        let active = [active.and_then(EngineProcess::start_limit), active.and_then(|engine| engine.look_at(upgrading))];
        stops.chain(active.into_iter().flatten()).min()
    }

    /// Kills the engines that are beyond a limit. `upgrading`: the active one is being replaced.
    pub(crate) fn on_time(&mut self, upgrading: bool, now: Instant) {
        self.iter_mut().for_each(|engine| engine.kill_if_late(now));
        if let Some(engine) = &mut self.active {
            engine.kill_if_not_ready(now);
            engine.kill_if_hung(upgrading, now);
        }
    }

    /// Whether the watchdog may be told that the service works.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.active.as_ref().is_none_or(|engine| engine.is_alive(now))
    }

    /// Removes the engine with this pid.
    pub(crate) fn remove(&mut self, pid: u32) -> Option<EndedEngine> {
        if let Some(place) = self.draining.iter().position(|engine| engine.pid == pid) {
            self.draining.remove(place);
            return Some(EndedEngine::Draining);
        }
        self.active.take_if(|engine| engine.pid == pid).map(|engine| EndedEngine::Active(Box::new(engine)))
    }
}

/// A process that has ended but is not reaped yet: its pid cannot be reused while its last messages are handled.
#[derive(Debug)]
pub(crate) struct ChildExit {
    pub pid: u32,
    /// The exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// In words, as in "engine 7 {how}".
    pub how: String,
}

impl ChildExit {
    /// The next child that has ended. As PID 1 this includes every orphan of the pid namespace.
    pub(crate) fn next() -> Option<Self> {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let (pid, code, how) = match waitid(Id::All, peek) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Some(code), format!("ended with code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, None, format!("was ended by {signal}")),
            Ok(_) | Err(_) => return None,
        };
        Some(Self { pid: pid.as_raw().cast_unsigned(), code, how })
    }

    /// Releases the pid.
    pub(crate) fn reap(self) {
        match waitpid(Pid::from_raw(self.pid.cast_signed()), Some(WaitPidFlag::WNOHANG)) {
            // This is the only thread that waits, so the child is there.
            Ok(_) | Err(_) => {}
        }
    }

    /// The exit code as this process would report it: 1 for a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}
