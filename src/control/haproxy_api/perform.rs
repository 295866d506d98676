//! Commands carried out, with HAProxy's words for what comes of them.

use super::answer::{BEYOND, DENIED, NO_BACKEND, NO_FRONTEND, NO_SERVER, OUT_OF_RANGE, Said, Severity};
use super::command::{ApiCommand, FrontendChange};
use super::console::Console;
use super::server_command::{ForcedHealth, NewAddress, ServerChange};
use super::show;
use crate::config::{AdminState, SocketLevel};
use crate::control::admin::{Request, SessionId};

/// Does what a command says, except what only its client or the master socket can.
pub(super) async fn perform(console: &Console, command: ApiCommand, level: SocketLevel) -> Said {
    let done = match command {
        ApiCommand::Say(said) => Ok(said),
        ApiCommand::Server(backend, server, change) => change_server(console, backend, server, change).await,
        ApiCommand::Frontend(name, change) => change_frontend(console, &name, change).await,
        ApiCommand::SetMaxconn(number) => set_maxconn(console, number).await,
        ApiCommand::AddServer(backend, server, words) => add_server(console, &backend, &server, &words).await,
        ApiCommand::ClearCounters { all: true } if level < SocketLevel::Admin => Err(DENIED.into()),
        ApiCommand::ClearCounters { all } => console.done(Request::ClearCounters { all }).await,
        ApiCommand::KillSession(id) => {
            let killed = console.done(Request::KillSessions { ids: vec![SessionId(id)] }).await;
            killed.map_err(|_| "No such session (use 'show sess').".to_owned())
        }
        ApiCommand::Show(verb, words) => show::show(console, verb, &words, level).await,
        ApiCommand::Wait(..) | ApiCommand::Client(_) | ApiCommand::Reload => Ok(Said::Nothing),
    };
    done.unwrap_or_else(Said::error)
}

async fn change_server(
    console: &Console,
    backend: String,
    server: String,
    change: ServerChange,
) -> Result<Said, String> {
    let known = console.server(&backend, &server).await?;
    let wrong = |text: &str| Err(text.to_owned());
    match change {
        ServerChange::Wrong(text) => wrong(text),
        ServerChange::State(state) => console.done(Request::SetServer { backend, server, state }).await,
        ServerChange::Weight(weight) => {
            let weight = weight.of(known.weight_configured);
            if known.weight_fixed && weight != 0 && weight != known.weight_configured {
                return wrong(STATIC_WEIGHTS);
            }
            console.done(Request::SetWeight { backend, server, weight }).await
        }
        ServerChange::KillSessions => console.done(Request::KillServer { backend, server, over_ms: 0 }).await,
        ServerChange::ShowWeight => Ok(Said::Facts(format!("{} (initial {})", known.weight, known.weight_configured))),
        ServerChange::Health(_) if known.tracks => wrong("cannot change health on a tracking server."),
        ServerChange::Agent(_) if !known.agent => wrong(NO_AGENT),
        ServerChange::Agent(ForcedHealth::Unknown | ForcedHealth::Stopping) => {
            wrong("'set server <srv> agent' expects 'up' or 'down'.")
        }
        ServerChange::AgentPlace(text) if !known.agent => wrong(text),
        ServerChange::CheckPlace(_) if !known.checked => wrong("health checks are not enabled on this server"),
        ServerChange::CheckPlace(Some(text)) => wrong(text),
        ServerChange::Checks(true) if !known.checked => {
            wrong("Health check was not configured on this server, cannot enable.")
        }
        ServerChange::AgentChecks(true) if !known.agent => {
            wrong("Agent was not configured on this server, cannot enable.")
        }
        ServerChange::Checks(false) if !known.checked => Ok(Said::Nothing),
        ServerChange::AgentChecks(false) if !known.agent => Ok(Said::Nothing),
        ServerChange::Address(NewAddress { ip: Err(text), .. }) => {
            Ok(Said::Remark(Severity::Warning, format!("Invalid addr '{text}' by 'stats socket command'")))
        }
        ServerChange::Delete if known.state != AdminState::Maint => {
            wrong("Only servers in maintenance mode can be deleted.")
        }
        ServerChange::Delete if known.sessions > 0 => {
            wrong("Server still has connections attached to it, cannot remove it.")
        }
        ServerChange::Address(_)
        | ServerChange::Agent(_)
        | ServerChange::AgentChecks(_)
        | ServerChange::AgentPlace(_)
        | ServerChange::CheckPlace(None)
        | ServerChange::Checks(_)
        | ServerChange::Delete
        | ServerChange::Health(_)
        | ServerChange::Maxconn(_)
        | ServerChange::Name(_) => wrong(BEYOND),
    }
}

async fn change_frontend(console: &Console, name: &str, change: FrontendChange) -> Result<Said, String> {
    let status = console.status().await?;
    if status.frontends.iter().all(|frontend| frontend.name != name) {
        return Err(NO_FRONTEND.to_owned());
    }
    match change {
        FrontendChange::Wrong(text) => Err(text.to_owned()),
        FrontendChange::Enable => Ok(Said::Remark(Severity::Notice, "All sockets are already enabled.".to_owned())),
        FrontendChange::Disable | FrontendChange::Shutdown | FrontendChange::Maxconn(_) => Err(BEYOND.to_owned()),
    }
}

async fn set_maxconn(console: &Console, number: u64) -> Result<Said, String> {
    let most = console.status().await?.maxconn;
    Err(if number > most { OUT_OF_RANGE } else { BEYOND }.to_owned())
}

async fn add_server(console: &Console, backend: &str, server: &str, words: &[String]) -> Result<Said, String> {
    let known = console.server(backend, server).await;
    match known {
        _ if known.as_ref().is_err_and(|error| error == NO_BACKEND) => Err(NO_BACKEND.to_owned()),
        _ if words.is_empty() => Err("'server' expects <name> and <addr>[:<port>] as arguments.".to_owned()),
        Ok(_) => Err("Already exists a server with the same name in backend.".to_owned()),
        Err(error) if error != NO_SERVER => Err(error),
        Err(_) => Err(BEYOND.to_owned()),
    }
}

const NO_AGENT: &str = "agent checks are not enabled on this server.";

const STATIC_WEIGHTS: &str = "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.";
