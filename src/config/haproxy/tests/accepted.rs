//! What HAProxy accepts is taken, or refuses its section; only what HAProxy does not start with is an error.

use super::*;

/// The reading of a file with these lines in its one `listen`, behind its `bind`.
fn reading(lines: &str) -> HaproxyReading {
    let text = format!(
        "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nlisten l\n bind 127.0.0.1:7001\n\
         {lines}\n"
    );
    HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default())
}

fn fates(reading: &HaproxyReading) -> Vec<String> {
    reading.fates.iter().map(ToString::to_string).collect()
}

#[test]
fn what_haproxy_reads_in_its_way_is_read_so() {
    let server = " server s 10.0.0.1:80";
    for (lines, fate, toml) in [
        (format!("{server} weight 100%"), "f:8:30: notice: 'weight 100%' is read as 100; ", "weight = 100"),
        (format!("{server} maxconn -1"), "", "s = \"10.0.0.1:80\""),
        (format!(" maxconn -1\n{server}"), "", "s = \"10.0.0.1:80\""),
        (format!(" maxconn 5x\n{server}"), "f:8:10: notice: 'maxconn 5x' is read as 5; ", "maxconn = 5\n"),
        (
            format!(" timeout client 2h30m\n{server}"),
            "f:8:17: notice: unexpected character '3' after the timer value",
            "\"2h\"",
        ),
        (format!("{server} check port 0"), "", "s = \"10.0.0.1:80\""),
        (
            format!(" bind 127.0.0.1:7001\n{server}"),
            "f:8:7: notice: '127.0.0.1:7001' is bound by line 7 already",
            "bind =",
        ),
        (format!(" option redispatch 0\n{server}"), "", "redispatch = false"),
        (
            format!(" option redispatch 2\n{server}"),
            "f:8:20: notice: 'option redispatch 2': every retry",
            "redispatch = true",
        ),
        (format!("{server} init-addr libc,10.0.0.9"), "f:8:23: notice: 'init-addr': ", "s = \"10.0.0.1:80\""),
        (
            format!(" server p 0.0.0.0:0 disabled\n{server}"),
            "f:8:11: notice: '0.0.0.0:0' keeps a place",
            "s = \"10.0.0.1:80\"",
        ),
        (format!(" email-alert from a@b\n{server}"), "f:8:2: ignored: 'email-alert from': lb sends no mail", "s = "),
        (format!(" email-alert mailers m\n{server}"), "f:8:2: notice: 'email-alert mailers': lb sends no mail", "s = "),
    ] {
        let reading = reading(&lines);
        let told = fates(&reading);
        assert_eq!(told.len(), usize::from(!fate.is_empty()), "{lines}: {told:?}");
        assert!(told.iter().all(|told| told.starts_with(fate)), "{lines}: {told:?}");
        assert!(reading.is_usable(false) && reading.toml.contains(toml), "{lines}: {}", reading.toml);
    }
}

#[test]
fn what_lb_cannot_do_refuses_its_section_and_no_other() {
    let other = "listen m\n bind 127.0.0.1:7002\n server s 10.0.0.1:80";
    for (lines, fate) in [
        (
            " source 127.0.0.1:99\n server s 10.0.0.1:80",
            "f:8:9: refused: 'source 127.0.0.1:99': connects come from any port",
        ),
        (" server s 10.0.0.1:80 source 127.0.0.1:1-9", "f:8:23: refused: 'source': connects come from any port"),
        (" server s 10.0.0.1:80 check port 99999", "f:8:29: refused: 'server … port': this is no port"),
        (" server s 127.0.0.1", "f:8:2: refused: "),
        (" server s 10.0.0.1:80\nlisten n\n bind 127.0.0.1:7001\n server s 10.0.0.1:80", "f:10:2: refused: "),
    ] {
        let reading = reading(&format!("{lines}\n{other}"));
        let told = fates(&reading);
        assert!(told.len() == 1 && told[0].starts_with(fate), "{lines}: {told:?}");
        assert!(!told[0].contains('[') && !told[0].contains("line 1"), "{told:?}");
        assert!(!reading.is_usable(false) && reading.is_usable(true), "{lines}: {told:?}");
    }
}

#[test]
fn what_haproxy_does_not_start_with_is_an_error_in_its_words() {
    for (lines, fate) in [
        (
            " server s 10.0.0.1:80 agent-check",
            "f:8:2: error: 'server l/s' : server s does not have agent port. Agent check has",
        ),
        (
            " server s 10.0.0.1:80 init-addr foo",
            "f:8:33: error: 'init-addr' : unknown init-addr method 'foo', supported",
        ),
        (" source 127.0.0.1:1-9", "f:8:9: error: 'source 127.0.0.1:1-9' : port range not permitted here in"),
        (
            " bind :7003 maxconn -1",
            "f:8:21: error: 'bind :7003' in section 'listen': 'maxconn' : invalid value -1, must be >= 0",
        ),
        (" email-alert bogus", "f:8:14: error: email-alert: unknown argument 'bogus'"),
        (" optin tcplog", "f:8:2: error: unknown keyword 'optin' in 'listen' section; did you mean 'option' maybe ?"),
        (" stats enble", "f:8:8: error: unknown stats parameter 'enble', expects 'admin', 'uri',"),
    ] {
        let told = fates(&reading(lines));
        assert!(told.len() == 1 && told[0].starts_with(fate), "{lines}: {told:?}");
    }
}
