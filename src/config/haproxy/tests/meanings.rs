//! Lines that replace or take back others, and what is said of words that other words depend on.

use super::*;

/// The reading of a file with these lines in `global`, `defaults` and its backend.
fn reading(global: &str, defaults: &str, backend: &str) -> HaproxyReading {
    let text = format!(
        "global\n{global}\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n{defaults}\n\
         frontend f\n bind 127.0.0.1:7001\n default_backend b\nbackend b\n{backend}\n server s 10.0.0.1:80 check\n"
    );
    HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default())
}

fn fates(reading: &HaproxyReading) -> Vec<String> {
    reading.fates.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_of_http_checks_replace_those_of_the_defaults() {
    let defaults = " option httpchk GET /d\n http-check send hdr X y\n http-check expect string hello";
    for (backend, has, lacks) in [
        ("", &["string = \"hello\"", "\"/d\""][..], &[][..]),
        (" http-check expect status 200", &["status = \"200\"", "\"/d\""], &["hello"]),
        (" http-check expect status 200\n http-check expect string ok", &["status = \"200\"", "\"ok\""], &["hello"]),
        (" option httpchk GET /own", &["\"/own\""], &["hello", "headers"]),
        (" http-check send uri /sent", &["\"/sent\""], &["hello", "headers"]),
        (" http-check connect port 8", &["port = 8"], &["hello"]),
    ] {
        let reading = reading("", defaults, backend);
        assert_eq!(fates(&reading), Vec::<String>::new(), "{backend}");
        assert!(has.iter().all(|text| reading.toml.contains(text)), "{backend}: {}", reading.toml);
        assert!(!lacks.iter().any(|text| reading.toml.contains(text)), "{backend}: {}", reading.toml);
    }
}

#[test]
fn a_second_expected_status_is_refused() {
    // HAProxy wants both.
    for (first, last) in [("rstatus ^2", "! status 500"), ("! status 500", "rstatus ^2"), ("rstatus ^2", "status 200")]
    {
        let lines = format!(" http-check expect {first}\n http-check expect {last}");
        let fates = fates(&reading("", " option httpchk", &lines));
        assert!(
            fates.iter().any(|fate| fate.contains("stands twice, and a check of lb has one")),
            "{first}, {last}: {fates:?}"
        );
    }
}

#[test]
fn what_an_http_check_cannot_connect_by_is_said() {
    for (words, start) in [
        ("addr 10.0.0.9", "f:13:21: refused: 'http-check connect addr' is not supported; "),
        ("send-proxy", "f:13:21: refused: 'http-check connect send-proxy' is not supported; "),
        ("via-socks4", "f:13:21: refused: 'http-check connect via-socks4' is not supported; "),
        ("ssl", "f:13:21: refused: 'http-check connect ssl' is not supported; "),
        ("port 0", "f:13:26: error: expects a valid TCP port (from range 1 to 65535)"),
        ("port x", "f:13:26: error: expects a valid TCP port (from range 1 to 65535)"),
        ("bogus", "f:13:21: error: 'http-check connect' : unknown argument 'bogus'"),
    ] {
        let mut told = fates(&reading("", " option httpchk", &format!(" http-check connect {words}")));
        // The frontend goes with its backend.
        told.retain(|fate| !fate.starts_with("f:11:2: refused: frontend 'f' needs backend 'b'"));
        assert!(told.len() == 1 && told[0].starts_with(start), "{words}: {told:?}");
    }
    let told = fates(&reading("", " option httpchk", " http-check connect default linger port 81 comment x proto h1"));
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn no_takes_back_what_global_allows_and_nothing_else() {
    let checks = " option external-check\n external-check command /bin/true";
    for (global, allowed) in [
        (" insecure-fork-wanted", true),
        (" insecure-fork-wanted\n no insecure-fork-wanted", false),
        (" no insecure-fork-wanted", false),
    ] {
        let told = fates(&reading(global, "", checks));
        let refused = told.iter().any(|fate| fate.contains("insecure-fork-wanted not enabled in the global section"));
        assert_eq!((refused, told.len()), (!allowed, usize::from(!allowed)), "{global}: {told:?}");
    }
    let logs =
        reading(" log 127.0.0.1:514 daemon\n no log\n log 127.0.0.1:515 daemon\n no busy-polling", " log global", "");
    assert!(logs.toml.contains("515") && !logs.toml.contains("514"), "{}", logs.toml);
    let what = "f:2:5: error: negation/default currently supported only for options, log, busy-polling, set-dumpable, \
                strict-limits, insecure-fork-wanted and numa-cpu-mapping";
    for word in ["daemon", "maxconn", "external-check"] {
        let reading = reading(&format!(" no {word}"), "", "");
        assert_eq!((fates(&reading), reading.process.daemon), (vec![what.to_owned()], false), "{word}");
    }
}

#[test]
fn a_user_and_a_root_directory_that_are_not_taken_are_noticed() {
    for line in ["user haproxy", "group haproxy", "uid 99", "gid 99", "chroot /var/lib/haproxy"] {
        let told = fates(&reading(&format!(" {line}"), "", ""));
        assert!(told.len() == 1 && told[0].starts_with("f:2:2: notice: '"), "{line}: {told:?}");
    }
}

#[test]
fn a_sign_with_nothing_behind_it_is_a_word_that_is_not_known() {
    for (line, what) in [
        ("default#s", "unknown keyword 'default' in 'backend' section; did you mean 'defaults' maybe ?"),
        ("no # option", "unknown keyword 'no' in 'backend' section"),
        ("default", "unknown keyword 'default' in 'backend' section; did you mean 'defaults' maybe ?"),
    ] {
        let told = fates(&reading("", "", line));
        assert_eq!(told, [format!("f:13:1: error: {what}")], "{line}");
    }
}
