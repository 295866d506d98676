//! Session lines: `log`, `log-format` and the options about them.

use super::super::log_format::LogFormat;
use super::known::{Half, KnownWord, Meaning};
use super::log_target;
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::Proxy;
use super::setting::quoted;

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    KnownWord::new("log", Half::Both, Meaning::Does(log)),
    front("log-format", Meaning::Does(log_format)),
    front("log-tag", Meaning::Does(log_tag)),
    front("log-format-sd", Meaning::Ignored("lines have no structured data", "")),
    front("error-log-format", Meaning::Ignored("lines of errors have the form of all lines", "")),
    front("log-steps", Meaning::Ignored("one line is written at the end of a session", "")),
    front("unique-id-format", Meaning::Ignored("sessions have no such name", "")),
    front("option tcplog", Meaning::Does(tcplog)),
    front("option httplog", Meaning::HttpIgnored("lines have the form of tcplog", "write `option tcplog`")),
    front("option httpslog", Meaning::HttpIgnored("lines have the form of tcplog", "write `option tcplog`")),
    front("option dontlognull", Meaning::Does(option)),
    front("option dontlog-normal", Meaning::Does(option)),
    front("option logasap", Meaning::Does(option)),
    front("option log-separate-errors", Meaning::Does(option)),
    KnownWord::new("option log-health-checks", Half::Back, Meaning::Ignored(CHECKS, "`lb status` has the last check")),
];

const fn front(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Front, meaning)
}

fn log(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.sign != Sign::Plain {
        proxy.log.clear();
        if !phrase.text(1).is_empty() {
            desk.error(phrase.place(1), "log : 'no log' does not expect arguments");
        }
        return;
    }
    proxy.log.begin();
    if phrase.text(1) == "global" && phrase.text(2).is_empty() {
        proxy.log.global = Some(phrase.at());
        return;
    }
    proxy.log.targets.extend(log_target::read(phrase, desk, "or global").map(|target| (target, phrase.at())));
}

fn log_format(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.at(), "'log-format' expects an argument."),
        format => match LogFormat::parse(format) {
            Ok(_) => proxy.log.settings.set("log.format", quoted(format), phrase.at()),
            Err(error) => {
                proxy.log.settings.remove("log.format");
                let reason = format!("'log-format' {error} (in '{format}')");
                desk.fates.notice(phrase.place(1), reason, "until then lines have the form of tcplog");
            }
        },
    }
    desk.at_most(phrase, 2);
}

fn log_tag(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.at(), "'log-tag' expects a tag for use in syslog."),
        tag => proxy.log.settings.set("log.tag", quoted(tag), phrase.at()),
    }
}

/// The form of the line that is written anyway.
fn tcplog(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    if phrase.sign == Sign::Plain {
        proxy.log.settings.remove("log.format");
    }
}

fn option(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    let key = match phrase.text(1) {
        "dontlognull" => "log.dontlognull",
        "dontlog-normal" => "log.dontlog_normal",
        "logasap" => "log.asap",
        _ => "log.separate_errors",
    };
    match phrase.sign {
        Sign::Plain => proxy.log.settings.set(key, "true", phrase.at()),
        Sign::No | Sign::Default => drop(proxy.log.settings.remove(key)),
    }
}

const CHECKS: &str = "each change of state is logged, not each check";
