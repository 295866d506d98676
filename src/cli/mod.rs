//! The command line: `arguments` defines it, and each command has a file. docs/commands.md is its reference.
//!
//! Rules: answers go to stdout, messages to stderr and start with `lb:`; a message names the remedy. A reader that
//! closes stdout early is not an error. Nothing here exits the process: every command returns an [`ExitStatus`].

mod arguments;
mod ask;
mod changes;
mod check;
mod completion;
mod convert;
mod counters;
mod demo;
mod haproxy;
mod output;
mod register;
mod reload;
mod run;
mod server;
mod sessions;
mod status;
mod table;
mod units;
mod upgrade;
mod usual_sockets;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::control::admin::Request;
pub(crate) use crate::exit::ExitStatus;
use crate::log::voice;
use arguments::{CliCommand, CommandLine};
use ask::AdminSocket;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let _last_words = voice::begin();
    run_command(std::env::args_os().collect())
}

fn run_command(arguments: Vec<OsString>) -> ExitCode {
    if haproxy::is_meant(&arguments) {
        return haproxy::run(arguments).into();
    }
    if let Some(status) = completion::answer(&arguments) {
        return status.into();
    }
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => return usage(&error).into(),
    };
    let socket = AdminSocket::new(line.socket);
    let status = match line.command {
        // Its exit code is that of the command it runs.
        CliCommand::Register(args) => return register::run(*args),
        CliCommand::Run(args) => run::run(args, socket),
        CliCommand::Engine(args) => run::engine(args, socket),
        CliCommand::Check(args) => check::run(&args),
        CliCommand::Convert(args) => convert::run(&args),
        CliCommand::Status(args) => status::run(&args, &socket),
        CliCommand::Server(args) => server::run(args, &socket),
        CliCommand::Sessions(args) => sessions::list(&args, &socket),
        CliCommand::Session(args) => sessions::run(args, &socket),
        CliCommand::Counters(args) => counters::run(&args, &socket),
        CliCommand::Wait(args) => wait::run(&args, &socket),
        CliCommand::Stop(args) => socket.ask_and_show(&Request::Stop, args.json),
        CliCommand::Reload(args) => reload::run(&args, &socket),
        CliCommand::Upgrade(args) => upgrade::run(args, &socket),
        CliCommand::Demo(args) => demo::run(args),
        CliCommand::Version => output::print(concat!("lb ", env!("CARGO_PKG_VERSION"), "\n")),
        CliCommand::Completions { shell } => completion::print_script(shell),
        CliCommand::DemoServer(args) => demo::serve(args),
        CliCommand::DemoChild(args) => demo::become_child(args),
    };
    status.into()
}

/// Help and version are answers; anything else is a message.
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

#[cfg(test)]
mod tests;
