//! The contestants and their configurations: one thread per core, the same time-outs, no logs, no checks, Nagle off.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::setup::{Balance, Setup};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balancer {
    /// No balancer: clients connect to the origin.
    Direct,
    Haproxy,
    /// With `option splice-auto`.
    HaproxySplice,
    /// Another version, given by `--newest`, in its default configuration.
    HaproxyNewest,
    Nginx,
    /// With splice.
    Sozu,
    Lb,
    /// With `defer_accept`.
    LbDefer,
    /// Another build of `lb`, given by `--other`, to measure a change.
    Other,
}

impl Balancer {
    pub(crate) const ALL: [Self; 9] = [
        Self::Direct,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::HaproxyNewest,
        Self::Nginx,
        Self::Sozu,
        Self::Lb,
        Self::LbDefer,
        Self::Other,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::HaproxyNewest => "haproxy-newest",
            Self::Nginx => "nginx",
            Self::Sozu => "sozu",
            Self::Lb => "lb",
            Self::LbDefer => "lb-defer",
            Self::Other => "lb-other",
        }
    }

    /// The version as the program prints it; `None`: it is not available.
    pub(crate) fn version(self) -> Option<String> {
        match self {
            Self::Direct => Some(String::new()),
            Self::Haproxy | Self::HaproxySplice => version("haproxy", "-v"),
            Self::HaproxyNewest => version(given(&NEWEST), "-v"),
            Self::Nginx if !has_stream() => None,
            Self::Nginx => version("nginx", "-v"),
            // The second line lists its features.
            Self::Sozu => output_of("sozu", "--version")
                .filter(|text| text.contains("+splice"))
                .and_then(|text| Some(text.lines().next()?.to_owned())),
            Self::Lb | Self::LbDefer => version(LB, "--version"),
            Self::Other => version(given(&OTHER), "--version"),
        }
    }

    pub(crate) fn command(self, file: &Path, dir: &Path) -> Command {
        match self {
            Self::Direct => unreachable!("direct runs no program"),
            Self::Haproxy | Self::HaproxySplice | Self::HaproxyNewest => {
                let newest = self == Self::HaproxyNewest;
                let mut command = Command::new(if newest { given(&NEWEST) } else { "haproxy" });
                command.arg("-db").arg("-f").arg(file);
                command
            }
            Self::Nginx => {
                let mut command = Command::new("nginx");
                command.arg("-p").arg(dir).arg("-c").arg(file).args(["-e", "stderr"]);
                command
            }
            Self::Sozu => {
                let mut command = Command::new("sozu");
                command.arg("--config").arg(file).arg("start");
                command
            }
            Self::Lb | Self::LbDefer | Self::Other => {
                let other = self == Self::Other;
                let mut command = Command::new(if other { given(&OTHER) } else { LB });
                command.args(["run", "-f"]).arg(file).env("LB_LOG", "warn");
                command
            }
        }
    }

    /// The text of its configuration.
    pub(crate) fn config(self, bind: SocketAddr, servers: &[SocketAddr], setup: &Setup, dir: &Path) -> String {
        match self {
            Self::Direct => String::new(),
            Self::Haproxy | Self::HaproxyNewest => haproxy(bind, servers, setup, ""),
            Self::HaproxySplice => haproxy(bind, servers, setup, " option splice-auto\n"),
            Self::Nginx => nginx(bind, servers, setup, dir),
            Self::Sozu => sozu(bind, servers, dir),
            Self::Lb | Self::Other => lb(bind, servers, setup, dir, false),
            Self::LbDefer => lb(bind, servers, setup, dir, true),
        }
    }
}

/// The release build that cargo made beside this program.
const LB: &str = env!("CARGO_BIN_EXE_lb");

