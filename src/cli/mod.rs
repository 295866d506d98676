//! The command line: one file a command. `lb --help` is its reference.
//!
//! Rules: answers go to stdout, messages to stderr and start with `lb:`; a message names the remedy. A reader that
//! closes stdout early is no error. Nothing here exits the process: every command returns an [`ExitStatus`].

mod ask;
mod check;
mod demo;
mod output;
mod register;
mod reload;
mod run;
mod server;
mod status;
mod table;
mod upgrade;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use crate::exit::ExitStatus;
use ask::AdminSocket;

/// A TCP load balancer: servers, configuration and the binary itself change without a client noticing.
#[derive(Debug, Parser)]
#[command(name = "lb", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    /// Admin socket [default: /run/lb/lb.sock, or $XDG_RUNTIME_DIR/lb.sock for an ordinary user]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Status(status::Args),
    Server(server::Args),
    Reload(reload::Args),
    Upgrade(upgrade::Args),
    Register(Box<register::Args>),
    Demo(demo::Args),
    /// Print a completion script
    #[command(after_help = "Example:\n  lb completions bash > /etc/bash_completion.d/lb")]
    Completions {
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Engine(run::EngineArgs),
    #[command(hide = true)]
    DemoServer(demo::ServerArgs),
    #[command(hide = true)]
    DemoChild(demo::ChildArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    run_command(std::env::args_os())
}

fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let daemon = AdminSocket::new(cli.socket);
    let status = match cli.command {
        // Its exit code is that of the program it runs.
        Command::Register(args) => return register::run(*args),
        Command::Run(args) => run::run(args, daemon),
        Command::Engine(args) => run::engine(args, daemon),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args, &daemon),
        Command::Server(args) => server::run(args, &daemon),
        Command::Reload(args) => reload::run(&args, &daemon),
        Command::Upgrade(args) => upgrade::run(args, &daemon),
        Command::Demo(args) => demo::run(args),
        Command::Completions { shell } => completions(shell),
        Command::DemoServer(args) => demo::serve(args),
        Command::DemoChild(args) => demo::become_child(args),
    };
    status.into()
}

/// Help and version are answers; anything else is a message, in our words.
fn usage(error: &clap::Error) -> ExitStatus {
    let text = error.render();
    if !error.use_stderr() {
        return output::print(&text.to_string());
    }
    let text = text.to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::complain(&format!("which command?\n\n{}", text.trim_end()));
    } else {
        output::complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    }
    ExitStatus::BadInput
}

fn completions(shell: clap_complete::Shell) -> ExitStatus {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lb", &mut script);
    output::print(&String::from_utf8_lossy(&script))
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
  2  what was given is wrong
  lb upgrade has more: see lb upgrade --help";

#[cfg(test)]
mod tests;
