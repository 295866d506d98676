//! Health checks: one task a server, and what live traffic reports in between.
//!
//! A task looks its server up in the current snapshot before each check, so that settings and addresses follow every
//! change. Checks of a server that waits in `rise` while sessions are held for it come faster than `inter`.

mod places;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};

use self::places::ServerPlaces;
use super::probe::{Farewell, ProbedServer, probe};
use crate::backend::health::{CheckResult, CheckStatus, Transition};
use crate::backend::{Backend, Change, Member, Server, Usability};
use crate::config::{self, AdminState, ServerOptions};
use crate::sys::addr::Addr;

/// Called after a server went UP or DOWN, with what changed.
pub(crate) type OnChange = Rc<dyn Fn(&Arc<Backend>, &Arc<Server>, &Change)>;

/// The checks of all backends. Lives on the control thread.
pub(crate) struct Checker {
    tasks: RefCell<HashMap<Key, Task>>,
    on_change: OnChange,
}

/// A server by its identity, which outlives its settings.
type Key = *const Server;

struct Task {
    backend: Arc<Backend>,
    /// Keeps the key's address from being used for another server.
    server: Arc<Server>,
    /// What is checked, and how.
    addr: Addr,
    options: Arc<ServerOptions>,
    wake: Rc<Notify>,
    places: Rc<ServerPlaces>,
    handle: AbortHandle,
}

/// What a live connect found.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    Failed { cause: String, after: Duration },
    TimedOut { after: Duration },
    Slow,
}

/// Between two checks of a server that held sessions wait for, at most.
const URGENT: Duration = Duration::from_millis(250);

/// Between two looks at a server that is not checked at all.
const UNCHECKED: Duration = Duration::from_secs(1);

impl Checker {
    pub(crate) fn new(on_change: OnChange) -> Self {
        Self { tasks: RefCell::default(), on_change }
    }

    /// Starts checks for new servers of `backend`, ends those of servers that left, and checks at once where the address
    /// or the way to check has changed: the next time may be hours away. To be called after each change of its
    /// members. `several`: by name, the places of the servers that may be at more than one.
    pub(crate) fn sync(&self, backend: &Arc<Backend>, several: &HashMap<String, Vec<Addr>>) {
        let members = backend.snapshot().members.clone();
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|_, task| {
            let stays = !Arc::ptr_eq(&task.backend, backend)
                || members.iter().any(|member| Arc::ptr_eq(&member.server, &task.server));
            if !stays {
                task.handle.abort();
            }
            stays
        });
        for member in &members {
            let (server, addr, options) = (&member.server, &member.spec.addr, &member.spec.options);
            let task = tasks.entry(Arc::as_ptr(server)).or_insert_with(|| {
                let (wake, places) = (Rc::new(Notify::new()), Rc::new(ServerPlaces::default()));
                let work = CheckLoop {
                    backend: Arc::clone(backend),
                    server: Arc::clone(server),
                    wake: Rc::clone(&wake),
                    places: Rc::clone(&places),
                    on_change: Rc::clone(&self.on_change),
                };
                let handle = spawn_local(work.run()).abort_handle();
                Task {
                    backend: Arc::clone(backend),
                    server: Arc::clone(server),
                    addr: addr.clone(),
                    options: Arc::clone(options),
                    wake,
                    places,
                    handle,
                }
            });
            task.places.set(several.get(&member.spec.name).cloned().unwrap_or_default());
            if task.addr != *addr || task.options.check != options.check {
                task.wake.notify_one();
            }
            (task.addr, task.options) = (addr.clone(), Arc::clone(options));
        }
        follow_up(backend, false);
    }

    /// Ends all checks of a backend that is gone.
    pub(crate) fn forget(&self, backend: &Arc<Backend>) {
        self.tasks.borrow_mut().retain(|_, task| {
            let other = !Arc::ptr_eq(&task.backend, backend);
            if !other {
                task.handle.abort();
            }
            other
        });
    }

    /// Takes in what traffic saw, and checks the server at once.
    pub(crate) fn observe(&self, backend: &Arc<Backend>, server: &Arc<Server>, seen: Seen) {
        let times = server.take_failures();
        let tasks = self.tasks.borrow();
        let task = tasks.get(&Arc::as_ptr(server));
        if task.is_some_and(|task| task.places.doubt()) {
            // Perhaps it is elsewhere: the check that follows finds out, and counts.
        } else if task.is_some_and(|task| task.options.observe && task.options.check.is_some()) {
            let result = match seen {
                Seen::Failed { cause, after } => Some(CheckResult::new(CheckStatus::L4Con, &cause, after)),
                Seen::TimedOut { after } => {
                    Some(CheckResult::new(CheckStatus::L4Tout, "no answer to a connect", after))
                }
                Seen::Slow => None,
            };
            if let Some(result) = result {
                take_in(backend, server, result.seen_in_traffic(), times, &self.on_change);
            }
        }
        self.check_now(server);
    }

    /// The next check of this server is due now.
    pub(crate) fn check_now(&self, server: &Arc<Server>) {
        if let Some(task) = self.tasks.borrow().get(&Arc::as_ptr(server)) {
            task.wake.notify_one();
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.tasks.get_mut().values().for_each(|task| task.handle.abort());
    }
}

