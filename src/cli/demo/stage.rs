//! Three servers and the balancer before them, as processes; a directory that holds the configuration and the
//! admin socket.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::child::Child;
use super::error::DemoError;
use crate::cli::ask::AdminSocket;
use crate::config::AdminState;
use crate::control::admin::{Request, Status};

/// The processes of a demo.
#[derive(Debug)]
pub(super) struct DemoStage {
    front: SocketAddr,
    admin: DemoAdmin,
    servers: Vec<BuiltInServer>,
    balancer: Child,
    // After the processes that use it: fields are dropped in order.
    directory: Directory,
}

/// One built-in server. Its port stays reserved while it is dead.
#[derive(Debug)]
struct BuiltInServer {
    name: &'static str,
    addr: SocketAddr,
    process: Option<Child>,
    /// Bound and not listening: connections are refused, and the kernel gives the port to no client meanwhile.
    _reserved: Socket,
}

/// The admin socket; requests block a thread other than the runtime's.
#[derive(Debug, Clone)]
pub(super) struct DemoAdmin(AdminSocket);

#[derive(Debug)]
struct Directory(PathBuf);

impl DemoStage {
    /// Starts everything; returns when the balancer has sent READY=1.
    pub(super) async fn set(bind: SocketAddr) -> Result<Self, DemoError> {
        let directory = Directory::new()?;
        let mut servers = Vec::new();
        for name in NAMES {
            let mut server = BuiltInServer::reserve(name).map_err(DemoError::io("cannot get a port"))?;
            server.start().await?;
            servers.push(server);
        }
        let admin = DemoAdmin(AdminSocket::new(Some(directory.path("lb.sock"))));
        let mut balancer = start_balancer(&directory, bind, &servers).await?;
        let front = tokio::select! {
            front = admin.front() => front?,
            ended = balancer.ended() => return Err(DemoError::BalancerEnded(outcome(ended))),
        };
        Ok(Self { front, admin, servers, balancer, directory })
    }

    /// Where the balancer listens.
    pub(super) fn front(&self) -> SocketAddr {
        self.front
    }

    pub(super) fn admin(&self) -> DemoAdmin {
        self.admin.clone()
    }

    /// Resolves with the cause if the balancer ends, which it should not. Cancel safe.
    pub(super) async fn balancer_ended(&mut self) -> DemoError {
        let ended = self.balancer.ended().await;
        let log = self.directory.log_tail();
        DemoError::BalancerEnded(if log.is_empty() { outcome(ended) } else { log })
    }

    /// SIGKILLs a server; returns its pid.
    pub(super) async fn kill_server(&mut self, name: &str) -> Result<u32, DemoError> {
        let server = self.server(name);
        let mut process = server.process.take().expect("the script kills a running server");
        let pid = process.pid().unwrap_or_default();
        process.kill().await.map_err(DemoError::io("cannot kill a server"))?;
        Ok(pid)
    }

    pub(super) async fn return_server(&mut self, name: &str) -> Result<(), DemoError> {
        self.server(name).start().await
    }

    /// As `lb server ready|drain|maint demo/NAME`.
    pub(super) async fn administer(&mut self, name: &str, state: AdminState) -> Result<(), DemoError> {
        let request = Request::SetServer { backend: BACKEND.into(), server: name.into(), state };
        self.admin.ask(request).await.map(drop)
    }

    /// As `lb upgrade`, to this same binary. Returns what `lb upgrade` would print.
    pub(super) async fn upgrade(&mut self) -> Result<String, DemoError> {
        let request = Request::Upgrade { binary: None, probation_ms: Some(PROBATION_MS) };
        let outcome = self.admin.ask(request).await?;
        let message = outcome.get("message").unwrap_or(&outcome);
        Ok(message.as_str().unwrap_or("done").to_owned())
    }

    /// Ends everything in order, so that the summary is printed last.
    pub(super) async fn strike(mut self) {
        self.balancer.end(PATIENCE).await;
        for server in &mut self.servers {
            server.process = None;
        }
        drop(self.directory);
    }

    fn server(&mut self, name: &str) -> &mut BuiltInServer {
        self.servers.iter_mut().find(|server| server.name == name).expect("the script names a server of the stage")
    }
}

impl BuiltInServer {
    fn reserve(name: &'static str) -> std::io::Result<Self> {
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // The server itself binds beside it, which both must allow.
        reserved.set_reuse_address(true)?;
        reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let addr = reserved.local_addr()?.as_socket().expect("an IPv4 socket has an IPv4 address");
        Ok(Self { name, addr, process: None, _reserved: reserved })
    }

