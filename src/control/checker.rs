//! Health checks: one task a server, and what live traffic reports in between.
//!
//! A task looks its server up in the current snapshot before each check, so that settings and addresses follow every
//! change. Checks of a server that waits in `rise` while sessions are held for it come faster than `inter`.

mod agent;
mod agent_reply;
mod outcome;
mod places;
mod sentences;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use self::agent::follow_agent;
pub(crate) use self::outcome::{Consequences, OnChange, unusable};
use self::places::ServerPlaces;
pub(crate) use self::sentences::Cause;
use super::probe::{Farewell, ProbedServer, probe};
use crate::backend::health::{CheckResult, CheckStatus};
use crate::backend::{Backend, Member, Server};
use crate::config::{self, AdminState, OnError, ServerOptions};
use crate::sys::addr::Addr;

/// The checks of all backends. Lives on the control thread.
pub(crate) struct Checker {
    tasks: RefCell<HashMap<Key, Task>>,
    consequences: Rc<Consequences>,
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
    agent: Option<AbortHandle>,
}

impl Task {
    /// Begins, ends or changes to ask its agent.
    fn ask_agent(&mut self, before: Option<&config::Agent>, consequences: &Rc<Consequences>) {
        let agent = self.options.agent.as_ref();
        if self.agent.is_some() == agent.is_some() && before == agent {
            return;
        }
        let (backend, server, wake) = (&self.backend, &self.server, &self.wake);
        let work = || follow_agent(Arc::clone(backend), Arc::clone(server), Rc::clone(wake), Rc::clone(consequences));
        let started = agent.map(|_| spawn_local(work()).abort_handle());
        if let Some(before) = std::mem::replace(&mut self.agent, started) {
            before.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
        self.agent.iter().for_each(AbortHandle::abort);
    }
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
    pub(crate) fn new(consequences: Rc<Consequences>) -> Self {
        Self { tasks: RefCell::default(), consequences }
    }

    /// Starts checks for new servers of `backend`, ends those of servers that left, and checks at once where the address
    /// or the way to check has changed: the next time may be hours away. To be called after each change of its
    /// members. `several`: by name, the places of the servers that may be at more than one.
    pub(crate) fn sync(&self, backend: &Arc<Backend>, several: &HashMap<String, Vec<Addr>>) {
        let members = backend.snapshot().members.clone();
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|_, task| {
            !Arc::ptr_eq(&task.backend, backend)
                || members.iter().any(|member| Arc::ptr_eq(&member.server, &task.server))
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
                    consequences: Rc::clone(&self.consequences),
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
                    agent: None,
                }
            });
            task.places.set(several.get(&member.spec.name).cloned().unwrap_or_default());
            if task.addr != *addr || task.options.check != options.check {
                task.wake.notify_one();
            }
            task.addr = addr.clone();
            let before = std::mem::replace(&mut task.options, Arc::clone(options));
            task.ask_agent(before.agent.as_ref(), &self.consequences);
        }
        self.consequences.follow_up(backend, false);
    }

    /// Ends all checks of a backend that is gone.
    pub(crate) fn forget(&self, backend: &Arc<Backend>) {
        self.tasks.borrow_mut().retain(|_, task| !Arc::ptr_eq(&task.backend, backend));
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
            if let (Some(result), Some(task)) = (result, task) {
                self.count(backend, server, &task.options, result.seen_in_traffic(), times);
            }
        }
        self.check_now(server);
    }

    /// Takes in that live connects failed, `times` since the last call.
    fn count(
        &self,
        backend: &Arc<Backend>,
        server: &Arc<Server>,
        options: &ServerOptions,
        result: CheckResult,
        times: u32,
    ) {
        let times = if options.error_limit > 1 { server.take_errors(options.error_limit) } else { times };
        let failures_left = match options.on_error {
            OnError::FastInter => return,
            OnError::FailCheck => None,
            OnError::SuddenDeath => Some(2),
            OnError::MarkDown => Some(1),
        };
        if times == 0 {
            return;
        }
        if let (Some(left), Some(health)) = (failures_left, &mut server.state().health) {
            health.weaken(left);
        }
        self.consequences.take_in(backend, server, result, times);
    }

    /// The next check of this server is due now.
    pub(crate) fn check_now(&self, server: &Arc<Server>) {
        if let Some(task) = self.tasks.borrow().get(&Arc::as_ptr(server)) {
            task.wake.notify_one();
        }
    }
}

/// The checks of one server.
struct CheckLoop {
    backend: Arc<Backend>,
    server: Arc<Server>,
    wake: Rc<Notify>,
    places: Rc<ServerPlaces>,
    consequences: Rc<Consequences>,
}

impl CheckLoop {
    /// Checks until the server leaves the backend.
    async fn run(self) {
        let Self { backend, server, wake, .. } = &self;
        // First checks are spread over the interval: a thousand servers are not asked at once.
        let spread = backend.member_of(server).and_then(|member| Some(member.spec.options.check.as_ref()?.inter));
        let spread = spread.unwrap_or(UNCHECKED);
        rest(backend, server, wake, spread.mul_f64(fastrand::f64())).await;
        while let Some(member) = backend.member_of(server) {
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
        self.consequences.take_in(&self.backend, &self.server, result, 1);
        farewell
    }

    fn probed<'a>(&'a self, member: &'a Member) -> ProbedServer<'a> {
        let host = member.spec.host.as_deref();
        ProbedServer {
            backend: &self.backend.name,
            name: &self.server.name,
            host,
            maxconn: member.maxconn().unwrap_or_default(),
            sessions: member.server.sessions(),
        }
    }

    /// Trusts a suspect server again once it takes a connection, at another of its places if not at this one.
    async fn rehabilitate(&self, member: &Member) -> Farewell {
        if member.spec.port_shift.is_some() {
            // Where the port is each client's, only a session can find out. One that has just been refused is not called to
            // try again before its time: nothing was found well.
            self.server.trust();
            return Farewell::default();
        }
        let check = config::Check::default();
        let (result, farewell) = probe(&check, &member.spec.addr, &self.probed(member)).await;
        if result.status.is_ok() || self.move_elsewhere(&check, member, &result).await.is_some() {
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
        if !self.places.contains(&place) || self.backend.member_of(&self.server)?.spec.addr != *addr {
            return None;
        }
        let (backend, server) = (&self.backend.name, &self.server.name);
        tracing::warn!(
            "backend {backend}: server {server} does not answer at {addr} ({failed}) but at {place}, which is used"
        );
        self.backend.move_server(&self.server, place, Instant::now());
        self.consequences.follow_up(&self.backend, false);
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

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::backend::{MemberOrigin, MemberSpec};
    use crate::log::SessionLog;

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
            let checker = Checker::new(Consequences::new(
                Rc::new(move |_, _, _| told.notify_one()),
                SessionLog::start(0, Vec::new()).unwrap(),
            ));
            checker.sync(&backend, &HashMap::new());
            tokio::task::yield_now().await;
            apply(&backend, Duration::from_secs(1));
            checker.sync(&backend, &HashMap::new());
            timeout(Duration::from_secs(10), down.notified()).await.unwrap();
        });
    }
}
