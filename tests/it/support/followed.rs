//! `Followed`: a prefix followed by the library in this process, which records every set that was applied.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lb::internals::backend::{Backend, MemberOrigin, MemberSpec};
use lb::internals::backend::{CheckResult, CheckStatus, Health};
use lb::internals::config::{self, Fall, InitState, Rise};
use lb::internals::control::Saved;
use lb::internals::control::{Discovered, Servers};
use lb::internals::control::{Follower, FoundServers, Options, SourceStatus};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::machine::Stopwatch;
use super::wait::eventually;

/// Names and addresses of servers.
pub(crate) type Set = BTreeMap<String, String>;

pub(crate) struct Followed {
    /// What is to be asked of the follower, on its thread. `None`: it is ended.
    questions: Option<UnboundedSender<Question>>,
    backend: Arc<Backend>,
    applied: Arc<Sets>,
    thread: Option<JoinHandle<()>>,
}

type Sets = Mutex<Vec<(Instant, Set)>>;
type Question = Box<dyn FnOnce(&Follower) + Send>;

/// The settings of a follower of `/app/` beside its endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    pub(crate) etcd: config::Etcd,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) resume: Option<Saved>,
}

impl Following {
    /// With the guard switched off.
    pub(crate) fn new(endpoints: &[String]) -> Self {
        let etcd = config::Etcd {
            endpoints: endpoints.to_vec(),
            username: None,
            password_file: None,
            ca: None,
            cert: None,
            key: None,
            guard_delay: Duration::ZERO,
        };
        Self { etcd, state_dir: None, resume: None }
    }

    /// Starts it on its own thread, as the control plane does.
    pub(crate) fn start(self) -> Followed {
        let backend = Backend::new(Arc::new(config::Backend::new("app", Vec::new())));
        let applied = Arc::new(Mutex::new(Vec::new()));
        let (questions, asked) = unbounded_channel();
        let options = Options {
            backend: backend.clone(),
            prefix: "/app/".to_owned(),
            etcd: self.etcd,
            state_dir: self.state_dir,
            resume: self.resume,
        };
        let (its_backend, sets) = (backend.clone(), applied.clone());
        let (started, is_started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async {
                let (sender, mut found) = unbounded_channel();
                let follower = Follower::spawn(options, sender);
                // The last known set is there at once.
                while let Ok(found) = found.try_recv() {
                    apply(&its_backend, &found.servers, &sets);
                }
                started.send(()).unwrap();
                serve(&follower, asked, found, &its_backend, &sets).await;
            });
        });
        is_started.recv().unwrap();
        Followed { questions: Some(questions), backend, applied, thread: Some(thread) }
    }
}

/// Applies what is found and answers questions, until no more can come.
async fn serve(
    follower: &Follower,
    mut asked: UnboundedReceiver<Question>,
    mut found: UnboundedReceiver<FoundServers>,
    backend: &Backend,
    sets: &Sets,
) {
    loop {
        tokio::select! {
            biased;
            Some(found) = found.recv() => apply(backend, &found.servers, sets),
            question = asked.recv() => match question {
                Some(question) => question(follower),
                None => return,
            },
        }
    }
}

fn apply(backend: &Backend, servers: &Servers, sets: &Sets) {
    let spec = |(name, server): (&String, &Discovered)| MemberSpec {
        name: name.clone(),
        port_shift: None,
        host: None,
        addr: SocketAddr::from(([10, 0, 0, 1], 80)).into(),
        weight: server.weight,
        maxconn: server.maxconn,
        backup: server.backup,
        disabled: false,
        options: Arc::default(),
        drain: server.drain,
        origin: MemberOrigin::Discovered,
    };
    let settings = backend.snapshot().settings.clone();
    backend.apply(settings, servers.iter().map(spec).collect(), Instant::now()).unwrap();
    sets.lock().unwrap().push((Instant::now(), set_of(servers)));
}

impl Followed {
    pub(crate) fn status(&self) -> SourceStatus {
        self.ask(Follower::status)
    }

    pub(crate) fn saved(&self) -> Option<Saved> {
        self.ask(Follower::saved)
    }

    pub(crate) fn accept(&self) -> usize {
        self.ask(Follower::accept)
    }

    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Follower) -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let question: Question = Box::new(move |follower| answer.send(question(follower)).unwrap());
        assert!(self.questions.as_ref().unwrap().send(question).is_ok(), "the follower's thread has ended");
        answered.recv().unwrap()
    }

    /// The set that is applied at present.
    pub(crate) fn now(&self) -> Set {
        self.applied.lock().unwrap().last().map(|(_, set)| set.clone()).unwrap_or_default()
    }

    /// Every set that was applied, in order.
    pub(crate) fn sets(&self) -> Vec<(Instant, Set)> {
        self.applied.lock().unwrap().clone()
    }

    /// Makes the server's checks fail (or pass again) from now on.
    pub(crate) fn set_failing(&self, name: &str, fails: bool) {
        let snapshot = self.backend.snapshot();
        let member = snapshot.members.iter().find(|member| &*member.server.name == name).unwrap();
        let init = if fails { InitState::FullyDown } else { InitState::FullyUp };
        let mut state = member.server.state();
        state.health = Some(Health::new(Rise::new(2), Fall::new(3), init));
        let status = if fails { CheckStatus::L4Con } else { CheckStatus::L4Ok };
        state.history.push(CheckResult::new(status, "", Duration::ZERO));
    }

    /// Waits until the set consists of these names; returns how long that took.
    #[track_caller]
    pub(crate) fn wait_for(&self, names: &[&str], deadline: Duration) -> Duration {
        let watch = Stopwatch::start();
        let is = || self.now().into_keys().eq(names.iter().map(|&name| name.to_owned()));
        let what = format!("{names:?}; it is {:?}, {:?}", self.now(), self.status());
        eventually(deadline, &what, || is().then_some(()));
        watch.elapsed()
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn set_of(servers: &Servers) -> Set {
    servers.iter().map(|(name, server)| (name.clone(), server.addr.to_string())).collect()
}
