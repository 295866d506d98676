//! `stats socket` and `stats timeout` become `haproxy_socket`.

use super::super::super::{SocketLevel, parse};
use super::*;

fn reading(lines: &str) -> HaproxyReading {
    let text = format!(
        "global\n{lines}\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
         listen l\n bind 127.0.0.1:7001\n server s 10.0.0.1:80\n"
    );
    HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default())
}

#[test]
fn places_levels_and_modes_are_carried_over() {
    let reading = reading(
        " stats socket /run/haproxy/admin.sock mode 660 user root group 7 level admin expose-fd listeners process 1\n \
         stats socket ipv4@127.0.0.1:9999 level user\n stats socket *:1999\n stats socket abns@x\n stats timeout 30s",
    );
    let config = parse("f", &reading.toml).unwrap();
    let sockets = &config.global.haproxy_sockets;
    let shown: Vec<_> = sockets.iter().map(|socket| format!("{} {}", socket.bind, socket.level)).collect();
    let wanted =
        ["unix@/run/haproxy/admin.sock admin", "127.0.0.1:9999 user", "0.0.0.0:1999 operator", "abns@x operator"];
    assert_eq!(shown, wanted);
    let access = &sockets[0].access;
    assert_eq!((access.mode, access.user.as_deref(), access.group.as_deref()), (Some(0o660), Some("root"), Some("7")));
    assert_eq!(config.global.haproxy_socket_timeout.as_secs(), 30);
    let fates: Vec<_> = reading.fates.iter().map(|fate| fate.verdict).collect();
    assert_eq!(fates, [Verdict::Ignored, Verdict::Ignored]);
}

#[test]
fn the_last_of_two_sockets_has_the_path() {
    let reading = reading(" stats socket /s level admin\n stats socket /s level user");
    let config = parse("f", &reading.toml).unwrap();
    assert_eq!(config.global.haproxy_sockets.len(), 1);
    assert_eq!(config.global.haproxy_sockets[0].level, SocketLevel::User);
}

#[test]
fn mistakes_have_the_words_of_haproxy() {
    for (line, fate) in [
        (
            "stats socket",
            "f:2:2: error: 'stats socket' in global section expects an address or a path to a UNIX socket",
        ),
        (
            "stats socket /s level x",
            "f:2:24: error: 'stats socket' : 'level' only supports 'user', 'operator', and 'admin' (got 'x')",
        ),
        ("stats socket /s bogus", "f:2:18: error: 'stats socket' : unknown keyword 'bogus'"),
        ("stats socket x", "f:2:15: error: 'stats socket' : missing port specification in 'x'"),
        ("stats timeout x", "f:2:16: error: 'stats timeout' : unexpected character 'x'"),
        ("stats timeout 0", "f:2:16: error: 'stats timeout' expects a positive value"),
        ("stats socket /s ssl", "f:2:18: notice: 'stats socket … ssl': lb ends no TLS; this socket is not served"),
    ] {
        let fates: Vec<_> = reading(&format!(" {line}")).fates.iter().map(ToString::to_string).collect();
        assert_eq!(fates, [fate], "{line}");
    }
}
