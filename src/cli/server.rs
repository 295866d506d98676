//! `lb server`: see and administer the servers of a running daemon.

use std::str::FromStr;

use serde::Serialize;

use super::ask::AdminSocket;
use super::status::{parse, server_table};
use super::{ExitStatus, output};
use crate::config::MAX_WEIGHT;
use crate::control::admin::{Request, ServerState, status};

/// List and administer servers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes hold until they are changed again; they survive reloads and upgrades,
not a restart.

Examples:
  lb server list
  lb server drain app/app1        no new sessions; open ones finish
  lb server ready app/app1
  lb server weight app/app1 50")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all servers
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Let a server take sessions again, as its health allows
    #[command(after_help = "Example:\n  lb server ready app/app1")]
    Ready(One),
    /// Give a server no new sessions; open ones finish
    #[command(after_help = "Example:\n  lb server drain app/app1")]
    Drain(One),
    /// Give a server no new sessions and stop checking it
    #[command(after_help = "Example:\n  lb server maint app/app1")]
    Maint(One),
    /// Set a server's share of new sessions
    #[command(after_help = "Example:\n  lb server weight app/app1 50")]
    Weight {
        #[command(flatten)]
        one: One,
        /// 0 to 256; 0: no new sessions
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_WEIGHT)))]
        weight: u16,
    },
    /// Apply a discovery change that is held back because it would take most servers away
    #[command(after_help = "Example:\n  lb server accept app")]
    Accept {
        /// As `lb status` names it
        #[arg(value_name = "BACKEND")]
        backend: String,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    /// As `lb server list` names it
    #[arg(value_name = "BACKEND/SERVER")]
    server: ServerPath,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// A server as the command line writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServerPath {
    backend: String,
    server: String,
}

impl FromStr for ServerPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the first slash counts: the name of a discovered server may hold more.
        match text.split_once('/') {
            Some((backend, server)) if !backend.is_empty() && !server.is_empty() => {
                Ok(Self { backend: backend.to_owned(), server: server.to_owned() })
            }
            _ => Err("write it as BACKEND/SERVER; `lb server list` shows them"),
        }
    }
}

pub(super) fn run(args: Args, daemon: &AdminSocket) -> ExitStatus {
    match args.command {
        Command::List { json } => list(daemon, json),
        Command::Ready(one) => administer(daemon, one, ServerState::Ready),
        Command::Drain(one) => administer(daemon, one, ServerState::Drain),
        Command::Maint(one) => administer(daemon, one, ServerState::Maint),
        Command::Weight { one: One { server: ServerPath { backend, server }, json }, weight } => {
            daemon.ask_and_show(&Request::SetWeight { backend, server, weight }, json)
        }
        Command::Accept { backend, json } => daemon.ask_and_show(&Request::Accept { backend }, json),
    }
}

fn administer(daemon: &AdminSocket, one: One, state: ServerState) -> ExitStatus {
    let ServerPath { backend, server } = one.server;
    daemon.ask_and_show(&Request::SetServer { backend, server, state }, one.json)
}

fn list(daemon: &AdminSocket, json: bool) -> ExitStatus {
    let backends = match daemon.ask(&Request::ServerList).and_then(parse::<Vec<status::Backend>>) {
        Ok(backends) => backends,
        Err(refusal) => return refusal.show(),
    };
    if !json {
        return output::print(&server_table(&backends).render(output::colour()));
    }
    let list = backends
        .iter()
        .flat_map(|backend| backend.servers.iter().map(|server| Listed { backend: &backend.name, server }));
    let list = serde_json::to_string(&list.collect::<Vec<_>>()).expect("a server holds only strings and numbers");
    output::print(&format!("{list}\n"))
}

/// A server as `lb server list --json` prints it: as in `lb status --json`, with its backend.
#[derive(Serialize)]
struct Listed<'a> {
    backend: &'a str,
    #[serde(flatten)]
    server: &'a status::Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_with_its_backend() {
        let parsed = |text: &str| text.parse::<ServerPath>().map(|path| (path.backend, path.server));
        assert_eq!(parsed("app/app1"), Ok(("app".into(), "app1".into())));
        assert_eq!(parsed("app/rack/1"), Ok(("app".into(), "rack/1".into())));
        for wrong in ["app", "app/", "/app1", "/", ""] {
            assert!(parsed(wrong).unwrap_err().contains("BACKEND/SERVER"), "{wrong}");
        }
    }
}
