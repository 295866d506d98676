//! Keys that sections share.

use super::*;

const SECTIONS: &str = "[frontend.f]\nbind = \":80\"\nbackend = \"a\"\n[backend.a]\nservers = { s = \"h:1\" }\n";

fn with(defaults: &str, backend: &str) -> Result<Config, String> {
    let text = format!("{defaults}{SECTIONS}{backend}");
    parse("f", &text).map_err(|problems| problems.to_string())
}

#[test]
fn a_section_takes_what_it_does_not_say() {
    let defaults = "[defaults.frontend]\nbacklog = 7\nv4v6 = true\n[defaults.backend]\nretries = 9\n\
                    balance = \"first\"\ntimeout = { connect = \"1s\", client = \"2s\" }\n";
    let plain = with("", "retries = 5\ntimeout = { client = \"3s\" }\n").unwrap();
    let config = with(defaults, "retries = 5\ntimeout = { client = \"3s\" }\n").unwrap();
    assert!(
        config.frontends[0].bind[0].v4v6
            && config.frontends[0].bind[0].backlog == 7
            && config.frontends[0].maxconn.is_none()
    );
    let backend = &config.backends[0];
    assert_eq!((backend.retry.retries, backend.balance), (5, Balance::First));
    let second = std::time::Duration::from_secs(1);
    assert_eq!((backend.timeout.connect, backend.timeout.client), (second, Some(3 * second)));
    assert_eq!(backend.timeout.server, plain.backends[0].timeout.server);
    // A server's own table lies over both.
    let config = with("[defaults.backend]\ncheck = { inter = \"1s\", rise = 7 }\n", "check = { rise = 4 }\n").unwrap();
    let check = config.backends[0].servers[0].options.check.as_ref().unwrap();
    assert_eq!((check.inter, check.rise.get()), (second, 4));
}

#[test]
fn a_section_that_says_another_type_of_check_takes_what_fits() {
    let defaults = "[defaults.backend]\ncheck = { type = \"http\", path = \"/up\", inter = \"9s\" }\n";
    let check = |backend| with(defaults, backend).unwrap().backends[0].options.check.clone();
    assert!(matches!(check("").unwrap().kind, CheckKind::Http(_)));
    assert!(matches!(check("check = true\n").unwrap().kind, CheckKind::Http(_)));
    let tcp = check("check = { type = \"tcp\" }\n").unwrap();
    assert!(tcp.kind == CheckKind::Tcp && tcp.inter.as_secs() == 9);
    assert_eq!(check("check = false\n"), None);
}

#[test]
fn what_is_wrong_is_said_once_and_where_it_stands() {
    let two = "[backend.b]\nservers = { s = \"h:1\" }\n";
    let table = [
        (
            "[defaults.backend]\nretires = 5\n",
            "f:2:1: unknown key `retires` in [defaults.backend], did you mean `retries`?",
        ),
        ("[defaults.backend]\nretries = \"x\"\n", "f:2:11: `retries = \"x\"` is a string; write a whole number"),
        ("[defaults.backend]\nservers = {}\n", "f:2:1: `servers` is no default; write it in each [backend.NAME]"),
        ("[defaults.frontend]\nbind = \":81\"\n", "f:2:1: `bind` is no default; write it in each [frontend.NAME]"),
        ("[defaults.backend.timeout]\nconect = \"1s\"\n", "f:2:1: unknown key `conect` in [defaults.backend.timeout]"),
        ("[defaults.backend]\ntimeout = { connect = 5 }\n", "f:2:23: `connect = 5` has no unit"),
        ("[defaults]\ntimeout = {}\n", "f:2:1: unknown key `timeout` in [defaults]; write it in [defaults.backend]"),
        ("defaults = 5\n", "f:1:12: `defaults = 5` is a whole number; write `[defaults.backend]`"),
        ("[defaults]\nbackend = 5\n", "f:2:11: `backend = 5` is a whole number; write `[defaults.backend]`"),
    ];
    for (defaults, start) in table {
        let told = with(defaults, two).unwrap_err();
        assert!(told.starts_with(start) && told.lines().count() == 1, "{defaults}: {told}");
    }
}
