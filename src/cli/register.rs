//! `lb register`: keeps a server in etcd while it is well, and removes it before it stops: a container's entry point.
//!
//! The order matters. Start: COMMAND first, then its check, then the key under a lease. Stop: the key says that the server
//! *drains*, then time passes in which balancers send nothing new and sessions end (`--drain`), then the key is deleted,
//! and only then COMMAND gets the signal. A balancer may hold a deletion without that word, or a lease that merely ended,
//! for an accident.
//!
//! An unreachable etcd delays the registration and nothing else; COMMAND never waits for it.

mod command;
mod key;
mod message;
mod monitor;
mod registration;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::select;
use tokio::time::sleep;

use super::arguments::{RegisterArgs, RegisterCheck, RegisterCheckArgs};
use crate::config::{self, Check, CheckKind, Fall, HttpCheck, Rise};
use command::{Running, Signals};
use key::ServerKey;
use message::complain;
use monitor::Monitor;
use registration::{EtcdRegistration, LeaveStep};

/// Runs the command; returns COMMAND's exit code.
pub(super) fn run(args: RegisterArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(args)).into(),
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            FAILED.into()
        }
    }
}

async fn serve(args: RegisterArgs) -> u8 {
    // Before COMMAND exists, so that no signal is lost in between.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("cannot handle signals: {error}"));
            return FAILED;
        }
    };
    let mut running = match Running::start(&args.command) {
        Ok(running) => running,
        Err(error) => {
            complain(&error.to_string());
            return error.exit_code();
        }
    };
    signals.spare(&running);
    let monitor = Monitor::new(args.addr.clone(), check_of(&args.check));
    let key = ServerKey::new(args.key.clone(), args.addr.clone(), args.ttl);
    let mut registration = EtcdRegistration::new(etcd_of(&args), key, monitor.well());
    let stop = until_stop(&monitor, &mut registration, &mut running, &mut signals).await;
    let code = match stop {
        StopCause::Ended(code) => {
            registration.leave(LeaveStep::Delete).await;
            code
        }
        StopCause::Signal(signal) => {
            registration.leave(LeaveStep::Drain).await;
            drain(args.drain, &mut registration, &mut running, &mut signals).await;
            registration.leave(LeaveStep::Delete).await;
            running.stop(signal, args.kill_after).await
        }
    };
    registration.end().await;
    code
}

enum StopCause {
    /// COMMAND ended by itself, with this code.
    Ended(u8),
    Signal(Signal),
}

/// Registers and passes signals to COMMAND, until one stops it or COMMAND ends.
async fn until_stop(
    monitor: &Monitor,
    registration: &mut EtcdRegistration,
    running: &mut Running,
    signals: &mut Signals,
) -> StopCause {
    let (mut keep, mut check) = (pin!(registration.keep()), pin!(monitor.run()));
    loop {
        select! {
            never = &mut keep => match never {},
            never = &mut check => match never {},
            code = running.ended() => return StopCause::Ended(code),
            signal = signals.next() => match signal {
                Signal::SIGHUP | Signal::SIGUSR1 | Signal::SIGUSR2 if running.is_command() => running.signal(signal),
                signal => return StopCause::Signal(signal),
            },
        }
    }
}

/// Waits, unless COMMAND ends or a second signal comes.
async fn drain(time: Duration, registration: &mut EtcdRegistration, running: &mut Running, signals: &mut Signals) {
    select! {
        () = sleep(time) => {}
        never = registration.hold() => match never {},
        _ = running.ended() => {}
        _ = signals.next() => {}
    }
}

fn etcd_of(args: &RegisterArgs) -> config::Etcd {
    config::Etcd {
        endpoints: args.etcd.clone(),
        username: args.username.clone(),
        password_file: args.password_file.clone(),
        ca: args.ca.clone(),
        cert: args.cert.clone(),
        key: args.key_file.clone(),
        guard_delay: Duration::ZERO,
    }
}

fn check_of(args: &RegisterCheckArgs) -> Check {
    let kind = match &args.check {
        RegisterCheck::Tcp => CheckKind::Tcp,
        RegisterCheck::Http(path) => {
            CheckKind::Http(Box::new(HttpCheck { path: path.clone(), ..HttpCheck::default() }))
        }
    };
    let (rise, fall) = (Rise::new(args.rise), Fall::new(args.fall));
    Check { kind, inter: args.inter, timeout: args.inter, rise, fall, ..Check::default() }
}

/// It failed before COMMAND was started.
const FAILED: u8 = 1;
