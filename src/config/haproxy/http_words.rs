//! Words that read or change HTTP. HAProxy ignores them in mode tcp; in mode http one that can be dropped without harm
//! is ignored with its reason, and any other keeps its section from running.

use super::fate::Verdict;
use super::known::{Half, KnownWord, Meaning};
use super::phrase::{Desk, Phrase};
use super::proxy::{Doubt, Proxy};

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    row("http-request", Meaning::Does(request)),
    row("http-response", Meaning::Does(response)),
    row("http-after-response", Meaning::Does(response)),
    row("redirect", Meaning::HttpRefused("it answers requests itself", KEEP)),
    row("cookie", Meaning::HttpRefused("it keeps clients at their server by a cookie", BY_ADDRESS)),
    row("appsession", Meaning::HttpRefused("it keeps clients at their server by a cookie", BY_ADDRESS)),
    row("dynamic-cookie-key", Meaning::HttpIgnored("lb sets no cookies", "")),
    row("http-send-name-header", Meaning::HttpRefused(CHANGES, KEEP)),
    row("unique-id-header", Meaning::HttpRefused(CHANGES, KEEP)),
    row("monitor-uri", Meaning::HttpNotice("requests for it go to the servers", "ask a server's own page")),
    row("monitor", Meaning::HttpNotice("it needs `monitor-uri`, which goes to the servers", "")),
    row("capture", Meaning::HttpIgnored("session lines have nothing of HTTP", "")),
    row("declare", Meaning::HttpIgnored("session lines have nothing of HTTP", "")),
    row("compression", Meaning::HttpIgnored("answers pass unchanged", "")),
    row("errorfile", Meaning::HttpIgnored(NO_PAGES, "")),
    row("errorfiles", Meaning::HttpIgnored(NO_PAGES, "")),
    row("errorloc", Meaning::HttpIgnored(NO_PAGES, "")),
    row("errorloc302", Meaning::HttpIgnored(NO_PAGES, "")),
    row("errorloc303", Meaning::HttpIgnored(NO_PAGES, "")),
    row("http-error", Meaning::HttpIgnored(NO_PAGES, "")),
    row(
        "retry-on",
        Meaning::HttpIgnored("only connects are tried again", "`replay` in lb.toml tries first bytes again"),
    ),
    row("http-reuse", Meaning::HttpIgnored(OWN_CONNECTION, "")),
    row("max-keep-alive-queue", Meaning::HttpIgnored(OWN_CONNECTION, "")),
    row("max-session-srv-conns", Meaning::HttpIgnored(OWN_CONNECTION, "")),
    row("use-fcgi-app", Meaning::HttpRefused("it speaks FastCGI to the servers", KEEP)),
    row(
        "option forwardfor",
        Meaning::HttpIgnored("lb adds no header", "`send-proxy` tells servers the client's address"),
    ),
    row("option originalto", Meaning::HttpIgnored("lb adds no header", "`send-proxy` tells servers both addresses")),
    row(
        "option forwarded",
        Meaning::HttpIgnored("lb adds no header", "`send-proxy` tells servers the client's address"),
    ),
    row("option checkcache", Meaning::HttpRefused("it blocks answers", KEEP)),
    row("option http-server-close", Meaning::HttpIgnored(KEPT_OPEN, "")),
    row("option http-keep-alive", Meaning::HttpIgnored(KEPT_OPEN, "")),
    row("option http-tunnel", Meaning::HttpIgnored(KEPT_OPEN, "")),
    row("option httpclose", Meaning::HttpIgnored(KEPT_OPEN, "")),
    row("option forceclose", Meaning::HttpNotice(FORCECLOSE, "leave it out")),
    row("option http-pretend-keepalive", Meaning::HttpIgnored(KEPT_OPEN, "")),
    row("option http-no-delay", Meaning::HttpIgnored("bytes are passed on at once", "")),
    row("option http-buffer-request", Meaning::HttpIgnored("bytes are passed on at once", "")),
    row("option http-ignore-probes", Meaning::HttpIgnored("lb answers no requests", "")),
    row("option http-use-htx", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option http-use-proxy-header", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option http-restrict-req-hdr-names", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option http-drop-*", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option accept-*", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option disable-h2-upgrade", Meaning::HttpIgnored("lb reads no HTTP", "")),
    row("option h1-case-adjust-*", Meaning::HttpIgnored("headers pass unchanged", "")),
    row("option idle-close-on-response", Meaning::HttpIgnored("a stop lets sessions end by themselves", "")),
    row("reqadd", Meaning::HttpRefused(CHANGES, KEEP)),
    row("reqallow", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqiallow", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqdel", Meaning::HttpRefused(CHANGES, KEEP)),
    row("reqidel", Meaning::HttpRefused(CHANGES, KEEP)),
    row("reqdeny", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqideny", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqpass", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqipass", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqrep", Meaning::HttpRefused(CHANGES, KEEP)),
    row("reqirep", Meaning::HttpRefused(CHANGES, KEEP)),
    row("reqtarpit", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqitarpit", Meaning::HttpRefused(DENIES, KEEP)),
    row("reqsetbe", Meaning::HttpRefused("it chooses the backend by the request", KEEP)),
    row("rspadd", Meaning::HttpRefused(CHANGES, KEEP)),
    row("rspdel", Meaning::HttpRefused(CHANGES, KEEP)),
    row("rspidel", Meaning::HttpRefused(CHANGES, KEEP)),
    row("rspdeny", Meaning::HttpRefused(DENIES, KEEP)),
    row("rspideny", Meaning::HttpRefused(DENIES, KEEP)),
    row("rsprep", Meaning::HttpRefused(CHANGES, KEEP)),
    row("rspirep", Meaning::HttpRefused(CHANGES, KEEP)),
    row("block", Meaning::HttpRefused(DENIES, KEEP)),
];

const fn row(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Both, meaning)
}

