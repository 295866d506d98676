//! What happens to the supervisor: signals, exits, messages of engines.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::handoff::control::{
    Control, Go, Heartbeat, Listener, Mode, ProcessKind, Ready, Reload, Start, Status, StopMode,
};
use crate::supervisor::connection::ConnectionId;
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::systemd::say;
use crate::supervisor::upgrade::machine::Event;
use crate::supervisor::{Supervisor, fault, millis};

/// Which engine a message came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    Candidate,
    Draining,
}

impl Supervisor {
    pub(super) fn on_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let now = Instant::now();
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGCHLD) => self.reap(now),
                Ok(signal @ (Signal::SIGTERM | Signal::SIGINT)) => {
                    let mode = if signal == Signal::SIGTERM { StopMode::Drain } else { StopMode::Now };
                    // The second one means: at once.
                    let mode = if self.stopping { StopMode::Now } else { mode };
                    say(format!("{signal}: stopping"));
                    self.upgrade_event(Event::Stop, now);
                    self.stop_taking(now);
                    self.stop(mode, now);
                }
                Ok(Signal::SIGHUP) if self.taking.is_some() => {
                    say("reload refused: a takeover is in progress");
                }
                Ok(Signal::SIGHUP) => {
                    if let Some(engine) = &mut self.active {
                        engine.send(&Control::Reload(Reload {}), vec![]);
                    }
                }
                Ok(Signal::SIGUSR2) => self.request_upgrade_by_signal(now),
                _ => {}
            }
        }
    }

    /// Everything that a process in this pid namespace may leave to its init, too.
    fn reap(&mut self, now: Instant) {
        // It is reaped last: while what it had said is heeded, its pid is still its own.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            let pid = match waitid(Id::All, look) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.on_exit(pid, Some(code), &format!("ended with code {code}"), now);
                    pid
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.on_exit(pid, None, &format!("was ended by {signal}"), now);
                    pid
                }
                Ok(_) | Err(_) => return,
            };
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                // Nobody else waits, so it is there.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn on_exit(&mut self, pid: Pid, code: Option<i32>, how: &str, now: Instant) {
        let pid = pid.as_raw().cast_unsigned();
        let child = |engine: &&EngineProcess| engine.pid == pid && !engine.is_foreign();
        // What it had said before comes first.
        let id = self.engines().find(child).map(EngineProcess::id);
        if let Some(id) = id {
            self.on_engine(id);
        }
        if self.on_probe_exit(pid, code, now) || self.on_candidate_exit(pid, how, now) {
            return;
        }
        if let Some(place) = self.draining.iter().position(|engine| engine.pid == pid) {
            self.draining.remove(place);
        } else if self.active.as_ref().is_some_and(|engine| engine.pid == pid)
            && let Some(engine) = self.active.take()
        {
            self.on_active_exit(&engine, code, how, now);
        } else {
            return;
        }
        self.end_if_idle();
    }

    fn on_active_exit(&mut self, engine: &EngineProcess, code: Option<i32>, how: &str, now: Instant) {
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        if self.stopping {
            if code != 0 {
                self.exit = Some(code);
            }
            return;
        }
        if self.on_newborn_exit(how, now) {
            return;
        }
        self.upgrade_event(Event::OldFailed(how.to_owned()), now);
        if self.active.is_some() || self.is_handed_over() {
            // An upgrade was far enough: the new engine serves.
            return;
        }
        if engine.mode == Mode::Fresh && engine.serving_since.is_none() {
            // It has said why. Nothing was served, so nothing is gained by trying again.
            self.exit = Some(if code == 0 { 1 } else { code });
            return;
        }
        let served = engine.serving_since.map(|since| now - since).unwrap_or_default();
        let delay = self.restart.delay(served);
        let when = if delay.is_zero() { "now".into() } else { format!("in {} ms", delay.as_millis()) };
        say(format!("engine {} {how}; the next one starts {when}, connections wait in the queues", engine.pid));
        self.notify.status("engine lost, restarting");
        self.restart_at = Some(now + delay);
    }

    pub(super) fn on_engine(&mut self, id: ConnectionId) {
        loop {
            let Some(engine) = self.engine_mut(id) else {
                return;
            };
            engine.flush();
            let Some((message, fds)) = engine.receive() else {
                if !engine.listens() && engine.is_foreign() {
                    let why = "its supervisor is gone, or not to be understood".to_owned();
                    self.upgrade_event(Event::NewFailed(why), Instant::now());
                } else if !engine.listens() && engine.stop_by.is_none() {
                    // It hung up; the exit is due.
                    engine.stop_by = Some(Instant::now() + crate::supervisor::KILL_GRACE);
                }
                return;
            };
            self.on_message(id, message, fds, Instant::now());
        }
    }

    fn place(&self, id: ConnectionId) -> Place {
        if self.active.as_ref().is_some_and(|engine| engine.id() == id) {
            Place::Active
        } else if self.draining.iter().any(|engine| engine.id() == id) {
            Place::Draining
        } else {
            Place::Candidate
        }
    }

    fn on_message(&mut self, id: ConnectionId, message: Control, fds: Vec<OwnedFd>, now: Instant) {
        if self.taking.is_some() {
            return self.pass_on(message, fds, now);
        }
        match (self.place(id), message) {
            (Place::Active, Control::Hello(hello)) if hello.role == ProcessKind::Engine => self.introduce_active(),
            (Place::Candidate, Control::EngineStarted(born)) => self.on_birth(id, &born, fds, now),
            (Place::Candidate, Control::Taken(_)) => self.upgrade_event(Event::Taken, now),
            (Place::Candidate, Control::Hello(hello)) if hello.role == ProcessKind::Engine => {
                self.upgrade_event(Event::Hello, now);
            }
            (place @ (Place::Active | Place::Candidate), Control::Listener(listener)) => {
                self.on_listener(listener, fds, place == Place::Candidate);
            }
            (Place::Active, Control::Prepared(_)) => {
                if let Some(engine) = &mut self.active {
                    engine.send(&Control::Go(Go {}), vec![]);
                }
            }
            (Place::Candidate, Control::Prepared(_)) => self.upgrade_event(Event::Prepared, now),
            (place @ (Place::Active | Place::Candidate), Control::Ready(ready)) => {
                self.on_ready(id, &ready, place, now);
            }
            (Place::Active, Control::Parked(_)) => self.upgrade_event(Event::Parked, now),
            (Place::Active, Control::Done(done)) => self.upgrade_event(Event::Done(done), now),
            (Place::Candidate, Control::Abort(abort)) => self.upgrade_event(Event::NewFailed(abort.reason), now),
            (place, Control::Heartbeat(beat)) => self.on_beat(id, beat, place, now),
            (Place::Active, Control::Unlisten(gone)) => {
                self.listeners.remove(gone.cookie, &self.notify);
            }
            (Place::Candidate, Control::Unlisten(gone)) => self.listeners.decline(gone.cookie),
            (_, Control::Upgrade(upgrade)) => self.request_upgrade(id, &upgrade, now),
            (Place::Active, Control::Status(status)) => self.on_status(&status),
            // Out of turn: a message that means nothing here does nothing.
            (_, _) => {}
        }
    }

    /// Listeners and START, to an engine that starts alone.
    fn introduce_active(&mut self) {
        let Some(engine) = self.active.as_mut().filter(|engine| !engine.introduced) else {
            return;
        };
        engine.introduced = true;
        let mut count = 0;
        for held in self.listeners.iter() {
            engine.send(&Control::Listener(held.listener.clone()), vec![Arc::clone(&held.socket)]);
            count += 1;
        }
        let uptime_ms = millis(self.began.elapsed());
        let start = Start { mode: engine.mode, generation: engine.generation, listeners: count, uptime_ms };
        engine.send(&Control::Start(start), vec![]);
    }

    fn on_listener(&mut self, listener: Listener, fds: Vec<OwnedFd>, tentative: bool) {
        let name = format!("listener {} {}", listener.frontend, listener.bind);
        for socket in fds {
            if let Err(error) = self.listeners.keep(listener.clone(), socket, tentative) {
                say(format!("{name}: {error}; it would not survive the engine"));
            }
        }
        if self.ready_told {
            self.listeners.store(&self.notify);
        }
    }

    fn on_ready(&mut self, id: ConnectionId, ready: &Ready, place: Place, now: Instant) {
        let Some(engine) = self.engine_mut(id) else {
            return;
        };
        let pid = engine.pid;
        engine.serving_since = Some(now);
        engine.last_beat = now;
        engine.stop_limit = stop_limit(ready.stop_limit_ms);
        let restarted = engine.mode == Mode::Restart;
        if place == Place::Candidate {
            self.upgrade_event(Event::Ready, now);
            return;
        }
        if restarted {
            say(format!("engine {pid} serves again"));
        }
        fault::point("supervisor.ready");
        self.listeners.store(&self.notify);
        self.notify.ready(&format!("serving, engine {pid}"));
        self.ready_told = true;
    }

    fn on_beat(&mut self, id: ConnectionId, beat: Heartbeat, place: Place, now: Instant) {
        if let Some(engine) = self.engine_mut(id) {
            engine.last_beat = now;
            engine.beat = Some(beat.clone());
        }
        match place {
            Place::Active => self.upgrade_event(Event::OldBeat(beat), now),
            Place::Candidate => self.upgrade_event(Event::NewBeat(beat), now),
            Place::Draining => {}
        }
    }

    fn on_status(&mut self, status: &Status) {
        if let (Some(engine), Some(limit)) = (&mut self.active, status.stop_limit_ms) {
            engine.stop_limit = stop_limit(limit);
        }
        if status.reloading {
            self.notify.reloading(&status.text);
        } else if self.ready_told {
            self.notify.ready(&status.text);
        } else {
            self.notify.status(&status.text);
        }
    }
}

pub(super) fn stop_limit(millis: u64) -> Duration {
    Duration::from_millis(millis.min(MAX_STOP_MS))
}

/// A day: what an engine says is not added to a time unchecked.
const MAX_STOP_MS: u64 = 24 * 3600 * 1000;
