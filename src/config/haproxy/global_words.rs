//! The words of `global`.

use super::global_plan::GlobalPlan;
use super::known::{Half, KnownWord, Meaning};
use super::log_target;
use super::measure::integer;
use super::phrase::{Desk, Phrase, Sign};
use super::setting::{duration, quoted};
use super::stats_socket;

pub(super) const TABLE: &[KnownWord<GlobalPlan>] = &[
    word("maxconn", Meaning::Does(maxconn)),
    word("nbthread", Meaning::Does(nbthread)),
    word("nbproc", Meaning::Does(nbproc)),
    word("log", Meaning::Does(log)),
    word("log-tag", Meaning::Does(log_tag)),
    word("log-send-hostname", Meaning::Ignored("lines carry the name of this host", "")),
    word("hard-stop-after", Meaning::Does(hard_stop_after)),
    word("node", Meaning::Ignored("`lb status` has the name of this host", "")),
    word("description", Meaning::Ignored("`lb status` has no description", "")),
    word("server-state-base", Meaning::Does(server_state)),
    word("server-state-file", Meaning::Does(server_state)),
    word("insecure-fork-wanted", Meaning::Does(forks)),
    word("external-check", Meaning::Does(forks)),
    word("daemon", Meaning::Does(daemon)),
    word("master-worker", Meaning::Does(daemon)),
    word("pidfile", Meaning::Does(pidfile)),
    word("user", Meaning::Notice(KEEPS_USER, USER_REMEDY)),
    word("group", Meaning::Notice(KEEPS_USER, USER_REMEDY)),
    word("uid", Meaning::Notice(KEEPS_USER, USER_REMEDY)),
    word("gid", Meaning::Notice(KEEPS_USER, USER_REMEDY)),
    word("chroot", Meaning::Notice("lb stays in its root directory", "systemd/lb.service confines the process")),
    word(
        "ulimit-n",
        Meaning::Ignored("lb raises its own limit of descriptors as far as it may", "systemd: LimitNOFILE="),
    ),
    word("fd-hard-limit", Meaning::Ignored("lb takes as many descriptors as it may", "systemd: LimitNOFILE=")),
    word("stats socket", Meaning::Does(stats_socket::socket)),
    word("stats timeout", Meaning::Does(stats_socket::timeout)),
    word("stats maxconn", Meaning::Ignored("up to 128 of their clients are answered at once", "")),
    word("stats bind-process", Meaning::Ignored("one process serves all sockets", "")),
    word("setenv", Meaning::Same),
    word("presetenv", Meaning::Same),
    word("unsetenv", Meaning::Same),
    word("resetenv", Meaning::Same),
    word("spread-checks", Meaning::Ignored("lb spreads the checks of a backend over their interval", "")),
    word("max-spread-checks", Meaning::Ignored("lb spreads the checks of a backend over their interval", "")),
    word("maxconnrate", Meaning::Notice("connections a second of the process are not limited", RATE)),
    word("maxsessrate", Meaning::Notice("sessions a second of the process are not limited", RATE)),
    word("grace", Meaning::Ignored("a stop closes the listeners at once", "`hard-stop-after` bounds it")),
    word("zero-warning", Meaning::Ignored("notices do not keep lb from starting", "`lb check` shows them")),
    word("unix-bind", Meaning::Notice("is not applied to unix sockets", "write mode, user and group in each `bind`")),
    word("debug", Meaning::Ignored("lb has no debug mode", "LB_LOG=debug shows more messages")),
    word("quiet", Meaning::Ignored("lb prints little", "LB_LOG=error shows less")),
    word("default-path", Meaning::Ignored("only words that have no effect here name files", "")),
    word("localpeer", Meaning::Ignored(NO_TABLES, "")),
    word("program", Meaning::Ignored("lb starts no programs", "let systemd start it")),
    word("cpu-map", Meaning::Ignored(OWN_THREADS, "")),
    word("cpu-policy", Meaning::Ignored(OWN_THREADS, "")),
    word("thread-group", Meaning::Ignored(OWN_THREADS, "")),
    word("thread-groups", Meaning::Ignored(OWN_THREADS, "")),
    word("numa-cpu-mapping", Meaning::Ignored(OWN_THREADS, "")),
    word("noepoll", Meaning::Ignored(KERNEL, "")),
    word("nopoll", Meaning::Ignored(KERNEL, "")),
    word("nokqueue", Meaning::Ignored(KERNEL, "")),
    word("noevports", Meaning::Ignored(KERNEL, "")),
    word("nosplice", Meaning::Ignored(KERNEL, "")),
    word("nogetaddrinfo", Meaning::Ignored(KERNEL, "")),
    word("noreuseport", Meaning::Ignored(KERNEL, "")),
    word("maxpipes", Meaning::Ignored(KERNEL, "")),
    word("busy-polling", Meaning::Ignored(KERNEL, "")),
    word("strict-limits", Meaning::Ignored(KERNEL, "")),
    word("set-dumpable", Meaning::Ignored(KERNEL, "")),
    word("no-memory-trimming", Meaning::Ignored(KERNEL, "")),
    word("pp2-never-send-local", Meaning::Ignored(KERNEL, "")),
    word("close-spread-time", Meaning::Ignored("a stop lets sessions end by themselves", "")),
    word("mworker-max-reloads", Meaning::Ignored("a reload starts no process", "")),
    word("profiling.*", Meaning::Ignored(KERNEL, "")),
    word("tune.*", Meaning::Ignored("lb's buffers and limits are its own", "")),
    word("ssl-*", Meaning::Ignored(NO_TLS, "")),
    word("ssl2-*", Meaning::Ignored(NO_TLS, "")),
    word("ca-base", Meaning::Ignored(NO_TLS, "")),
    word("crt-base", Meaning::Ignored(NO_TLS, "")),
    word("issuers-chain-path", Meaning::Ignored(NO_TLS, "")),
    word("maxsslconn", Meaning::Ignored(NO_TLS, "")),
    word("maxsslrate", Meaning::Ignored(NO_TLS, "")),
    word("maxcomprate", Meaning::Ignored(NO_HTTP, "")),
    word("maxcompcpuusage", Meaning::Ignored(NO_HTTP, "")),
    word("h1-*", Meaning::Ignored(NO_HTTP, "")),
    word("h2-*", Meaning::Ignored(NO_HTTP, "")),
    word("httpclient.*", Meaning::Ignored(NO_HTTP, "")),
    word("lua-*", Meaning::Ignored("lb runs no Lua", "the rules that call it are named at their lines")),
    word("set-var", Meaning::Ignored(NO_RULES, "")),
    word("set-var-fmt", Meaning::Ignored(NO_RULES, "")),
    word("51degrees-*", Meaning::Ignored(NO_HTTP, "")),
    word("deviceatlas-*", Meaning::Ignored(NO_HTTP, "")),
    word("wurfl-*", Meaning::Ignored(NO_HTTP, "")),
    word("expose-*", Meaning::Ignored(KERNEL, "")),
];