/// What a rule for requests does that cannot be left out.
const REQUESTS: &[(&str, &str)] = &[
    ("add-header", CHANGES),
    ("del-header", CHANGES),
    ("set-header", CHANGES),
    ("replace-header", CHANGES),
    ("replace-value", CHANGES),
    ("replace-path", CHANGES),
    ("replace-pathq", CHANGES),
    ("replace-uri", CHANGES),
    ("set-method", CHANGES),
    ("set-path", CHANGES),
    ("set-pathq", CHANGES),
    ("set-query", CHANGES),
    ("set-uri", CHANGES),
    ("normalize-uri", CHANGES),
    ("early-hint", CHANGES),
    ("auth", DENIES),
    ("deny", DENIES),
    ("tarpit", DENIES),
    ("reject", DENIES),
    ("silent-drop", DENIES),
    ("wait-for-body", DENIES),
    ("redirect", "it answers requests itself"),
    ("return", "it answers requests itself"),
    ("use-service", "it answers requests itself"),
    ("set-dst", "it chooses the server by the request"),
    ("set-dst-port", "it chooses the server by the request"),
    ("set-src", "it changes the client's address"),
    ("set-src-port", "it changes the client's address"),
    ("set-mark", "it marks packets"),
    ("set-tos", "it marks packets"),
    ("set-timeout", "it changes timeouts by the request"),
];

/// And a rule for answers.
const RESPONSES: &[(&str, &str)] = &[
    ("add-header", CHANGES),
    ("del-header", CHANGES),
    ("set-header", CHANGES),
    ("replace-header", CHANGES),
    ("replace-value", CHANGES),
    ("set-status", CHANGES),
    ("deny", DENIES),
    ("reject", DENIES),
    ("silent-drop", DENIES),
    ("redirect", "it answers requests itself"),
    ("return", "it answers requests itself"),
    ("set-mark", "it marks packets"),
    ("set-tos", "it marks packets"),
];

fn request(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    if phrase.text(1) == "use-service" && phrase.text(2) == "prometheus-exporter" {
        proxy.page.get_or_insert_with(|| phrase.at());
        return;
    }
    rule(proxy, phrase, REQUESTS);
}

fn response(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    rule(proxy, phrase, RESPONSES);
}

fn rule(proxy: &mut Proxy, phrase: &Phrase<'_>, harmful: &[(&str, &str)]) {
    let (word, action) = (phrase.text(0), phrase.text(1));
    let plain = action.split('(').next().unwrap_or_default();
    let harm = harmful.iter().find(|(name, _)| *name == plain || (plain.starts_with("lua.") && *name == "return"));
    let (verdict, what, remedy) = match harm {
        Some((_, what)) => (Verdict::Refused, *what, KEEP),
        None => (Verdict::Ignored, "it changes nothing that clients or servers see", ""),
    };
    let name = if word == "http-request" { "http-request" } else { "http-response" };
    let reason = format!("'{word} {action}': {what}, and lb reads no HTTP");
    proxy.doubts.push(Doubt { at: phrase.at(), word: name, http: true, verdict, reason, remedy: remedy.to_owned() });
}

const CHANGES: &str = "it changes requests or answers";
const DENIES: &str = "it turns requests away";
const KEEP: &str = "let the servers do it, or keep this section in HAProxy";
const BY_ADDRESS: &str = "`balance source` keeps a client at its server by its address";
const NO_PAGES: &str = "a failure is a closed connection, without a page";
const OWN_CONNECTION: &str = "each session has its own connection to the server";
const KEPT_OPEN: &str = "client and server decide how long a connection stays open";
const FORCECLOSE: &str = "option 'forceclose' is not supported any more since HAProxy 2.0";
