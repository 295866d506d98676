//! What happens to the balancer: one trouble a slot begins, and those that last end some slots later.

use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ledger::{Ledger, Trouble};
use super::stage::{Stage, empty, fill, found};
use crate::support::dns::Reply;
use crate::support::figure::figure;
use crate::support::status::Status;
use crate::support::wait::{eventually, observe};

pub(super) struct Troubles {
    random: Rng,
    ledger: Ledger,
    /// Those of the present round that are still to come.
    deck: Vec<Kind>,
    /// What lasts, and for how many more slots.
    lasting: Vec<(Kind, u32)>,
    counts: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    StderrUnread,
    DiskFull,
    NamesSilent,
    NamesFail,
    EtcdFrozen,
    EtcdDead,
    EtcdChanges,
    EngineKilled,
    EngineStopped,
    ServerKilled,
    ServersAllKilled,
    Reload,
    Nothing,
}

const ALL: [Kind; 13] = [
    Kind::StderrUnread,
    Kind::DiskFull,
    Kind::NamesSilent,
    Kind::NamesFail,
    Kind::EtcdFrozen,
    Kind::EtcdDead,
    Kind::EtcdChanges,
    Kind::EngineKilled,
    Kind::EngineStopped,
    Kind::ServerKilled,
    Kind::ServersAllKilled,
    Kind::Reload,
    Kind::Nothing,
];

impl Kind {
    /// For some slots.
    fn lasts(self) -> bool {
        use Kind::*;
        matches!(self, StderrUnread | DiskFull | NamesSilent | NamesFail | EtcdFrozen | EtcdDead | ServerKilled)
    }

    /// While this one lasts the other cannot happen.
    fn excludes(self, other: Self) -> bool {
        let of_etcd = |kind| matches!(kind, Self::EtcdFrozen | Self::EtcdDead | Self::EtcdChanges);
        let of_names = |kind| matches!(kind, Self::NamesSilent | Self::NamesFail);
        self == other || of_etcd(self) && of_etcd(other) || of_names(self) && of_names(other)
    }
}

impl Troubles {
    pub(super) fn new(seed: u64, ledger: &Ledger) -> Self {
        let counts = vec![0; ALL.len()];
        Self { random: Rng::with_seed(seed), ledger: ledger.clone(), deck: Vec::new(), lasting: Vec::new(), counts }
    }

    /// Ends what is over and begins another trouble, at any moment of the upgrade under way.
    pub(super) fn next(&mut self, stage: &mut Stage) {
        let mut over = Vec::new();
        self.lasting.retain_mut(|(kind, left)| {
            *left -= 1;
            if *left == 0 {
                over.push(*kind);
            }
            *left > 0
        });
        over.into_iter().for_each(|kind| recover(kind, stage));
        if self.deck.is_empty() {
            self.deck = ALL.to_vec();
            self.random.shuffle(&mut self.deck);
        }
        let kind = self.deck.pop().unwrap();
        observe(Duration::from_millis(self.random.u64(..1500)));
        if self.lasting.iter().any(|(lasting, _)| lasting.excludes(kind)) {
            return;
        }
        self.counts[kind as usize] += 1;
        self.begin(kind, stage);
    }

    /// Ends all of them.
    pub(super) fn end(&mut self, stage: &mut Stage) {
        for (kind, _) in std::mem::take(&mut self.lasting) {
            recover(kind, stage);
        }
        let counts: Vec<_> = ALL.iter().zip(&self.counts).map(|(kind, count)| format!("{kind:?} {count}")).collect();
        figure("any hour: troubles", counts.join(", "));
    }

    fn begin(&mut self, kind: Kind, stage: &mut Stage) {
        let from = Instant::now();
        match kind {
            Kind::StderrUnread => stage.words.set_read(false),
            Kind::DiskFull => fill(stage),
            Kind::NamesSilent => stage.dns.fail(Reply::Silence),
            Kind::NamesFail => stage.dns.fail(Reply::NoSuchName),
            Kind::EtcdFrozen => stage.etcd.freeze(),
            Kind::EtcdDead => stage.etcd.kill(),
            Kind::EtcdChanges => self.change_etcd(stage),
            Kind::EngineKilled => self.lose_engine(stage, Signal::SIGKILL),
            Kind::EngineStopped => self.lose_engine(stage, Signal::SIGSTOP),
            Kind::ServerKilled => {
                let server = self.random.usize(..stage.app.len());
                stage.app[server].stop();
                self.ledger.trouble(Trouble::Server("app"), from);
            }
            Kind::ServersAllKilled => {
                stage.app.iter_mut().for_each(crate::support::origin::Origin::stop);
                observe(Duration::from_millis(1500));
                stage.app.iter_mut().for_each(crate::support::origin::Origin::restart);
                self.ledger.trouble(Trouble::Server("app"), from);
            }
            Kind::Reload => stage.lb.signal(Signal::SIGHUP),
            Kind::Nothing => {}
        }
        if kind.lasts() {
            self.lasting.push((kind, self.random.u32(1..=3)));
        }
    }

    /// A server leaves and comes back.
    fn change_etcd(&mut self, stage: &Stage) {
        let number = self.random.u32(1..=4);
        let key = format!("/found/{number}");
        stage.etcd.delete(&key);
        observe(Duration::from_millis(300));
        stage.etcd.put(&key, &found(&stage.steady, number));
    }

    /// The engine is killed or stopped, and another serves soon.
    fn lose_engine(&self, stage: &Stage, signal: Signal) {
        let Some(engine) = engine(stage) else { return };
        let from = Instant::now();
        match kill(Pid::from_raw(engine), signal) {
            // An upgrade has replaced it meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        }
        let another = || engine_now(stage).filter(|&now| now != engine).map(drop);
        eventually(Duration::from_secs(60), &format!("another engine than that of {signal}"), another);
        self.ledger.trouble(Trouble::Engine, from);
    }
}

fn recover(kind: Kind, stage: &mut Stage) {
    match kind {
        Kind::StderrUnread => stage.words.set_read(true),
        Kind::DiskFull => empty(stage),
        Kind::NamesSilent | Kind::NamesFail => stage.dns.heal(),
        Kind::EtcdFrozen => stage.etcd.thaw(),
        Kind::EtcdDead => stage.etcd.restart(),
        Kind::ServerKilled => stage.app.iter_mut().for_each(crate::support::origin::Origin::restart),
        _ => {}
    }
}

/// The serving engine, as soon as there is an answer.
fn engine(stage: &Stage) -> Option<i32> {
    eventually(Duration::from_secs(60), "an answer of the balancer", || engine_now(stage).map(Some))
}

fn engine_now(stage: &Stage) -> Option<i32> {
    let output = stage.lb.command(&["status", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| i32::try_from(Status::parse(&text).number("engine_pid")).unwrap())
}
