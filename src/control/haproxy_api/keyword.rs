//! The commands that are known: their words, the line that `help` has for each, and the level that they need.

use crate::config::SocketLevel;

/// What a command does. Its arguments are read by `command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    AddServer,
    ClearCounters,
    ClearTable,
    DelServer,
    DisableAgent,
    DisableFrontend,
    DisableHealth,
    DisableServer,
    EnableAgent,
    EnableFrontend,
    EnableHealth,
    EnableServer,
    GetWeight,
    Help,
    Operator,
    Prompt,
    Quit,
    Reload,
    SetMaxconnFrontend,
    SetMaxconnGlobal,
    SetMaxconnServer,
    SetServer,
    SetSeverity,
    SetTimeout,
    SetWeight,
    ShowAcl,
    ShowActivity,
    ShowBackend,
    ShowCache,
    ShowCliLevel,
    ShowCliSockets,
    ShowEnv,
    ShowErrors,
    ShowEvents,
    ShowFd,
    ShowInfo,
    ShowPeers,
    ShowPools,
    ShowProc,
    ShowResolvers,
    ShowServersConn,
    ShowServersState,
    ShowSess,
    ShowStartupLogs,
    ShowStat,
    ShowTable,
    ShowThreads,
    ShowTrace,
    ShowVersion,
    ShutdownFrontend,
    ShutdownSession,
    ShutdownSessions,
    User,
    Wait,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) words: &'static [&'static str],
    /// As HAProxy's `help` has it; empty: it is not listed there.
    pub(super) usage: &'static str,
    /// At least.
    pub(super) level: SocketLevel,
    pub(super) verb: Verb,
}

/// The row of the command that these words begin with.
pub(super) fn find<'t>(table: &[&'t Keyword], words: &[String]) -> Option<&'t Keyword> {
    let begins = |keyword: &&&Keyword| {
        keyword.words.len() <= words.len() && keyword.words.iter().zip(words).all(|(known, word)| known == word)
    };
    table.iter().find(begins).copied()
}

/// What a stats socket has.
pub(super) fn of_process() -> Vec<&'static Keyword> {
    TABLE.iter().filter(|keyword| !MASTER_ONLY.contains(&keyword.verb)).collect()
}

/// What a master socket has by itself.
pub(super) fn of_master() -> Vec<&'static Keyword> {
    let shared = TABLE.iter().filter(|keyword| SHARED.contains(&keyword.verb) || MASTER_ONLY.contains(&keyword.verb));
    ADDRESSES.iter().chain(shared).collect()
}

const MASTER_ONLY: &[Verb] = &[Verb::ShowProc, Verb::Reload];

const SHARED: &[Verb] = &[
    Verb::Operator,
    Verb::ShowCliLevel,
    Verb::ShowCliSockets,
    Verb::ShowVersion,
    Verb::User,
    Verb::Help,
    Verb::Prompt,
    Verb::Quit,
];

const fn row(words: &'static [&'static str], level: SocketLevel, verb: Verb, usage: &'static str) -> Keyword {
    Keyword { words, usage, level, verb }
}

use SocketLevel::{Admin, Operator, User};

/// Only listed: what is behind them is read before.
const ADDRESSES: &[Keyword] = &[
    row(
        &["@<relative pid>"],
        User,
        Verb::Help,
        "@<relative pid>                         : send a command to the <relative pid> process",
    ),
    row(
        &["@!<pid>"],
        User,
        Verb::Help,
        "@!<pid>                                 : send a command to the <pid> process",
    ),
    row(
        &["@master"],
        User,
        Verb::Help,
        "@master                                 : send a command to the master process",
    ),
];