/// The checks of one server.
struct CheckLoop {
    backend: Arc<Backend>,
    server: Arc<Server>,
    wake: Rc<Notify>,
    places: Rc<ServerPlaces>,
    on_change: OnChange,
}

impl CheckLoop {
    /// Checks until the server leaves the backend.
    async fn run(self) {
        let Self { backend, server, wake, .. } = &self;
        // First checks are spread over the interval: a thousand servers are not asked at once.
        let spread = member(backend, server).and_then(|member| Some(member.spec.options.check.as_ref()?.inter));
        let spread = spread.unwrap_or(UNCHECKED);
        rest(backend, server, wake, spread.mul_f64(fastrand::f64())).await;
        while let Some(member) = member(backend, server) {
            let check = member.spec.options.check.as_ref();
            let idle = server.state().admin == AdminState::Maint;
            let farewell = match check {
                Some(check) if !idle => self.check(check, &member).await,
                // A server without checks is always UP, but one that traffic found dead is to be trusted again one day.
                None if !idle && server.is_suspect() => self.rehabilitate(&member).await,
                _ => Farewell::default(),
            };
            let health = server.state().health;
            let interval = match (check, health) {
                (Some(check), Some(health)) => health.next_interval(check),
                _ => UNCHECKED,
            };
            // Jitter of a twentieth keeps servers that once fell into step from staying so.
            let interval = interval.mul_f64(0.975 + fastrand::f64() / 20.0);
            farewell.during(rest(backend, server, wake, interval)).await;
        }
    }

    /// One check. One that would leave the server DOWN, or that traffic asked for, looks at its other places first.
    async fn check(&self, check: &config::Check, member: &Member) -> Farewell {
        let doubted = self.places.take_doubt();
        let (mut result, mut farewell) = places::ask(check, &member.spec.addr, &self.probed(member), doubted).await;
        let last_chance = self.server.state().health.is_some_and(|health| health.is_down_after_failure());
        if !result.status.is_ok()
            && (doubted || last_chance)
            && let Some(found) = self.move_elsewhere(check, member, &result).await
        {
            (result, farewell) = found;
        }
        take_in(&self.backend, &self.server, result, 1, &self.on_change);
        farewell
    }

    fn probed<'a>(&'a self, member: &'a Member) -> ProbedServer<'a> {
        let host = member.spec.host.as_deref();
        ProbedServer { backend: &self.backend.name, name: &self.server.name, host }
    }

