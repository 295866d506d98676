//! What is said of the lines once the whole file is known.

use std::collections::BTreeMap;

use super::absence::{Absence, is_frontend, verdict};
use super::fate::{Fates, Verdict};
use super::proxy::{Proxy, ProxyMode};
use super::sections::Sections;
use super::spot::Spot;

/// Says what waits for the whole file: of each line the worst that it means in any section.
pub(super) fn say_doubts(sections: &Sections, absences: &[Option<Absence>], fates: &mut Fates) {
    let mut said: BTreeMap<(Spot, &str), (Verdict, String, String)> = BTreeMap::new();
    let mut say = |at: Spot, word: &'static str, verdict: Verdict, reason: String, remedy: String| {
        let known = said.get(&(at, word)).map_or(Verdict::Ok, |(verdict, ..)| *verdict);
        if weight(verdict) > weight(known) {
            said.insert((at, word), (verdict, reason, remedy));
        }
    };
    // What is not there may be missing only because its line is wrong.
    let wrong = fates.worst() == Verdict::Error;
    let running = sections.proxies.iter().zip(absences);
    let unused = sections.defaults.iter().map(|defaults| (defaults, Some(Absence::Disabled)));
    for (proxy, absence) in running.map(|(proxy, absence)| (proxy, absence.clone())).chain(unused) {
        let http = matches!(proxy.mode, ProxyMode::Http(_));
        let runs = matches!(absence, None | Some(Absence::Refused));
        for doubt in &proxy.doubts {
            if doubt.http && !http {
                let reason =
                    format!("{}: HAProxy ignores it in mode tcp, too", doubt.reason.split(':').next().unwrap_or(""));
                say(doubt.at, doubt.word, Verdict::Ignored, reason, String::new());
            } else {
                let verdict = match (&absence, verdict(proxy, doubt)) {
                    (None | Some(Absence::Refused), verdict) => verdict,
                    (Some(Absence::Idle), Verdict::Refused) => Verdict::Notice,
                    (Some(_), _) => Verdict::Ignored,
                };
                say(doubt.at, doubt.word, verdict, doubt.reason.clone(), doubt.remedy.clone());
            }
        }
        if !runs {
            continue;
        }
        if let (ProxyMode::Http(at), None) = (proxy.mode, &absence) {
            let reason = "mode http: connections are balanced, not requests; nothing of HTTP is read".to_owned();
            say(at, "mode", Verdict::Notice, reason, String::new());
        }
        if let Some(at) = proxy.page {
            let (verdict, reason) = if http {
                (Verdict::Notice, "the statistics page is not served yet; requests for it go to the servers")
            } else {
                (Verdict::Ignored, "HAProxy serves no statistics page in mode tcp, too")
            };
            say(at, "stats", verdict, reason.to_owned(), String::new());
        }
        for word in ["tcp-check", "http-check"].into_iter().filter(|word| !proxy.check.follows(word)) {
            if let Some((_, _, at)) = proxy.check.rules.iter().find(|(rule, ..)| *rule == word) {
                let option = if word == "tcp-check" { "tcp-check" } else { "httpchk" };
                let what = format!("uses {word} rules without 'option {option}', so the rules are ignored");
                say(*at, "rules", Verdict::Notice, format!("{} {what}", proxy.shown()), String::new());
            }
        }
        missing_timeouts(proxy, absence.is_none() && !wrong, &mut say);
    }
    for (proxy, absence) in sections.proxies.iter().zip(absences) {
        let (at, word, verdict, reason) = match absence {
            Some(Absence::Disabled) => {
                (proxy.at, "disabled", Verdict::Ignored, format!("{} is disabled, and left out", proxy.shown()))
            }
            Some(Absence::Page) => {
                let reason = format!("the statistics page is not served yet: {} is left out", proxy.shown());
                (proxy.page.unwrap_or(proxy.at), "stats", Verdict::Notice, reason)
            }
            Some(Absence::Deaf) if wrong => continue,
            Some(Absence::Deaf) => {
                let what = "has no 'bind' directive. Please declare it as a backend if this was intended.";
                (proxy.at, "bind", Verdict::Notice, format!("{} {what}", proxy.shown()))
            }
            Some(Absence::Idle) => {
                let reason = format!("{} cannot run here, and no frontend uses it: it is left out", proxy.shown());
                (proxy.at, "unused", Verdict::Notice, reason)
            }
            Some(Absence::Unused) => {
                let reason = format!("{} is used by refused sections only, and left out with them", proxy.shown());
                (proxy.at, "unused", Verdict::Ignored, reason)
            }
            Some(Absence::Refused) | None => continue,
        };
        say(at, word, verdict, reason, String::new());
    }
    for ((at, _), (verdict, reason, remedy)) in said {
        match verdict {
            Verdict::Notice => fates.notice(at, reason, remedy),
            Verdict::Refused => fates.refused(at, reason, remedy),
            _ => fates.ignored(at, reason, remedy),
        }
    }
}

/// What is done with a difference counts more than what a section without effect leaves out.
fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok => 0,
        Verdict::Ignored => 1,
        Verdict::Notice => 2,
        Verdict::Refused => 3,
        Verdict::Error => 4,
    }
}

fn missing_timeouts(proxy: &Proxy, runs: bool, say: &mut impl FnMut(Spot, &'static str, Verdict, String, String)) {
    if !runs {
        return;
    }
    let mut missing = Vec::new();
    if is_frontend(proxy) && proxy.front.get("timeout.client").is_none() {
        missing.push("client");
    }
    if proxy.kind.is_back() {
        missing.extend(
            ["connect", "server"]
                .into_iter()
                .filter(|name| proxy.back.iter().all(|setting| setting.key.strip_prefix("timeout.") != Some(name))),
        );
    }
    if !missing.is_empty() {
        let mut effects = Vec::new();
        if missing.contains(&"connect") {
            effects.push("a connect takes at most 5 s");
        }
        if missing.iter().any(|name| *name != "connect") {
            effects.push("an idle session stays");
        }
        let (shown, missing, effects) = (proxy.shown(), missing.join("', '"), effects.join(", "));
        let reason = format!("missing timeouts for {shown}: '{missing}'; {effects}");
        say(proxy.at, "timeout", Verdict::Notice, reason, "set them to a non-zero value".to_owned());
    }
}
