//! `Followed`: a prefix followed by the library in this process, which records every set that was applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lb::config;
use lb::control::discovery::Servers;
use lb::control::etcd::{Follower, Options, SourceStatus};
use lb::control::last_known_good::Saved;
use tokio::sync::oneshot;

use super::machine::Stopwatch;
use super::wait::eventually;

/// Names and addresses of servers.
pub(crate) type Set = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Followed {
    follower: Arc<Follower>,
    applied: Arc<Mutex<Vec<(Instant, Set)>>>,
    failing: Arc<Mutex<BTreeSet<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

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
        let applied = Arc::new(Mutex::new(Vec::new()));
        let failing = Arc::new(Mutex::new(BTreeSet::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, follower) = mpsc::channel();
        let (sets, failures) = (applied.clone(), failing.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = Options {
                    backend: "app".to_owned(),
                    prefix: "/app/".to_owned(),
                    etcd: self.etcd,
                    state_dir: self.state_dir,
                    resume: self.resume,
                };
                let apply = move |servers: &Arc<Servers>| sets.lock().unwrap().push((Instant::now(), set_of(servers)));
                let passes = move |name: &str| !failures.lock().unwrap().contains(name);
                let follower = Follower::spawn(options, Box::new(apply), Box::new(passes));
                started.send(Arc::new(follower)).unwrap();
                drop(stopped.await);
            });
        });
        let follower = follower.recv().unwrap();
        Followed { follower, applied, failing, stop: Some(stop), thread: Some(thread) }
    }
}

impl Followed {
    pub(crate) fn status(&self) -> SourceStatus {
        self.follower.status()
    }

    pub(crate) fn saved(&self) -> Option<Saved> {
        self.follower.saved()
    }

    pub(crate) fn accept(&self) -> usize {
        self.follower.accept()
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
        let mut failing = self.failing.lock().unwrap();
        if fails {
            failing.insert(name.to_owned());
        } else {
            failing.remove(name);
        }
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

impl Drop for Followed {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn set_of(servers: &Servers) -> Set {
    servers.iter().map(|(name, server)| (name.clone(), server.addr.to_string())).collect()
}
