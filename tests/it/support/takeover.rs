//! A directory shared by several balancers that take over from each other.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lb::internals::sys::local::{self, LocalKind};
use tempfile::TempDir;

use super::client::HANG;
use super::config::Config;
use super::lb::{Lb, LbOptions};
use super::wait::eventually;

/// The directory, and the configuration with which every balancer in it is started.
#[derive(Debug)]
pub(crate) struct TakeoverDir {
    dir: TempDir,
    config: Config,
}

impl TakeoverDir {
    pub(crate) fn new(config: &Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let config = config.clone();
        Self { dir, config }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The takeover socket: each balancer connects to its predecessor there and accepts its successor.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir().join("handoff.sock")
    }

    /// Options of one more balancer, with a probation short enough for a test.
    pub(crate) fn options(&self) -> LbOptions {
        self.options_with("300ms")
    }

    pub(crate) fn options_with(&self, probation: &str) -> LbOptions {
        self.options_at(&self.path(), probation)
    }

    /// As `options`, with another takeover socket.
    pub(crate) fn options_at(&self, path: &Path, probation: &str) -> LbOptions {
        let path = path.display().to_string();
        Lb::options()
            .config(&self.config)
            .flags(&["--takeover", &path, "--probation", probation])
            .socket(self.dir().join("lb.sock"))
    }

    /// Starts a balancer and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Lb {
        self.options().start()
    }
}

/// Connects to a takeover socket as soon as there is room in its queue.
#[track_caller]
pub(crate) fn connect(path: &Path) -> OwnedFd {
    eventually(HANG, "room at the path", || local::connect(path, LocalKind::Seqpacket).ok())
}

/// Waits for the end of a balancer whose takeover shall fail; returns its exit code and last line.
#[track_caller]
pub(crate) fn failure(mut lb: Lb) -> (i32, String) {
    let code = lb.wait(HANG).code();
    let text = lb.stderr();
    let last = text.lines().rfind(|line| line.starts_with("lb: "));
    let last = last.unwrap_or_else(|| panic!("no message in {text}"));
    (code.expect("an exit code"), last.to_owned())
}

/// Waits until a balancer whose traffic was taken over has ended in good order.
#[track_caller]
pub(crate) fn assert_retires(lb: &mut Lb) {
    let status = lb.wait(HANG);
    assert!(status.success(), "{status}: {}", lb.stderr());
}

/// Waits until `lb` has printed this.
#[track_caller]
pub(crate) fn wait_for_output(lb: &Lb, words: &str) {
    eventually(HANG, words, || lb.stderr().contains(words).then_some(()));
}
