//! `lb check`: reports every error of a configuration at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::arguments::CheckArgs;
use super::{ExitStatus, output};
use crate::config::{self, Address, Config, Entrance, Target, circles, counted};
use crate::sys::local_ip::is_local;

pub(super) fn run(args: &CheckArgs) -> ExitStatus {
    let file = args.file.display();
    match config::load(&args.file) {
        Ok(config) => {
            let here = circles_here(&config);
            if here.is_empty() {
                return output::print(&format!("{file}: {}\n", summary(&config)));
            }
            let lines: Vec<_> = here.iter().map(|what| format!("{file}: {what}")).collect();
            output::complain(&format!("{file}: {}\n{}", counted(here.len(), "error"), lines.join("\n")));
        }
        Err(problems) => {
            // Editors look for the place at the beginning of a line.
            let errors = counted(problems.iter().count(), "error");
            output::complain(&format!("{file}: {errors}\n{problems}"));
        }
    }
    ExitStatus::BadInput
}

/// Servers that lead back to themselves by the names and interfaces of this host, which the file does not show. Only a
/// name with the port of a frontend is looked up.
fn circles_here(config: &Config) -> Vec<String> {
    let entrances = Entrance::all(&config.frontends);
    let mut targets = Vec::new();
    for backend in &config.backends {
        for server in &backend.servers {
            let places = match &server.addr {
                Address::Ip(addr) => vec![*addr],
                Address::Host(host, port) if entrances.iter().any(|one| one.addr.port() == *port) => {
                    look_up(host, *port)
                }
                Address::Host(..) | Address::Unix(_) => Vec::new(),
            };
            let target = |addr| Target { backend: &backend.name, server: &server.name, addr };
            targets.extend(places.into_iter().map(target));
        }
    }
    let found = circles(&entrances, &targets, is_local);
    found.iter().map(|(at, to)| format!("server {}/{} ({}) {}", at.backend, at.server, at.addr, to.reason())).collect()
}

/// A name that cannot be looked up here may be known where the balancer runs.
fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async { timeout(LOOK_UP, lookup_host((host, port))).await });
    let found = found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default();
    // A look-up may still be under way in the C library.
    runtime.shutdown_background();
    found
}

fn summary(config: &Config) -> String {
    let servers: usize = config.backends.iter().map(|backend| backend.servers.len()).sum();
    let parts = [
        counted(config.frontends.len(), "frontend"),
        counted(config.backends.len(), "backend"),
        counted(servers, "server"),
    ];
    format!("fine: {}", parts.join(", "))
}

const LOOK_UP: Duration = Duration::from_secs(2);
