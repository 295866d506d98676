//! `Cluster`: an etcd of three members, each in its own network namespace behind one bridge, so that each can be cut
//! off from the other members and from the test. Needs root.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::process::{Process, run};
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Cluster {
    // Dropped in this order: the processes, then what they use.
    members: [Option<Process>; 3],
    net: Bridge,
    runtime: Runtime,
    dir: TempDir,
}

impl Cluster {
    /// Starts three members and waits until there is a leader.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut cluster = Self {
            members: [None, None, None],
            net: Bridge::new(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        for member in 0..3 {
            cluster.restart(member);
        }
        cluster.put("/started", "yes");
        cluster
    }

    /// As written in a configuration.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..3).map(|member| self.endpoint(member)).collect()
    }

    fn endpoint(&self, member: usize) -> String {
        format!("http://{}:2379", self.net.address(member))
    }

    /// Starts a member (again) on its existing data.
    pub(crate) fn restart(&mut self, member: usize) {
        let peer = |member: usize| format!("http://{}:2380", self.net.address(member));
        let all: Vec<String> = (0..3).map(|member| format!("m{member}={}", peer(member))).collect();
        let (client, peer, name) = (self.endpoint(member), peer(member), format!("m{member}"));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.net.member(member), "etcd", "--name", &name]).arg("--data-dir");
        command
            .arg(self.dir.path().join(&name))
            .args(["--log-level", "warn", "--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(",")]);
        self.members[member] = Some(Process::start(&name, self.dir.path(), &command));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].take() {
            process.kill();
        }
    }

    /// Cuts the member off: packets to and from it vanish.
    pub(crate) fn cut_off(&self, member: usize) {
        self.net.set(member, "down");
    }

    pub(crate) fn reconnect(&self, member: usize) {
        self.net.set(member, "up");
    }

    /// The present leader.
    #[track_caller]
    pub(crate) fn leader(&self) -> usize {
        eventually(PATIENCE, "a leader", || (0..3).find(|member| self.leads(*member)))
    }

    fn leads(&self, member: usize) -> bool {
        let Some(mut client) = self.try_connect(&[self.endpoint(member)]) else {
            return false;
        };
        let status = self.runtime.block_on(async { timeout(ANSWER, client.status()).await });
        let Ok(Ok(status)) = status else {
            return false;
        };
        status.header().is_some_and(|header| header.member_id() == status.leader())
    }

    /// Puts through any member that accepts it.
    #[track_caller]
    pub(crate) fn put(&self, key: &str, value: &str) {
        eventually(PATIENCE, "a put", || {
            (0..3).find_map(|member| {
                let mut client = self.try_connect(&[self.endpoint(member)])?;
                let put = client.put(key, value, None);
                self.runtime.block_on(async { timeout(ANSWER, put).await }).ok()?.ok()
            })
        });
    }

    fn try_connect(&self, endpoints: &[String]) -> Option<Client> {
        let options = ConnectOptions::new().with_connect_timeout(ANSWER);
        self.runtime.block_on(async { Client::connect(endpoints, Some(options)).await.ok() })
    }
}

/// A bridge in its own namespace, with the namespaces of three members and an interface of the test attached.
#[derive(Debug)]
struct Bridge {
    number: u32,
}

impl Bridge {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = (std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed)) % 16;
        let bridge = Self { number };
        let hub = bridge.hub();
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link add br0 type bridge"));
        ip(&format!("-n {hub} link set br0 up"));
        ip(&format!("link add {hub}n type veth peer name us netns {hub}"));
        ip(&format!("addr add {}/28 dev {hub}n", bridge.host(14)));
        ip(&format!("link set {hub}n up"));
        bridge.attach("us");
        for member in 0..3 {
            let name = bridge.member(member);
            ip(&format!("netns add {name}"));
            ip(&format!("-n {hub} link add p{member} type veth peer name eth0 netns {name}"));
            ip(&format!("-n {name} addr add {}/28 dev eth0", bridge.address(member)));
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set eth0 up"));
            bridge.attach(&format!("p{member}"));
        }
        bridge
    }

    fn attach(&self, port: &str) {
        ip(&format!("-n {} link set {port} master br0", self.hub()));
        ip(&format!("-n {} link set {port} up", self.hub()));
    }

    fn set(&self, member: usize, state: &str) {
        ip(&format!("-n {} link set p{member} {state}", self.hub()));
    }

    fn hub(&self) -> String {
        format!("lbe{}", self.number)
    }

    fn member(&self, member: usize) -> String {
        format!("lbe{}m{member}", self.number)
    }

    fn address(&self, member: usize) -> String {
        self.host(member as u32 + 1)
    }

    /// From 203.0.113.0/24, which is reserved for documentation (RFC 5737): 16 of them fit side by side.
    fn host(&self, host: u32) -> String {
        format!("203.0.113.{}", self.number * 16 + host)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let names = (0..3).map(|member| self.member(member)).chain([self.hub()]);
        for name in names {
            // Also removes the interfaces.
            drop(Command::new("ip").args(["netns", "del", &name]).status());
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    let mut command = Command::new("ip");
    let output = run(command.args(arguments.split(' ')), ANSWER);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error} (network namespaces need root)");
}

const PATIENCE: Duration = Duration::from_secs(30);

const ANSWER: Duration = Duration::from_secs(2);
