//! What follows from a change of a server: the log, its backend's last usable server, the weights of a slow start.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::spawn_local;
use tokio::time::sleep;

use super::sentences::{self, Cause, Sentence};
use crate::backend::health::{CheckResult, Transition};
use crate::backend::{Backend, Change, Member, Server, Usability};
use crate::config::AdminState;
use crate::log::{ChangeLine, SessionLog};

/// Called after a server went UP or DOWN, as one that is UP does when it leaves MAINT, and with `None` after another
/// change of its administrative state.
pub(crate) type OnChange = Rc<dyn Fn(&Arc<Backend>, &Arc<Server>, Option<Transition>)>;

/// What a change of a server entails. Lives on the control thread.
pub(crate) struct Consequences {
    on_change: OnChange,
    log: SessionLog,
}

impl Consequences {
    pub(crate) fn new(on_change: OnChange, log: SessionLog) -> Rc<Self> {
        Rc::new(Self { on_change, log })
    }

    /// Records a result, logs it, and does what follows from it.
    pub(super) fn take_in(&self, backend: &Arc<Backend>, server: &Arc<Server>, result: CheckResult, times: u32) {
        let was_suspect = server.is_suspect();
        let told = result.clone();
        let change = backend.record(server, result, times, Instant::now());
        if told.status.is_ok() && was_suspect {
            // Sessions that wait because this server let them down may try again.
            backend.queue.call(usize::MAX);
        }
        if let Some(change) = change {
            self.announce(backend, server, &change, &Cause::Result(&told));
        }
    }

    /// Logs that a server went UP or DOWN, and does what follows from it.
    pub(crate) fn announce(&self, backend: &Arc<Backend>, server: &Arc<Server>, change: &Change, cause: &Cause<'_>) {
        let (name, active) = (&backend.name, change.active);
        match change.transition {
            Transition::WentUp => {
                tracing::info!("backend {name}: server {} is UP: {cause}; {active} in use", server.name);
            }
            Transition::WentDown => {
                tracing::warn!("backend {name}: server {} is DOWN: {cause}; {active} in use", server.name);
            }
        }
        if let Some(member) = backend.member_of(server) {
            self.write(backend, [sentences::passed(backend, &member, change.transition, cause)]);
        }
        self.follow_up(backend, false);
        (self.on_change)(backend, server, Some(change.transition));
    }

    /// Sets a server's administrative state, by the operator or by its agent.
    pub(crate) fn administer(&self, backend: &Arc<Backend>, member: &Member, state: AdminState) {
        let now = Instant::now();
        let (before, returns) = {
            let mut server = member.server.state();
            let (before, own) = (server.administration(), server.admin);
            server.administer(state, now);
            if state == AdminState::Maint && before != AdminState::Maint && server.is_up() {
                // As in HAProxy.
                member.server.stats.downs.add(1);
            }
            (before, own == AdminState::Maint && state != AdminState::Maint && server.is_up())
        };
        backend.refresh(now);
        self.write(backend, sentences::administered(backend, member, before, None));
        (self.on_change)(backend, &member.server, returns.then_some(Transition::WentUp));
    }

    /// A server has another administrative state because the one that it follows has. `before`: its own one until then.
    pub(crate) fn followed(&self, backend: &Arc<Backend>, member: &Member, before: AdminState, path: &str) {
        backend.refresh(Instant::now());
        self.write(backend, sentences::administered(backend, member, before, Some(path)));
        self.follow_up(backend, false);
        (self.on_change)(backend, &member.server, None);
    }

    /// What every change of a backend's servers may entail: a word about its last usable one, and the growing weights of
    /// a slow start. `first` as for [`Backend::usability`].
    pub(crate) fn follow_up(&self, backend: &Arc<Backend>, first: bool) {
        match backend.usability(first) {
            Some(Usability::Lost) => {
                tracing::error!("{}", unusable(&backend.name));
                self.write(backend, [sentences::unserved(backend)]);
            }
            Some(Usability::Regained(active)) => {
                tracing::info!("backend {}: sessions are served again; {active} in use", backend.name);
            }
            None => {}
        }
        if backend.begin_warming() {
            spawn_local(warm_up(Arc::clone(backend)));
        }
    }

    fn write(&self, backend: &Backend, sentences: impl IntoIterator<Item = Sentence>) {
        let log = &backend.snapshot().settings.log;
        if log.targets.is_empty() {
            return;
        }
        for Sentence { level, text } in sentences {
            self.log.changed(ChangeLine { level, text, at: SystemTime::now(), log: log.clone() });
        }
    }
}

/// The words for a backend without a usable server.
pub(crate) fn unusable(backend: &str) -> String {
    format!("backend {backend}: no server is usable; sessions wait up to timeout.queue")
}

/// Lets the weights of a slow start grow, in the steps of 5 % of the schedule.
async fn warm_up(backend: Arc<Backend>) {
    loop {
        let Some(step) = backend.snapshot().ramping else { break };
        sleep(step.max(Duration::from_millis(50))).await;
        backend.refresh(Instant::now());
    }
    backend.end_warming();
}
