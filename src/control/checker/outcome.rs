//! What follows from a change of a server: the log, its backend's last usable server, the weights of a slow start.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::backend::health::{CheckResult, Transition};
use crate::backend::{Backend, Change, Member, Server, Usability};
use crate::config::AdminState;

/// Called after a server went UP or DOWN, as one that is UP does when it leaves MAINT, and with `None` after another change
/// of its administrative state.
pub(crate) type OnChange = Rc<dyn Fn(&Arc<Backend>, &Arc<Server>, Option<Transition>)>;

/// Records a result, logs it, and does what follows from it.
pub(super) fn take_in(
    backend: &Arc<Backend>,
    server: &Arc<Server>,
    result: CheckResult,
    times: u32,
    on_change: &OnChange,
) {
    let (ok, told) = (result.status.is_ok(), result.to_string());
    let was_suspect = server.is_suspect();
    let change = backend.record(server, result, times, Instant::now());
    if ok && was_suspect {
        // Sessions that wait because this server let them down may try again.
        backend.queue.call(usize::MAX);
    }
    if let Some(change) = change {
        announce(backend, server, &change, &told, on_change);
    }
}

/// Logs that a server went UP or DOWN, and does what follows from it.
pub(crate) fn announce(
    backend: &Arc<Backend>,
    server: &Arc<Server>,
    change: &Change,
    told: &str,
    on_change: &OnChange,
) {
    let (name, active) = (&backend.name, change.active);
    match change.transition {
        Transition::WentUp => {
            tracing::info!("backend {name}: server {} is UP: {told}; {active} in use", server.name);
        }
        Transition::WentDown => {
            tracing::warn!("backend {name}: server {} is DOWN: {told}; {active} in use", server.name);
        }
    }
    follow_up(backend, false);
    on_change(backend, server, Some(change.transition));
}

/// Sets a server's administrative state, by the operator or by its agent.
pub(crate) fn administer(backend: &Arc<Backend>, member: &Member, state: AdminState, on_change: &OnChange) {
    let now = Instant::now();
    let returns = {
        let mut server = member.server.state();
        let before = server.admin;
        server.administer(state, now);
        before == AdminState::Maint && state != AdminState::Maint && server.is_up()
    };
    backend.refresh(now);
    on_change(backend, &member.server, returns.then_some(Transition::WentUp));
}

/// What every change of a backend's servers may entail: a word about its last usable one, and the growing weights of a
/// slow start. `first` as for [`Backend::usability`].
pub(crate) fn follow_up(backend: &Arc<Backend>, first: bool) {
    match backend.usability(first) {
        Some(Usability::Lost) => tracing::error!("{}", unusable(&backend.name)),
        Some(Usability::Regained(active)) => {
            tracing::info!("backend {}: sessions are served again; {active} in use", backend.name);
        }
        None => {}
    }
    if backend.begin_warming() {
        spawn_local(warm_up(Arc::clone(backend)));
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
