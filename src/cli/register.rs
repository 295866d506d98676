//! `lb register`: keeps a server in etcd while it runs, and removes it before it stops: a container's entry point.
//!
//! The order matters. Start: COMMAND first, then its check, then the key under a lease. Stop: the key is deleted *first*,
//! then time passes in which balancers stop sending (`--drain`), and only then COMMAND gets the signal. The key is deleted
//! rather than left to its lease: balancers keep a server whose lease merely ended.
//!
//! An unreachable etcd delays the registration and nothing else; COMMAND never waits for it.

mod command;
mod lease;
mod message;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::select;
use tokio::time::sleep;

use super::arguments::{RegisterArgs, RegisterCheck};
use crate::config::{self, Check, CheckKind};
use command::{Running, Signals};
use lease::EtcdRegistration;
use message::complain;

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
    let mut registration = EtcdRegistration::new(etcd_of(&args), args.key, args.addr, args.ttl, check_of(args.check));
    let stop = until_stop(&mut registration, &mut running, &mut signals).await;
    registration.remove().await;
    let code = match stop {
        StopCause::Ended(code) => code,
        StopCause::Signal(signal) => {
            drain(args.drain, &mut running, &mut signals).await;
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
async fn until_stop(registration: &mut EtcdRegistration, running: &mut Running, signals: &mut Signals) -> StopCause {
    let mut keep = pin!(registration.keep());
    loop {
        select! {
            never = &mut keep => match never {},
            code = running.ended() => return StopCause::Ended(code),
            signal = signals.next() => match signal {
                Signal::SIGHUP | Signal::SIGUSR1 | Signal::SIGUSR2 if running.is_command() => running.signal(signal),
                signal => return StopCause::Signal(signal),
            },
        }
    }
}

/// Waits, unless COMMAND ends or a second signal comes.
async fn drain(time: Duration, running: &mut Running, signals: &mut Signals) {
    select! {
        () = sleep(time) => {}
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

fn check_of(check: RegisterCheck) -> Check {
    let kind = match check {
        RegisterCheck::Tcp => CheckKind::Tcp,
        RegisterCheck::Http(path) => {
            CheckKind::Http { method: "GET".to_owned(), path, host: None, status: vec![(200, 399)] }
        }
    };
    Check { kind, ..Check::default() }
}

/// It failed before COMMAND was started.
const FAILED: u8 = 1;
