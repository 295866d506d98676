//! `lb check`: reports every error of a configuration at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::arguments::CheckArgs;
use super::{ExitStatus, output};
use crate::config::{
    self, Address, Config, Entrance, HaproxyReading, Problem, Spelling, Target, circles, counted, shown_paths,
};
use crate::sys::local_ip::is_local;

pub(super) fn run(args: &CheckArgs) -> ExitStatus {
    let paths = args.files.paths();
    let file = shown_paths(&paths);
    match config::read_files(&paths) {
        Ok(Spelling::Haproxy(reading)) => return haproxy(&file, &reading, args),
        Ok(Spelling::Toml(config)) => {
            let here = circles_here(&config);
            if args.json {
                return answer(&file, Vec::new(), here, Some(&config));
            }
            if here.is_empty() {
                return output::print(&format!("{file}: {}\n", summary(&config)));
            }
            let lines: Vec<_> = here.iter().map(|what| format!("{file}: {what}")).collect();
            output::complain(&format!("{file}: {}\n{}", counted(here.len(), "error"), lines.join("\n")));
        }
        Err(problems) if args.json => {
            return answer(&file, problems.iter().map(of_toml).collect(), Vec::new(), None);
        }
        Err(problems) => {
            // Editors look for the place at the beginning of a line.
            let errors = counted(problems.iter().count(), "error");
            output::complain(&format!("{file}: {errors}\n{problems}"));
        }
    }
    ExitStatus::BadInput
}

/// Each line's fate: answers to stdout if the file can be used, messages to stderr if not.
fn haproxy(file: &str, reading: &HaproxyReading, args: &CheckArgs) -> ExitStatus {
    let here = reading.config().map(circles_here).unwrap_or_default();
    let usable = reading.is_usable(args.files.skip_refused) && here.is_empty();
    let unknown = reading.config().filter(|_| usable).map(unknown_names).unwrap_or_default();
    if args.json {
        let notice = |what: &String| json!({ "file": file, "verdict": "notice", "reason": what });
        let lines = reading.fates.iter().map(|fate| json!(fate)).chain(unknown.iter().map(notice)).collect();
        let config = reading.config().filter(|_| usable);
        return answer(file, lines, here, config);
    }
    let mut text: String = unknown.iter().map(|what| format!("{file}: notice: {what}\n")).collect();
    for line in reading.fates.iter().map(ToString::to_string).chain(here.iter().map(|what| format!("{file}: {what}"))) {
        text += &format!("{line}\n");
    }
    match reading.config().filter(|_| usable) {
        Some(config) => output::print(&format!("{text}{file}: {}; {}\n", summary(config), reading.summary())),
        None => {
            let skip =
                if reading.is_usable(true) && here.is_empty() { "; `--skip-refused` runs the others" } else { "" };
            output::complain(&format!("{file}: {}{skip}\n{}", reading.summary(), text.trim_end()));
            ExitStatus::BadInput
        }
    }
}

fn of_toml(problem: &Problem) -> Value {
    let Problem { file, line, column, message, .. } = problem;
    json!({ "file": file, "line": line, "column": column, "verdict": "error", "reason": message, "remedy": "" })
}

/// One line of JSON; docs/commands.md has its fields.
fn answer(file: &str, mut lines: Vec<Value>, here: Vec<String>, config: Option<&Config>) -> ExitStatus {
    lines.extend(here.into_iter().map(|what| json!({ "file": file, "verdict": "error", "reason": what })));
    let counts = config.map(|config| {
        let servers: usize = config.backends.iter().map(|backend| backend.servers.len()).sum();
        json!({ "frontends": config.frontends.len(), "backends": config.backends.len(), "servers": servers })
    });
    let done = output::print(&format!("{}\n", json!({ "usable": config.is_some(), "lines": lines, "counts": counts })));
    if config.is_some() { done } else { ExitStatus::BadInput }
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

/// Servers whose names have no address here, which keeps HAProxy from starting. Names of `resolvers` are asked of others.
fn unknown_names(config: &Config) -> Vec<String> {
    let mut names = BTreeMap::new();
    for backend in &config.backends {
        for server in backend.servers.iter().filter(|server| server.options.resolve.resolvers.is_none()) {
            if let Address::Host(host, _) = &server.addr
                && names.len() < MOST_NAMES
            {
                names.entry(host.to_string()).or_insert_with(|| format!("'server {}/{}'", backend.name, server.name));
            }
        }
    }
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let mut unknown = Vec::new();
    runtime.block_on(async {
        let ask = |(host, server): (String, String)| {
            tokio::spawn(async move {
                let found = timeout(LOOK_UP, lookup_host((host.as_str(), 0))).await;
                (!matches!(found, Ok(Ok(_)))).then(|| {
                    format!("{server} : could not resolve address '{host}': it gets no sessions until its name has one")
                })
            })
        };
        let asked: Vec<_> = names.into_iter().map(ask).collect();
        for answer in asked {
            unknown.extend(answer.await.ok().flatten());
        }
    });
    // A look-up may still be under way in the C library.
    runtime.shutdown_background();
    unknown
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

/// Of a configuration that has more, the rest is not looked up.
const MOST_NAMES: usize = 64;
const LOOK_UP: Duration = Duration::from_secs(2);