fn given(path: &'static OnceLock<String>) -> &'static str {
    path.get().map_or("", String::as_str)
}

/// Paths of the other build of `lb` and of the other HAProxy; set once, before the first use.
pub(crate) static OTHER: OnceLock<String> = OnceLock::new();
pub(crate) static NEWEST: OnceLock<String> = OnceLock::new();

/// The first line of a program's output; `None`: it cannot be run.
fn version(program: &str, argument: &str) -> Option<String> {
    Some(output_of(program, argument)?.lines().next()?.to_owned())
}

/// A program's output; `None`: it cannot be run.
fn output_of(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn haproxy(bind: SocketAddr, servers: &[SocketAddr], setup: &Setup, option: &str) -> String {
    let balance = match setup.balance {
        Balance::RoundRobin => "roundrobin",
        Balance::LeastConn => "leastconn",
        // One draw is the default; two make it the algorithm of the others.
        Balance::Random => "random(2)",
        Balance::Source => "source\n hash-type consistent",
    };
    let mut text = format!(
        "global\n maxconn 6000\n nbthread {}\ndefaults\n mode tcp\n maxconn 6000\n retries 3\n option redispatch\n \
         timeout connect 5s\n timeout client 50s\n timeout server 50s\n timeout queue 5s\n{option}\
         frontend web\n bind {bind}\n default_backend app\nbackend app\n balance {balance}\n",
        setup.threads
    );
    for (index, server) in servers.iter().enumerate() {
        writeln!(text, " server s{index} {server}").ok();
    }
    text
}

fn nginx(bind: SocketAddr, servers: &[SocketAddr], setup: &Setup, dir: &Path) -> String {
    let balance = match setup.balance {
        Balance::RoundRobin => "",
        Balance::LeastConn => "least_conn;",
        Balance::Random => "random two least_conn;",
        Balance::Source => "hash $remote_addr consistent;",
    };
    let dir = dir.display();
    let (module, threads) = (NGINX_STREAM, setup.threads);
    // Without a master process there is one process, which is the server.
    let (master, reuseport) = if threads > 1 { ("on", " reuseport") } else { ("off", "") };
    let load = if Path::new(module).exists() { format!("load_module {module};") } else { String::new() };
    let mut text = format!(
        "{load}\nmaster_process {master};\ndaemon off;\nworker_processes {threads};\npid {dir}/pid;\n\
         error_log stderr crit;\nevents {{ worker_connections 12000; }}\nstream {{\n\
         proxy_connect_timeout 5s;\nproxy_timeout 50s;\ntcp_nodelay on;\n\
         server {{ listen {bind} backlog=4096{reuseport}; proxy_pass app; }}\n\
         upstream app {{ {balance}\n"
    );
    for server in servers {
        writeln!(text, "server {server};").ok();
    }
    text + "}\n}\n"
}

/// Its place in Debian's package; elsewhere it may be built in.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn has_stream() -> bool {
    let built = Command::new("nginx").arg("-V").output();
    let text = built.map(|output| output.stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Path::new(NGINX_STREAM).exists() || text.contains("--with-stream ")
}

/// One worker, round robin; it takes part only where one thread does.
fn sozu(bind: SocketAddr, servers: &[SocketAddr], dir: &Path) -> String {
    let mut text = format!(
        "log_level = \"error\"\nlog_target = \"stdout\"\ncommand_socket = \"{}/sozu.sock\"\nworker_count = 1\n\
         worker_automatic_restart = false\nmax_connections = 6000\nactivate_listeners = true\n\
         connect_timeout = 5\nfront_timeout = 50\nback_timeout = 50\n\
         [[listeners]]\nprotocol = \"tcp\"\naddress = \"{bind}\"\n\
         [clusters.app]\nprotocol = \"tcp\"\nload_balancing = \"ROUND_ROBIN\"\n\
         frontends = [{{ address = \"{bind}\" }}]\nbackends = [\n",
        dir.display()
    );
    for (index, server) in servers.iter().enumerate() {
        writeln!(text, "{{ address = \"{server}\", backend_id = \"s{index}\" }},").ok();
    }
    text + "]\n"
}

fn lb(bind: SocketAddr, servers: &[SocketAddr], setup: &Setup, dir: &Path, defer: bool) -> String {
    let balance = match setup.balance {
        Balance::RoundRobin => "roundrobin",
        Balance::LeastConn => "leastconn",
        Balance::Random => "random",
        Balance::Source => "source",
    };
    let mut text = format!(
        "[global]\nmaxconn = 6000\nthreads = {}\nsocket = \"{}/lb.sock\"\nhard_stop_after = \"1s\"\n\
         log = {{ sessions = false }}\n\
         [frontend.web]\nbind = [\"{bind}\"]\nbackend = \"app\"\ndefer_accept = {defer}\n\
         [backend.app]\nbalance = \"{balance}\"\nretries = 3\ncheck = false\n\
         timeout = {{ connect = \"5s\", client = \"50s\", server = \"50s\", queue = \"5s\" }}\n[backend.app.servers]\n",
        setup.threads,
        dir.display()
    );
    for (index, server) in servers.iter().enumerate() {
        writeln!(text, "s{index} = \"{server}\"").ok();
    }
    text
}
