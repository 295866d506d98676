//! `show …`: facts of the engine, and true or empty answers about parts that only HAProxy has.

use std::env;
use std::time::SystemTime;

use super::answer::{NO_PROXY, NO_TABLE, Said, VERSION};
use super::console::Console;
use super::keyword::Verb;
use super::{info, session, stat, state};
use crate::config::SocketLevel;
use crate::control::admin::sessions::SessionList;
use crate::control::admin::{Request, SessionOrder};
use crate::sys::clock::log_time;

/// `words`: what follows the two words of the command.
pub(super) async fn show(console: &Console, verb: Verb, words: &[String], level: SocketLevel) -> Result<Said, String> {
    let first = words.first().map_or("", String::as_str);
    let facts = |text: &str| Ok(Said::Facts(text.to_owned()));
    let wrong = |text: &str| Err(text.to_owned());
    let texts: Vec<_> = words.iter().map(String::as_str).collect();
    let backend = Some(first).filter(|name| !name.is_empty());
    match verb {
        Verb::ShowStat => {
            // As in HAProxy, a user sees no addresses.
            let addresses = level >= SocketLevel::Operator;
            rendered(stat::show_stat(&console.status().await?, &texts, addresses))
        }
        Verb::ShowInfo => rendered(info::show_info(&console.status().await?, &texts)),
        Verb::ShowServersState => rendered(state::show_servers_state(&console.status().await?, backend)),
        Verb::ShowServersConn => rendered(state::show_servers_conn(&console.status().await?, backend)),
        Verb::ShowBackend => rendered(state::show_backend(&console.status().await?)),
        Verb::ShowSess => sessions(console, first).await,
        Verb::ShowVersion => Ok(Said::info(VERSION)),
        Verb::ShowCliLevel => Ok(Said::info(level.to_string())),
        Verb::ShowCliSockets => Ok(Said::Facts(sockets(console))),
        Verb::ShowEnv => environment(first),
        Verb::ShowErrors => {
            if !first.is_empty() {
                console.expect_proxy(first).await?;
            }
            Ok(Said::Facts(format!("Total events captured on [{}] : 0", log_time(SystemTime::now()))))
        }
        Verb::ShowEvents if first.is_empty() => {
            facts("Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop")
        }
        Verb::ShowEvents => wrong("No such event sink"),
        Verb::ShowResolvers if !first.is_empty() => wrong("Can't find that resolvers section"),
        Verb::ShowTable if !first.is_empty() => wrong(NO_TABLE),
        Verb::ShowPeers if !first.is_empty() => wrong("No such peers"),
        Verb::ShowTrace if !first.is_empty() => wrong("No such trace source"),
        Verb::ShowTrace => facts("Supported trace sources and states (.=stopped, w=waiting, R=running) :"),
        Verb::ShowAcl if !first.is_empty() => wrong("Unknown ACL identifier. Please use #<id> or <file>."),
        Verb::ShowAcl => facts("# id (file) description"),
        Verb::ShowPools => facts(
            "Dumping pools usage. Use SIGQUIT to flush them.\nTotal: 0 pools, 0 bytes allocated, 0 used (~0 by thread caches).",
        ),
        Verb::ShowActivity => activity(console).await,
        _ => Ok(Said::Nothing),
    }
}

fn sockets(console: &Console) -> String {
    let places = console.places.borrow();
    let lines = places.iter().map(|(place, level)| format!("{place} {level} all\n"));
    format!("# socket lvl processes\n{}", lines.collect::<String>())
}

/// A rendering, or its complaint about what is asked for.
fn rendered(text: String) -> Result<Said, String> {
    if COMPLAINTS.contains(&text.trim_end()) { Err(text) } else { Ok(Said::Facts(text)) }
}

fn environment(name: &str) -> Result<Said, String> {
    let line = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        // A line is one variable.
        format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy().replace('\n', "\\n"))
    };
    match env::var_os(name) {
        _ if name.is_empty() => Ok(Said::Facts(env::vars_os().map(line).collect())),
        Some(value) => Ok(Said::Facts(line((name.into(), value)))),
        None => Err("Variable not found".to_owned()),
    }
}

/// All of them, or one by its number.
async fn sessions(console: &Console, id: &str) -> Result<Said, String> {
    let all = Request::Sessions { backend: None, server: None, sort: SessionOrder::default(), limit: None };
    let list: SessionList = console.facts(all).await?;
    let number = id.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    Ok(Said::Facts(match number {
        Some(number) => session::details(&list, number).unwrap_or_else(|| "Session not found.".to_owned()),
        None => session::lines(&list),
    }))
}

async fn activity(console: &Console) -> Result<Said, String> {
    let threads = console.status().await?.threads;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let date = format!("{}.{:06}", now.as_secs(), now.subsec_micros());
    Ok(Said::Facts(format!("thread_id: 1 (1..{threads})\ndate_now: {date}")))
}

const COMPLAINTS: [&str; 3] = [NO_PROXY, "Invalid statistics domain.", "Can't find backend."];
