//! Completion in shells: commands and flags, and the names that the running daemon has.
//!
//! The script that a shell loads calls `lb` again for each word that is completed, with a variable that says so.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::arguments::CommandLine;
use super::ask::AdminSocket;
use super::{ExitStatus, output};
use crate::control::admin::Request;
use crate::control::admin::sessions::{SessionList, SessionOrder, SessionReport};
use crate::control::admin::status::BackendReport;

/// Completes a word, if that is what this process was started for.
pub(super) fn answer(arguments: &[OsString]) -> Option<ExitStatus> {
    let env = CompleteEnv::with_factory(|| with_names(CommandLine::command())).var(VARIABLE).completer("lb");
    match env.try_complete(arguments, std::env::current_dir().ok().as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitStatus::Done),
        // A word that cannot be completed is no message on the terminal.
        Err(_) => Some(ExitStatus::Failed),
    }
}

/// Prints the script that a shell loads.
pub(super) fn print_script(shell: Shell) -> ExitStatus {
    match script(&shell.to_string()) {
        Some(script) => output::print(&script),
        None => {
            output::complain(&format!("there is no script for {shell}"));
            ExitStatus::BadInput
        }
    }
}

fn script(shell: &str) -> Option<String> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    shells.completer(shell)?.write_registration(VARIABLE, "lb", "lb", "lb", &mut script).ok()?;
    String::from_utf8(script).ok()
}

/// The arguments that name something of the daemon are completed with what it has.
fn with_names(command: Command) -> Command {
    let completed = |arg: Arg| {
        let complete = match arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str()) {
            Some("BACKEND") => backends,
            Some("BACKEND/SERVER") => servers,
            Some("BACKEND[/SERVER]") => backends_and_servers,
            Some("ID") => sessions,
            _ => return arg,
        };
        arg.add(ArgValueCompleter::new(move |word: &OsStr| beginning_with(word, complete())))
    };
    command.mut_args(completed).mut_subcommands(with_names)
}

fn beginning_with(word: &OsStr, candidates: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let fits = |candidate: &CompletionCandidate| candidate.get_value().to_string_lossy().starts_with(&*word);
    candidates.into_iter().filter(fits).collect()
}

fn backends() -> Vec<CompletionCandidate> {
    list().into_iter().map(|backend| CompletionCandidate::new(backend.name)).collect()
}

fn servers() -> Vec<CompletionCandidate> {
    let of = |backend: BackendReport| {
        let servers = backend.servers.into_iter();
        servers.map(move |server| {
            CompletionCandidate::new(format!("{}/{}", backend.name, server.name))
                .help(Some(format!("{} {}", server.status.word(), server.addr).into()))
        })
    };
    list().into_iter().flat_map(of).collect()
}

fn backends_and_servers() -> Vec<CompletionCandidate> {
    backends().into_iter().chain(servers()).collect()
}

fn sessions() -> Vec<CompletionCandidate> {
    let request =
        Request::Sessions { backend: None, server: None, sort: SessionOrder::Age, limit: Some(MOST_SESSIONS) };
    let list: SessionList = ask(&request).unwrap_or_default();
    let candidate = |session: SessionReport| {
        CompletionCandidate::new(session.id.to_string())
            .help(Some(format!("{} {}", session.client, session.state.word()).into()))
    };
    list.sessions.into_iter().map(candidate).collect()
}

fn list() -> Vec<BackendReport> {
    ask(&Request::ServerList).unwrap_or_default()
}

/// What the daemon answers. One that is not there has no names.
fn ask<T: serde::de::DeserializeOwned>(request: &Request) -> Option<T> {
    let socket = AdminSocket::new(given());
    serde_json::from_value(socket.ask_quietly(request)?).ok()
}

/// `--socket` of the line that is completed.
fn given() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip_while(|word| word != "--socket");
    words.next()?;
    words.next().map(PathBuf::from)
}

const VARIABLE: &str = "LB_COMPLETE";

/// A prompt has no room for more.
const MOST_SESSIONS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_the_build_are_those_that_are_printed() {
        let built = [
            ("bash", include_str!(concat!(env!("OUT_DIR"), "/assets/completions/lb.bash"))),
            ("zsh", include_str!(concat!(env!("OUT_DIR"), "/assets/completions/_lb"))),
            ("fish", include_str!(concat!(env!("OUT_DIR"), "/assets/completions/lb.fish"))),
        ];
        for (shell, built) in built {
            assert!(built.starts_with(&script(shell).unwrap()), "{shell}");
        }
    }

    #[test]
    fn a_word_is_completed_with_what_begins_so() {
        let candidates = ["app/a", "app/b", "api/a"].map(CompletionCandidate::new).into();
        let found = beginning_with(OsStr::new("app/"), candidates);
        let found: Vec<_> = found.iter().map(CompletionCandidate::get_value).collect();
        assert_eq!(found, ["app/a", "app/b"]);
    }
}
