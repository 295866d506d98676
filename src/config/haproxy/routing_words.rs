//! Rules that choose a backend, turn connections away or keep clients at their server. What only names a condition or
//! lets a connection pass can be left out; anything else keeps its section from running.

use super::fate::Verdict;
use super::known::{Half, KnownWord, Meaning};
use super::phrase::{Desk, Phrase};
use super::proxy::{Proxy, ProxyKind};

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    KnownWord::new("acl", Half::Both, Meaning::Does(acl)),
    KnownWord::new("use_backend", Half::Front, Meaning::Does(use_backend)),
    KnownWord::new("use-server", Half::Back, Meaning::Refused("it chooses the server by a rule", KEEP)),
    KnownWord::new("tcp-request", Half::Both, Meaning::Does(tcp_rule)),
    KnownWord::new("tcp-response", Half::Back, Meaning::Does(tcp_rule)),
    KnownWord::new("stick-table", Half::Both, Meaning::Ignored("lb has no stick tables", "")),
    KnownWord::new("stick", Half::Back, Meaning::Refused("it keeps clients at their server", BY_ADDRESS)),
    KnownWord::new("force-persist", Half::Both, Meaning::Ignored("no session is bound to a server", "")),
    KnownWord::new("ignore-persist", Half::Both, Meaning::Ignored("no session is bound to a server", "")),
    KnownWord::new("persist", Half::Back, Meaning::Refused("it keeps clients at their server", BY_ADDRESS)),
    KnownWord::new("filter", Half::Both, Meaning::Refused("it changes what passes", KEEP)),
    KnownWord::new("quic-initial", Half::Front, Meaning::Ignored("lb relays TCP only", "")),
];

fn acl(_: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    desk.fates.ignored(
        phrase.at(),
        "a condition alone does nothing",
        "the rules that use it are judged at their lines",
    );
}

fn use_backend(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if proxy.kind == ProxyKind::Defaults {
        desk.error(phrase.at(), "'use_backend' not allowed in 'defaults' section.");
        return;
    }
    let name = phrase.text(1);
    if name.is_empty() {
        desk.error(phrase.at(), "'use_backend' expects a backend name.");
        return;
    }
    proxy.targets.push((name.to_owned(), phrase.at()));
    let reason = format!("'use_backend {name}' chooses the backend by a rule, which is not supported yet");
    let remedy = "a frontend of its own for each backend needs no rule; `--skip-refused` runs the other sections";
    proxy.refuse(phrase.at(), "use_backend", reason, remedy);
}

/// `tcp-request` and `tcp-response`.
fn tcp_rule(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    let word = if phrase.text(0) == "tcp-request" { "tcp-request" } else { "tcp-response" };
    let (layer, action) = (phrase.text(1), phrase.text(2));
    let plain = action.split('(').next().unwrap_or_default();
    let (verdict, what) = if layer == "inspect-delay" {
        (Verdict::Ignored, "no rule here waits for data")
    } else if PASSING.iter().any(|known| *known == plain || plain.starts_with("track-sc")) {
        (Verdict::Ignored, "it lets connections pass, as they do without it")
    } else if plain == "expect-proxy" {
        (Verdict::Refused, "the PROXY header is expected by a rule; write `accept-proxy` in `bind`")
    } else if ["reject", "silent-drop"].contains(&plain) {
        (Verdict::Refused, "it turns connections away by a rule, which is not supported yet")
    } else {
        (Verdict::Refused, "such a rule is not supported yet")
    };
    let remedy = if verdict == Verdict::Refused { "`--skip-refused` runs the other sections" } else { "" };
    proxy.doubt(verdict, phrase.at(), word, format!("'{word} {}': {what}", [layer, action].join(" ").trim()), remedy);
}

/// Actions that nothing notices when no rule depends on them.
const PASSING: [&str; 12] = [
    "accept",
    "set-var",
    "set-var-fmt",
    "unset-var",
    "capture",
    "set-log-level",
    "sc-inc-gpc",
    "sc-inc-gpc0",
    "sc-inc-gpc1",
    "sc-add-gpc",
    "sc-set-gpt",
    "sc-set-gpt0",
];
const KEEP: &str = "keep this section in HAProxy";
const BY_ADDRESS: &str = "`balance source` keeps a client at its server by its address";