    /// Trusts a suspect server again once it takes a connection, at another of its places if not at this one.
    async fn rehabilitate(&self, member: &Member) -> Farewell {
        let check = config::Check::default();
        let (result, farewell) = probe(&check, &member.spec.addr, &self.probed(member)).await;
        // Where the port is each client's, only a session can find out.
        let anywhere = member.spec.port_shift.is_some();
        if anywhere || result.status.is_ok() || self.move_elsewhere(&check, member, &result).await.is_some() {
            self.server.trust();
            self.backend.queue.call(usize::MAX);
        }
        farewell
    }

    /// Moves the server to the first of its other places that passes the check, and returns the result there.
    async fn move_elsewhere(
        &self,
        check: &config::Check,
        member: &Member,
        failed: &CheckResult,
    ) -> Option<(CheckResult, Farewell)> {
        let addr = &member.spec.addr;
        let (place, found) = self.places.find_another(check, addr, &self.probed(member)).await?;
        // Its configuration may be another by now.
        if !self.places.contains(&place) || self::member(&self.backend, &self.server)?.spec.addr != *addr {
            return None;
        }
        let (backend, server) = (&self.backend.name, &self.server.name);
        tracing::warn!(
            "backend {backend}: server {server} does not answer at {addr} ({failed}) but at {place}, which is used"
        );
        self.backend.move_server(&self.server, place, Instant::now());
        follow_up(&self.backend, false);
        Some(found)
    }
}

/// Waits for the next check: its time, a wake-up, or sessions that are held because no server is well.
async fn rest(backend: &Arc<Backend>, server: &Arc<Server>, wake: &Notify, interval: Duration) {
    let until = Instant::now() + interval;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let doubtful = server.is_suspect() || !server.state().is_up();
        let slice = if doubtful { left.min(URGENT) } else { left };
        if timeout(slice, wake.notified()).await.is_ok() || slice == left {
            return;
        }
        if !backend.queue.is_empty() {
            return;
        }
    }
}

/// Records a result, logs it, and does what follows from it.
fn take_in(backend: &Arc<Backend>, server: &Arc<Server>, result: CheckResult, times: u32, on_change: &OnChange) {
    let (ok, told) = (result.status.is_ok(), result.to_string());
    let was_suspect = server.is_suspect();
    let change = backend.record(server, result, times, Instant::now());
    if ok && was_suspect {
        // Sessions that wait because this server let them down may try again.
        backend.queue.call(usize::MAX);
    }
    let Some(change) = change else { return };
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
    on_change(backend, server, &change);
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

fn member(backend: &Backend, server: &Arc<Server>) -> Option<Arc<Member>> {
    let snapshot = backend.snapshot();
    snapshot.members.iter().find(|member| Arc::ptr_eq(&member.server, server)).cloned()
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::backend::{MemberOrigin, MemberSpec};

    #[test]
    fn a_changed_check_does_not_wait_for_the_end_of_the_old_interval() {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = refusing.local_addr().unwrap();
        drop(refusing);
        let settings = Arc::new(config::Backend::new("app", Vec::new()));
        let apply = |backend: &Backend, inter| {
            let check = Some(config::Check { inter, ..config::Check::default() });
            let spec = MemberSpec {
                name: "a".into(),
                addr: addr.into(),
                port_shift: None,
                host: None,
                weight: config::Weight::default(),
                maxconn: None,
                backup: false,
                disabled: false,
                options: Arc::new(ServerOptions { check, ..ServerOptions::default() }),
                drain: false,
                origin: MemberOrigin::Static,
            };
            backend.apply(Arc::clone(&settings), vec![spec], Instant::now()).unwrap();
        };
        // So long that its first check, somewhere within, does not come by chance.
        let backend = Backend::new(Arc::clone(&settings));
        apply(&backend, Duration::from_secs(1 << 30));
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let down = Rc::new(Notify::new());
            let told = Rc::clone(&down);
            let checker = Checker::new(Rc::new(move |_, _, _| told.notify_one()));
            checker.sync(&backend, &HashMap::new());
            tokio::task::yield_now().await;
            apply(&backend, Duration::from_secs(1));
            checker.sync(&backend, &HashMap::new());
            timeout(Duration::from_secs(10), down.notified()).await.unwrap();
        });
    }
}
