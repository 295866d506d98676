//! `Etcd`: a real etcd of one member with its own directory and reserved ports. It can be killed, stopped (SIGSTOP) and
//! continued, compacted, restored from a snapshot, given users, and reached over TLS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, CompactionOptions, ConnectOptions, DeleteOptions, GetOptions, Identity, PutOptions,
    TlsOptions, Txn,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::certificates::Certificates;
use super::port::Port;
use super::process::{Process, run};
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Etcd {
    // Dropped in this order: the process, then what it uses.
    process: Option<Process>,
    runtime: Runtime,
    client: Port,
    peer: Port,
    certificates: Option<Certificates>,
    /// Name and password, once authentication is on.
    user: Option<(String, String)>,
    /// Counts restores: each has its own data directory.
    data: u32,
    dir: TempDir,
}

impl Etcd {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut etcd = Self::prepared(None);
        etcd.restart();
        etcd
    }

    /// As `start`, over TLS, for clients with a certificate only.
    #[track_caller]
    pub(crate) fn start_tls() -> Self {
        let mut etcd = Self::prepared(Some(Certificates::new()));
        etcd.restart();
        etcd
    }

    /// An etcd that does not run yet.
    pub(crate) fn stopped() -> Self {
        Self::prepared(None)
    }

    fn prepared(certificates: Option<Certificates>) -> Self {
        Self {
            process: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: Port::reserve(),
            peer: Port::reserve(),
            certificates,
            user: None,
            data: 0,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// As written in a configuration.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.client.addr())
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("this etcd was started with TLS")
    }

    /// Starts it (again) on its existing data and waits until it answers.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.spawn();
        eventually(PATIENCE, "an answer of etcd", || self.revision_now());
    }

    /// Starts it without waiting for an answer.
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "etcd runs already");
        let mut command = Command::new("etcd");
        let (client, peer) = (self.endpoint(), format!("http://{}", self.peer.addr()));
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--name", "one", "--log-level", "warn", "--heartbeat-interval", "50", "--election-timeout", "250"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")]);
        if let Some(files) = &self.certificates {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(files.ca());
            command.arg("--cert-file").arg(files.server_cert()).arg("--key-file").arg(files.server_key());
        }
        self.process = Some(Process::start("etcd", self.dir.path(), &command));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGSTOP: it keeps its sockets and does not answer.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("etcd runs").signal(signal);
    }

    /// A copy of the present contents.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let path = self.dir.path().join(format!("snapshot-{}", self.data));
        self.ctl(&["snapshot", "save", &path.display().to_string()]);
        path
    }

    /// Goes back to a snapshot, as an operator does after a loss. `token` makes it another cluster; the same one keeps
    /// the id.
    #[track_caller]
    pub(crate) fn restore(&mut self, snapshot: &Path, token: &str) {
        self.restore_stopped(snapshot, token);
        self.restart();
    }

    /// As `restore`, without starting it.
    pub(crate) fn restore_stopped(&mut self, snapshot: &Path, token: &str) {
        self.kill();
        self.data += 1;
        let peer = format!("http://{}", self.peer.addr());
        self.ctl(&[
            "snapshot",
            "restore",
            &snapshot.display().to_string(),
            "--data-dir",
            &self.data_dir().display().to_string(),
            "--name",
            "one",
            "--initial-cluster",
            &format!("one={peer}"),
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster-token",
            token,
        ]);
    }

    /// Runs `story` against this etcd on an unknown port, so that it is away for every other client. It does not run
    /// before and after.
    pub(crate) fn on_another_port(&mut self, story: impl FnOnce(&Self)) {
        let known = std::mem::replace(&mut self.client, Port::reserve());
        self.restart();
        story(self);
        self.kill();
        self.client = known;
    }

    /// Runs etcdctl, which must succeed.
    #[track_caller]
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint()]).args(arguments);
        if let Some((name, password)) = &self.user {
            command.arg(format!("--user={name}:{password}"));
        }
        if let Some(files) = &self.certificates {
            command.arg("--cacert").arg(files.ca());
            command.arg("--cert").arg(files.client_cert()).arg("--key").arg(files.client_key());
        }
        let output = run(&command, PATIENCE);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {text}{error}");
        text
    }

    /// Enables authentication, with a root user of this password.
    pub(crate) fn require_password(&mut self, password: &str) {
        self.ctl(&["user", "add", &format!("root:{password}")]);
        self.ctl(&["user", "grant-role", "root", "root"]);
        self.ctl(&["auth", "enable"]);
        self.user = Some(("root".to_owned(), password.to_owned()));
    }

    /// Changes root's password.
    pub(crate) fn change_password(&mut self, password: &str) {
        let mut client = self.connect();
        self.run(client.user_change_password("root", password)).unwrap();
        self.user = Some(("root".to_owned(), password.to_owned()));
    }

    /// A client on the test's own runtime.
    pub(crate) fn connect(&self) -> Client {
        self.try_connect().expect("etcd answers")
    }

    fn try_connect(&self) -> Option<Client> {
        let mut options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(1));
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        if let Some(files) = &self.certificates {
            let read = |path: &Path| std::fs::read(path).unwrap();
            let identity = Identity::from_pem(read(files.client_cert()), read(files.client_key()));
            let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(files.ca())));
            options = options.with_tls(tls.identity(identity));
        }
        self.run(async { Client::connect([self.endpoint()], Some(options)).await.ok() })
    }

    /// Runs a future of a client.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// `None`: etcd does not answer.
    fn revision_now(&self) -> Option<i64> {
        let mut client = self.try_connect()?;
        let get = client.get("x", None);
        let answer = self.run(async { timeout(Duration::from_secs(1), get).await });
        Some(answer.ok()?.ok()?.header()?.revision())
    }

    /// The current revision.
    #[track_caller]
    pub(crate) fn revision(&self) -> i64 {
        self.revision_now().expect("etcd answers")
    }

    /// Returns the revision.
    #[track_caller]
    pub(crate) fn put(&self, key: &str, value: &str) -> i64 {
        let mut client = self.connect();
        let answer = self.run(client.put(key, value, None)).unwrap();
        answer.header().unwrap().revision()
    }

    /// Puts under a new lease of this many seconds, which is not kept alive.
    #[track_caller]
    pub(crate) fn put_leased(&self, key: &str, value: &str, ttl: i64) -> i64 {
        let mut client = self.connect();
        self.run(async {
            let lease = client.lease_grant(ttl, None).await.unwrap().id();
            let options = PutOptions::new().with_lease(lease);
            client.put(key, value, Some(options)).await.unwrap();
            lease
        })
    }

    /// Ends a lease as its expiry does.
    pub(crate) fn revoke(&self, lease: i64) {
        let mut client = self.connect();
        self.run(client.lease_revoke(lease)).unwrap();
    }

    /// Ends all leases.
    pub(crate) fn revoke_all(&self) {
        let mut client = self.connect();
        let leases = self.run(client.leases()).unwrap();
        leases.leases().iter().for_each(|lease| self.revoke(lease.id()));
    }

    /// The number of leases.
    pub(crate) fn leases(&self) -> usize {
        let mut client = self.connect();
        self.run(client.leases()).unwrap().leases().len()
    }

    #[track_caller]
    pub(crate) fn delete(&self, key: &str) {
        let mut client = self.connect();
        self.run(client.delete(key, None)).unwrap();
    }

    #[track_caller]
    pub(crate) fn delete_prefix(&self, prefix: &str) {
        let mut client = self.connect();
        let options = DeleteOptions::new().with_prefix();
        self.run(client.delete(prefix, Some(options))).unwrap();
    }

    /// Several changes at one revision.
    #[track_caller]
    pub(crate) fn transact(&self, operations: Vec<etcd_client::TxnOp>) {
        let mut client = self.connect();
        self.run(client.txn(Txn::new().and_then(operations))).unwrap();
    }

    /// Discards the history before this revision.
    #[track_caller]
    pub(crate) fn compact(&self, revision: i64) {
        let mut client = self.connect();
        let options = CompactionOptions::new().with_physical();
        self.run(client.compact(revision, Some(options))).unwrap();
    }

    /// Names after the prefix and values.
    #[track_caller]
    pub(crate) fn all(&self, prefix: &str) -> Vec<(String, String)> {
        let mut client = self.connect();
        let answer = self.run(client.get(prefix, Some(GetOptions::new().with_prefix()))).unwrap();
        let pairs = answer.kvs().iter().map(|kv| {
            let name = kv.key_str().unwrap()[prefix.len()..].to_owned();
            (name, kv.value_str().unwrap().to_owned())
        });
        pairs.collect()
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join(format!("data-{}", self.data))
    }
}

/// Deadline for any operation of etcd.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_etcd_forgets_nothing_when_killed_and_goes_back_when_restored() {
    let mut etcd = Etcd::start();
    etcd.put("/a", "1");
    let snapshot = etcd.snapshot();
    let revision = etcd.put("/a", "2");
    etcd.kill();
    etcd.restart();
    assert_eq!(etcd.all("/"), [("a".to_owned(), "2".to_owned())]);
    etcd.restore(&snapshot, "another");
    assert_eq!(etcd.all("/"), [("a".to_owned(), "1".to_owned())]);
    assert!(etcd.revision() < revision);
}