    /// Returns when it listens.
    async fn start(&mut self) -> Result<(), DemoError> {
        let failed = |why: String| DemoError::Start { what: format!("server {}", self.name), why };
        let arguments = ["demo-server", "--name", self.name, "--listen", &self.addr.to_string()].map(OsString::from);
        let process = Child::start(&arguments, Signal::SIGKILL, |command| {
            command.stdout(std::process::Stdio::piped());
        });
        let mut process = process.map_err(|error| failed(error.to_string()))?;
        let stdout = process.stdout().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(_))) => {
                self.process = Some(process);
                Ok(())
            }
            _ => Err(failed("it printed nothing".into())),
        }
    }
}

impl DemoAdmin {
    /// Asks once.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, DemoError> {
        let socket = self.0.clone();
        let asked = tokio::task::spawn_blocking(move || socket.ask(&request)).await;
        asked.expect("asking does not panic").map_err(|refusal| DemoError::DemoAdmin(refusal.message))
    }

    pub(super) async fn status(&self) -> Result<Status, DemoError> {
        let value = self.ask(Request::Status).await?;
        serde_json::from_value(value).map_err(|error| DemoError::DemoAdmin(error.to_string()))
    }

    /// The address that the balancer is bound to.
    async fn front(&self) -> Result<SocketAddr, DemoError> {
        let status = self.status().await?;
        let bound = status.frontends.first().and_then(|frontend| frontend.bind.first());
        let bound = bound.and_then(|bound| bound.parse().ok());
        bound.ok_or_else(|| DemoError::DemoAdmin("the status names no bound address".into()))
    }
}

impl Directory {
    fn new() -> Result<Self, DemoError> {
        let name = format!("lb-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(DemoError::io("cannot make a directory"))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The last lines of the balancer's messages.
    fn log_tail(&self) -> String {
        let log = fs::read(self.path("lb.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Something else may have cleaned up the temporary directory.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Starts `lb run -f FILE` and waits for its READY=1, as systemd does.
async fn start_balancer(
    directory: &Directory,
    bind: SocketAddr,
    servers: &[BuiltInServer],
) -> Result<Child, DemoError> {
    let failed = |why: String| DemoError::Start { what: "the balancer".into(), why };
    let file = directory.path("lb.toml");
    let socket = directory.path("lb.sock");
    fs::write(&file, configuration(&socket, bind, servers)).map_err(DemoError::io("cannot write the configuration"))?;
    let log = File::create(directory.path("lb.log")).map_err(DemoError::io("cannot write a log"))?;
    let notify_path = directory.path("notify.sock");
    let notify = UnixDatagram::bind(&notify_path).map_err(DemoError::io("cannot make a notify socket"))?;
    let arguments = [OsString::from("run"), "-f".into(), file.into()];
    let mut balancer = Child::start(&arguments, Signal::SIGINT, |command| {
        command.env("NOTIFY_SOCKET", &notify_path).stderr(log);
    })
    .map_err(|error| failed(error.to_string()))?;
    let started = tokio::select! {
        ready = timeout(PATIENCE, wait_for_ready(&notify)) => match ready {
            Ok(Ok(())) => return Ok(balancer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not ready within {} s", PATIENCE.as_secs()),
        },
        ended = balancer.ended() => outcome(ended),
    };
    let log = directory.log_tail();
    Err(failed(if log.is_empty() { started } else { format!("{started}\n{log}") }))
}

async fn wait_for_ready(notify: &UnixDatagram) -> std::io::Result<()> {
    let mut message = [0; 4096];
    loop {
        let length = notify.recv(&mut message).await?;
        if message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
    }
}

/// What an operator would write, with quicker checks; the summary replaces the session log.
fn configuration(socket: &Path, bind: SocketAddr, servers: &[BuiltInServer]) -> String {
    let servers = servers.iter().map(|server| format!("{} = \"{}\"\n", server.name, server.addr));
    let servers = servers.collect::<String>();
    // A JSON string is a TOML string too.
    let socket = Value::from(socket.to_string_lossy());
    format!(
        r#"[global]
socket = {socket}
hard_stop_after = "2s"
log = {{ sessions = false }}

[frontend.demo]
bind = ["{bind}"]
backend = "{BACKEND}"

[backend.{BACKEND}]
balance = "roundrobin"
replay = "16k"
timeout = {{ connect = "1s" }}
check = {{ type = "http", path = "/check", inter = "200ms", rise = 2, fall = 2 }}

[backend.{BACKEND}.servers]
{servers}"#
    )
}

fn outcome(ended: std::io::Result<std::process::ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The servers; the script names them.
pub(super) const NAMES: [&str; 3] = ["anna", "bert", "carl"];

const BACKEND: &str = "demo";

/// Short, as the demo is.
const PROBATION_MS: u64 = 300;

/// For anything to start or stop.
const PATIENCE: Duration = Duration::from_secs(10);