const fn word(name: &'static str, meaning: Meaning<GlobalPlan>) -> KnownWord<GlobalPlan> {
    KnownWord::new(name, Half::Both, meaning)
}

fn maxconn(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.place(1), "'maxconn' expects an integer argument."),
        text => match desk.number(phrase.place(1), "maxconn", text) {
            number if number > 0 => global.settings.set("maxconn", number.to_string(), phrase.at()),
            _ => drop(global.settings.remove("maxconn")),
        },
    }
    desk.at_most(phrase, 2);
}

fn nbthread(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match integer(phrase.text(1)) {
        Some(number @ 1..=256) => global.settings.set("threads", number.to_string(), phrase.at()),
        Some(number) => {
            desk.error(phrase.place(1), format!("'nbthread' value must be between 1 and 256 (was {number})"));
        }
        None => {
            let text = phrase.text(1);
            desk.error(phrase.place(1), format!("'nbthread' passed a missing or unparsable integer value in '{text}'"));
        }
    }
    desk.at_most(phrase, 2);
}

fn nbproc(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let Some(number @ 1..=256) = integer(phrase.text(1)) else {
        desk.error(phrase.place(1), "'nbproc' expects a number from 1 to 256.");
        return;
    };
    global.settings.fill("threads", number.to_string(), phrase.at());
    let reason = format!("nbproc is not supported any more since HAProxy 2.5: one process runs {number} threads");
    desk.fates.notice(phrase.at(), reason, format!("write `nbthread {number}`, or leave it out for a thread a core"));
}

fn log(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.sign != Sign::Plain {
        global.targets.clear();
        if !phrase.text(1).is_empty() {
            desk.error(phrase.place(1), "log : 'no log' does not expect arguments");
        }
        return;
    }
    global.targets.extend(log_target::read(phrase, desk, "").map(|target| (target, phrase.at())));
}

fn log_tag(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.at(), "'log-tag' expects a tag for use in syslog."),
        tag => global.tag = Some((quoted(tag), phrase.at())),
    }
}

fn hard_stop_after(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.text(1).is_empty() {
        desk.error(phrase.at(), "'hard-stop-after' expects <time> as argument.");
        return;
    }
    match desk.time(phrase.place(1), phrase.text(1)) {
        Ok(0) => drop(global.settings.remove("hard_stop_after")),
        Ok(ms) => global.settings.set("hard_stop_after", duration(ms), phrase.at()),
        Err(error) => desk.error(phrase.place(1), format!("{error} in argument to <hard-stop-after>.")),
    }
}

fn server_state(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match (phrase.text(0), phrase.text(1)) {
        (word, "") => desk.error(phrase.at(), format!("'{word}' expects one argument: a file or directory path.")),
        ("server-state-base", path) => global.state_base = Some(path.to_owned()),
        (_, path) => global.state_file = Some((path.to_owned(), phrase.at())),
    }
}

fn forks(global: &mut GlobalPlan, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    global.forks = phrase.sign != Sign::No;
}

fn daemon(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let at = phrase.at();
    match phrase.text(0) {
        "daemon" => {
            global.process.daemon = true;
            desk.fates.ignored(
                at,
                "`lb run` stays in the foreground",
                "let systemd start it, or run it as `haproxy -D`",
            );
            desk.at_most(phrase, 1);
        }
        _ => {
            global.process.master_worker = true;
            desk.fates.ignored(at, "`lb run` always has a supervisor and one engine", "");
        }
    }
}

fn pidfile(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.at(), "'pidfile' expects a file name as an argument."),
        path => {
            global.process.pidfile = Some(path.to_owned());
            let reason = "`lb run` writes no pid file; its pid never changes";
            desk.fates.ignored(phrase.at(), reason, "run it as `haproxy -p FILE`, or ask systemd for the pid");
        }
    }
}

const KEEPS_USER: &str = "lb runs as the user that starts it";
const USER_REMEDY: &str = "set User= and Group= in its unit";
const RATE: &str = "write `rate-limit sessions` in each frontend";
const NO_TABLES: &str = "lb has no stick tables that peers could share";
const OWN_THREADS: &str = "the kernel places the threads";
const KERNEL: &str = "lb needs no such setting";
const NO_TLS: &str = "TLS passes through lb unread";
const NO_HTTP: &str = "HTTP passes through lb unread";
const NO_RULES: &str = "no rule here reads it";
