//! The command line as clap sees it: commands, flags, help texts. Only definitions; the other files of `cli` act on them.
//!
//! `build.rs` compiles this module too and writes the man pages and completion scripts from it. It therefore uses clap,
//! humantime, std and a few leaves of `config`, and nothing else of the crate.

mod check;
mod counters;
mod demo;
mod probation;
mod register;
mod run;
mod server;
mod sessions;
mod time;
mod upgrade;
mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use check::{CheckArgs, ConvertArgs};
pub(crate) use counters::{CountersArgs, CountersCommand};
pub(crate) use demo::{DemoArgs, DemoChildArgs, DemoServerArgs};
pub(crate) use register::{RegisterArgs, RegisterCheck, RegisterCheckArgs};
pub(crate) use run::{ConfigArgs, DEFAULT_FILE, EngineArgs, RunArgs};
pub(crate) use server::{ServerArgs, ServerCommand, ServerPath, ServerTarget};
pub(crate) use sessions::{NameScope, SessionArgs, SessionCommand, SessionsArgs, SortKey};
pub(crate) use upgrade::UpgradeArgs;
pub(crate) use wait::WaitArgs;

/// A TCP load balancer: servers, configuration and the binary itself change without cutting a connection.
#[derive(Debug, Parser)]
#[command(name = "lb", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct CommandLine {
    /// Admin socket [default: $LB_SOCKET, or /run/lb/lb.sock, or $XDG_RUNTIME_DIR/lb.sock for an ordinary user]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    Run(RunArgs),
    Check(CheckArgs),
    Convert(ConvertArgs),
    Status(StatusArgs),
    Server(ServerArgs),
    Sessions(SessionsArgs),
    Session(SessionArgs),
    Counters(CountersArgs),
    Wait(WaitArgs),
    Reload(ReloadArgs),
    Stop(StopArgs),
    Upgrade(UpgradeArgs),
    Register(Box<RegisterArgs>),
    Demo(DemoArgs),
    /// Print the version
    #[command(after_help = "Example:\n  lb version")]
    Version,
    /// Print a completion script
    #[command(after_help = "Example:\n  lb completions bash > /etc/bash_completion.d/lb")]
    Completions {
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Engine(EngineArgs),
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    #[command(hide = true)]
    DemoChild(DemoChildArgs),
}

/// Show frontends, backends and servers, and why each server is UP or DOWN
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lb status
  lb status --watch
  lb status --json | jq '.backends[].servers[] | select(.status == \"DOWN\")'")]
pub(crate) struct StatusArgs {
    /// Print the whole status as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat every second until `q` or Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Read the configuration again and apply what changed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All or nothing: if the file has an error (exit code 2) or a new address cannot
be bound, nothing changes. Open sessions continue; servers that stay keep their
health, counters and sessions.

Example:
  lb check -f /etc/lb/lb.toml && lb reload")]
pub(crate) struct ReloadArgs {
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Stop the running daemon, as TERM does
#[derive(Debug, clap::Args)]
#[command(after_help = "\
No new session is accepted, and open ones finish, up to hard_stop_after of the
configuration. Does not wait for that.

Example:
  lb stop")]
pub(crate) struct StopArgs {
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lb demo
  lb run --bind 127.0.0.1:8080 --server 10.0.0.1:80 --server 10.0.0.2:80
  lb check -f lb.toml && lb run -f lb.toml
  lb status --watch
  lb server drain app/app1

Exit codes:
  0  done
  1  failed, or no daemon answers
  2  wrong flags, names or configuration
  3  what lb wait waits for has not come in time
  7  --wait: sessions are left when the time is up
  lb upgrade has more: see lb upgrade --help";