#[rustfmt::skip]
const TABLE: &[Keyword] = &[
    row(&["add", "server"], Admin, Verb::AddServer, "add server <bk>/<srv>                   : create a new server"),
    row(&["clear", "counters"], Operator, Verb::ClearCounters, "clear counters [all]                    : clear max statistics counters (or all counters)"),
    row(&["clear", "table"], User, Verb::ClearTable, "clear table <table> [<filter>]*         : remove an entry from a table (filter: data/key)"),
    row(&["del", "server"], Admin, Verb::DelServer, "del server <bk>/<srv>                   : remove a dynamically added server"),
    row(&["disable", "agent"], Admin, Verb::DisableAgent, "disable agent                           : disable agent checks"),
    row(&["disable", "frontend"], Admin, Verb::DisableFrontend, "disable frontend <frontend>             : temporarily disable specific frontend"),
    row(&["disable", "health"], Admin, Verb::DisableHealth, "disable health                          : disable health checks"),
    row(&["disable", "server"], Admin, Verb::DisableServer, "disable server (DEPRECATED)             : disable a server for maintenance (use 'set server' instead)"),
    row(&["enable", "agent"], Admin, Verb::EnableAgent, "enable agent                            : enable agent checks"),
    row(&["enable", "frontend"], Admin, Verb::EnableFrontend, "enable frontend <frontend>              : re-enable specific frontend"),
    row(&["enable", "health"], Admin, Verb::EnableHealth, "enable health                           : enable health checks"),
    row(&["enable", "server"], Admin, Verb::EnableServer, "enable server  (DEPRECATED)             : enable a disabled server (use 'set server' instead)"),
    row(&["get", "weight"], User, Verb::GetWeight, "get weight <bk>/<srv>                   : report a server's current weight"),
    row(&["help"], User, Verb::Help, ""),
    row(&["operator"], Operator, Verb::Operator, "operator                                : lower the level of the current CLI session to operator"),
    row(&["prompt"], User, Verb::Prompt, ""),
    row(&["quit"], User, Verb::Quit, ""),
    row(&["reload"], Operator, Verb::Reload, "reload                                  : reload haproxy"),
    row(&["set", "maxconn", "frontend"], Admin, Verb::SetMaxconnFrontend, "set maxconn frontend <frontend> <value> : change a frontend's maxconn setting"),
    row(&["set", "maxconn", "global"], Admin, Verb::SetMaxconnGlobal, "set maxconn global <value>              : change the per-process maxconn setting"),
    row(&["set", "maxconn", "server"], Admin, Verb::SetMaxconnServer, "set maxconn server <bk>/<srv>           : change a server's maxconn setting"),
    row(&["set", "server"], Admin, Verb::SetServer, "set server <bk>/<srv> [opts]            : change a server's state, weight, address or ssl"),
    row(&["set", "severity-output"], User, Verb::SetSeverity, "set severity-output [none|number|string]: set presence of severity level in feedback information"),
    row(&["set", "timeout"], User, Verb::SetTimeout, "set timeout [cli] <delay>               : change a timeout setting"),
    row(&["set", "weight"], Admin, Verb::SetWeight, "set weight <bk>/<srv>  (DEPRECATED)     : change a server's weight (use 'set server' instead)"),
    row(&["show", "acl"], User, Verb::ShowAcl, "show acl [@<ver>] <acl>]                : report available acls or dump an acl's contents"),
    row(&["show", "activity"], User, Verb::ShowActivity, "show activity                           : show per-thread activity stats (for support/developers)"),
    row(&["show", "backend"], User, Verb::ShowBackend, "show backend                            : list backends in the current running config"),
    row(&["show", "cache"], Admin, Verb::ShowCache, "show cache                              : show cache status"),
    row(&["show", "cli", "level"], User, Verb::ShowCliLevel, "show cli level                          : display the level of the current CLI session"),
    row(&["show", "cli", "sockets"], User, Verb::ShowCliSockets, "show cli sockets                        : dump list of cli sockets"),
    row(&["show", "env"], Operator, Verb::ShowEnv, "show env [var]                          : dump environment variables known to the process"),
    row(&["show", "errors"], Operator, Verb::ShowErrors, "show errors [<px>] [request|response]   : report last request and/or response errors for each proxy"),
    row(&["show", "events"], User, Verb::ShowEvents, "show events [<sink>] [-w] [-n]          : show event sink state"),
    row(&["show", "fd"], Operator, Verb::ShowFd, "show fd [num]                           : dump list of file descriptors in use or a specific one"),
    row(&["show", "info"], User, Verb::ShowInfo, "show info [desc|json|typed|float]*      : report information about the running process"),
    row(&["show", "map"], User, Verb::ShowAcl, "show map [@ver] [map]                   : report available maps or dump a map's contents"),
    row(&["show", "peers"], User, Verb::ShowPeers, "show peers [dict|-] [section]           : dump some information about all the peers or this peers section"),
    row(&["show", "pools"], User, Verb::ShowPools, "show pools                              : report information about the memory pools usage"),
    row(&["show", "proc"], User, Verb::ShowProc, "show proc                               : show processes status"),
    row(&["show", "resolvers"], User, Verb::ShowResolvers, "show resolvers [id]                     : dumps counters from all resolvers section and associated name servers"),
    row(&["show", "servers", "conn"], User, Verb::ShowServersConn, "show servers conn [<backend>]           : dump server connections status (all or for a single backend)"),
    row(&["show", "servers", "state"], User, Verb::ShowServersState, "show servers state [<backend>]          : dump volatile server information (all or for a single backend)"),
    row(&["show", "sess"], Operator, Verb::ShowSess, "show sess [id]                          : report the list of current sessions or dump this exact session"),
    row(&["show", "startup-logs"], Operator, Verb::ShowStartupLogs, "show startup-logs                       : report logs emitted during HAProxy startup"),
    row(&["show", "stat"], User, Verb::ShowStat, "show stat [desc|json|no-maint|typed|up]*: report counters for each proxy and server"),
    row(&["show", "table"], User, Verb::ShowTable, "show table <table> [<filter>]*          : report table usage stats or dump this table's contents (filter: data/key)"),
    row(&["show", "threads"], User, Verb::ShowThreads, "show threads                            : show some threads debugging information"),
    row(&["show", "trace"], User, Verb::ShowTrace, "show trace [<module>]                   : show live tracing state"),
    row(&["show", "version"], User, Verb::ShowVersion, "show version                            : show version of the current process"),
    row(&["shutdown", "frontend"], Admin, Verb::ShutdownFrontend, "shutdown frontend <frontend>            : stop a specific frontend"),
    row(&["shutdown", "session"], Admin, Verb::ShutdownSession, "shutdown session [id]                   : kill a specific session"),
    row(&["shutdown", "sessions", "server"], Admin, Verb::ShutdownSessions, "shutdown sessions server <bk>/<srv>     : kill sessions on a server"),
    row(&["user"], User, Verb::User, "user                                    : lower the level of the current CLI session to user"),
    row(&["wait"], User, Verb::Wait, "wait {-h|<delay_ms>} cond [args...]     : wait the specified delay or condition (-h to see list)"),
];
