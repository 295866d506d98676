//! A real Redis, a primary or a replica.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::port::Port;
use super::process::{Process, run};
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
    port: Port,
    _dir: TempDir,
}

impl Redis {
    #[track_caller]
    pub(crate) fn primary() -> Self {
        Self::start(&[])
    }

    #[track_caller]
    pub(crate) fn replica_of(primary: &Self) -> Self {
        Self::start(&["--replicaof", "127.0.0.1", &primary.port.number().to_string()])
    }

    #[track_caller]
    fn start(options: &[&str]) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.number().to_string()]);
        command.arg("--dir").arg(dir.path()).args(options);
        let process = Process::start("redis", dir.path(), &command);
        eventually(Duration::from_secs(10), "redis accepts", || TcpStream::connect(port.addr()).ok());
        Self { process, port, _dir: dir }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Makes a replica the primary.
    #[track_caller]
    pub(crate) fn promote(&self) {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string(), "replicaof", "no", "one"]);
        assert!(run(&command, Duration::from_secs(10)).status.success());
    }
}
