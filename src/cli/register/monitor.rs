//! Monitor: whether the server passes its check, for as long as the command runs.
//!
//! The rules are those of a balancer's checks: `fall` failures in a row and it is not well, `rise` successes and it is
//! again. Until it was well for the first time one success is enough.

use std::convert::Infallible;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::message::complain;
use crate::backend::health::{Health, Transition};
use crate::config::{Address, Check, InitState};
use crate::control::probe::{Farewell, ProbedServer, probe};
use crate::sys::addr::Addr;

/// See the module.
#[derive(Debug)]
pub(super) struct Monitor {
    addr: Address,
    check: Check,
    well: watch::Sender<bool>,
}

impl Monitor {
    pub(super) fn new(addr: Address, check: Check) -> Self {
        Self { addr, check: Check { fastinter: RECHECK, downinter: RECHECK, ..check }, well: watch::Sender::new(false) }
    }

    /// Whether the server is well, with every change.
    pub(super) fn well(&self) -> watch::Receiver<bool> {
        self.well.subscribe()
    }

    /// Checks and says what changes.
    pub(super) async fn run(&self) -> Infallible {
        let mut health = self.untried();
        let mut was_well = false;
        let mut told = None;
        loop {
            let (outcome, farewell) = self.check_once().await;
            let transition = health.record(outcome.is_ok());
            match outcome {
                Ok(()) => told = None,
                // The status without its duration, which differs each time.
                Err(cause) if told.as_deref() != cause.split(" in ").next() => {
                    told = cause.split(" in ").next().map(str::to_owned);
                    let yet = if was_well { "fails its check" } else { "is not well yet" };
                    complain(&format!("{} {yet}: {cause}", self.addr));
                }
                Err(_) => {}
            }
            match transition {
                Some(Transition::WentUp) => was_well = true,
                None if !was_well => health = self.untried(),
                Some(Transition::WentDown) | None => {}
            }
            self.well.send_if_modified(|well| std::mem::replace(well, health.is_up()) != health.is_up());
            // Jitter of a twentieth keeps a fleet from checking in step.
            let interval = health.next_interval(&self.check).mul_f64(0.975 + fastrand::f64() / 20.0);
            farewell.during(sleep(interval)).await;
        }
    }

    /// One success from being well.
    fn untried(&self) -> Health {
        Health::new(self.check.rise, self.check.fall, InitState::Down)
    }

    async fn check_once(&self) -> (Result<(), String>, Farewell) {
        let addr = timeout(self.check.timeout, self.resolve()).await;
        match addr.unwrap_or_else(|_| Err("its name was not looked up in time".to_owned())) {
            Ok(addr) => {
                let server = ProbedServer { backend: "", name: "", host: self.addr.host(), maxconn: 0, sessions: 0 };
                let (result, farewell) = probe(&self.check, &addr, &server).await;
                (if result.status.is_ok() { Ok(()) } else { Err(result.to_string()) }, farewell)
            }
            Err(cause) => (Err(cause), Farewell::default()),
        }
    }

    async fn resolve(&self) -> Result<Addr, String> {
        match &self.addr {
            Address::Ip(addr) => Ok(Addr::Ip(*addr)),
            Address::Unix(path) => Ok(Addr::Unix(path.clone())),
            Address::Host(host, port) => {
                let found = lookup_host((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                let first = { found }.next();
                first.map(Addr::Ip).ok_or_else(|| format!("{host} has no address"))
            }
        }
    }
}

/// Between checks whose result may change something.
const RECHECK: Duration = Duration::from_millis(500);
