//! Messages of the engine that serves. What they mean for the role or a running upgrade is returned.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::fault;
use crate::handoff::control::{Control, Go, Mode, ProcessKind, Ready, StatusLine};
use crate::supervisor::service::Service;
use crate::supervisor::stderr::print;
use crate::supervisor::upgrade::machine::UpgradeEvent;

/// What a message means beyond the service itself.
#[derive(Debug)]
pub(crate) enum Consequence {
    None,
    /// The engine serves.
    Ready,
    /// For the upgrade, if one is running.
    Upgrade(UpgradeEvent),
}

/// Handles a message of the active engine. One that is out of turn has no effect.
pub(crate) fn on_active(service: &mut Service, message: Control, fds: Vec<OwnedFd>, now: Instant) -> Consequence {
    match message {
        Control::Hello(hello) if hello.role == ProcessKind::Engine => service.introduce_active(),
        Control::Listener(listener) => service.keep_listener(&listener, fds, false),
        Control::Unlisten(gone) => service.listeners.remove(gone.cookie, &service.manager),
        Control::Prepared(_) => {
            if let Some(engine) = &mut service.engines.active {
                engine.send(&Control::Go(Go {}), vec![]);
            }
        }
        Control::Ready(ready) => {
            on_ready(service, &ready, now);
            return Consequence::Ready;
        }
        Control::Status(status) => on_status(service, &status),
        Control::Names(part) => service.names.keep(part),
        Control::Parked(_) => return Consequence::Upgrade(UpgradeEvent::Parked),
        Control::Done(done) => return Consequence::Upgrade(UpgradeEvent::Done(done)),
        Control::Heartbeat(beat) => {
            if let Some(engine) = &mut service.engines.active {
                engine.on_beat(beat.clone(), now);
            }
            return Consequence::Upgrade(UpgradeEvent::OldBeat(beat));
        }
        _ => {}
    }
    Consequence::None
}

fn on_ready(service: &mut Service, ready: &Ready, now: Instant) {
    let Some(engine) = &mut service.engines.active else {
        return;
    };
    engine.on_ready(ready, now);
    let pid = engine.pid;
    if engine.mode == Mode::Restart {
        print(format!("engine {pid} serves again"));
    }
    fault::point("supervisor.ready");
    service.announce_ready(pid);
}

fn on_status(service: &mut Service, status: &StatusLine) {
    if let (Some(engine), Some(limit)) = (&mut service.engines.active, status.stop_limit_ms) {
        engine.set_stop_limit(limit);
    }
    if let Some(engine) = &mut service.engines.active {
        engine.watchdog.set_busy(status.reloading);
        engine.set_watchdog(status.watchdog_ms);
    }
    if status.reloading {
        service.manager.reloading(&status.text);
    } else if service.manager.is_ready() {
        service.manager.ready(&status.text);
    } else {
        service.manager.status(&status.text);
    }
}
