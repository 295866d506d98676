//! What each mistake is called, and where it is.

use super::*;

/// A valid file with this line added to that section; its problems, `line:column` being relative to the line.
fn problems(section: &str, line: &str) -> String {
    let mut text = String::new();
    for (name, lines) in BASE {
        text += &format!("[{name}]\n");
        // A dotted key keeps the sections open for what a row adds.
        for base in *lines {
            let key = base.split(' ').next().unwrap_or(base);
            let replaced = *name == section && line.split(' ').next() == Some(key);
            text += &if replaced { String::new() } else { format!("{base}\n") };
        }
        if *name == section {
            text += &format!("{line}\n");
        }
    }
    let at = text.lines().position(|there| there == line.split('\n').next().unwrap_or(line)).unwrap() + 1;
    match parse("f", &text) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string().replace(&format!("f:{at}:"), ""),
    }
}

#[test]
fn each_mistake_has_its_place_and_its_remedy() {
    for (section, line, expected) in MISTAKES {
        let known: Vec<_> = interface::names().iter().take(8).map(|name| format!("`{name}`")).collect();
        let expected = expected.replace("INTERFACES", &known.join(", "));
        assert_eq!(problems(section, line), expected, "[{section}] {line}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[frontend.web]\nbind = \":80\"\nbackend = \"ap\"\n\
                [backend.app]\nblance = \"first\"\nretries = 101\nservers.a = \"h\"\n\
                [frontend.two]\nbind = [\"*:80\", \"[::1]:80\"]\n[listen.x]\n";
    assert_eq!(
        parse("lb.toml", text).unwrap_err().to_string(),
        "lb.toml:3:11: `backend = \"ap\"` is no backend, did you mean \"app\"?\n\
         lb.toml:5:1: unknown key `blance` in [backend.app], did you mean `balance`?\n\
         lb.toml:6:11: `retries = 101` is out of range; write a number from 0 to 100\n\
         lb.toml:7:13: `a = \"h\"` has no port for its checks; write it as `h:PORT`, or, to use the port that the client \
         came to, `check = { port = 8000 }` or `check = false` beside it\n\
         lb.toml:8:1: [frontend.two] has no `backend`; write `backend = \"NAME\"`\n\
         lb.toml:9:9: `\"*:80\"` is bound already by [frontend.web] in line 2; keep one of them\n\
         lb.toml:10:2: unknown key `listen`; write [frontend.NAME] and [backend.NAME]"
    );
}

#[test]
fn an_empty_file_needs_a_frontend() {
    let expected = "f:1:1: there is no frontend; add [frontend.NAME] with `bind` and `backend`";
    assert_eq!(parse("f", "").unwrap_err().to_string(), expected);
}

#[test]
fn what_is_no_toml_is_told_beside_the_rest() {
    let text = "[frontend web]\nbind = \":80\"\n[backend.app]\nbalance = first\nretries = 3\nretries = 4\n\
                server a 1.2.3.4:80 check\nreplay = \"x\ncheck =\nobserve = \"layer5\"\n[[backend.x]]\n";
    assert_eq!(
        parse("f", text).unwrap_err().to_string(),
        "f:1:1: `[frontend web]` is no table header; write `[frontend.web]`\n\
         f:4:11: `first` is not quoted; write \"first\"\n\
         f:6:1: `retries` is defined twice; keep one of them\n\
         f:7:1: `server a 1.2.3.4:80 check` is no `key = value`; write it so\n\
         f:8:12: this is not TOML: invalid basic string, expected `\"`\n\
         f:9:8: there is no value after `=`; write one\n\
         f:10:11: `observe = \"layer5\"` is unknown, did you mean \"layer4\"?\n\
         f:11:1: `[[backend.x]]` has double brackets; write `[backend.x]`"
    );
}

#[test]
fn what_an_open_bracket_swallows_is_not_judged() {
    let text = "[frontend.a]\nbackend = 5\nbind = [\":80\"\nbacklog = 0\n[backend.x]\nblub = 1\n";
    assert_eq!(
        parse("f", text).unwrap_err().to_string(),
        "f:2:11: `backend = 5` is a whole number; write a string, e.g. `backend = \"app\"`\n\
         f:4:1: an array is not closed before this; add `]`"
    );
}

#[test]
fn a_backend_can_have_too_many_servers() {
    let lines: Vec<_> = (0..=MAX_SERVERS).map(|n| format!("s{n} = \"h:1\"")).collect();
    let text = format!("[frontend.f]\nbind = \":1\"\nbackend = \"b\"\n[backend.b.servers]\n{}\n", lines.join("\n"));
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:4101:1: `s4096` is one too many: there are 4097 servers; keep at most 4096 a backend"
    );
}

#[test]
fn nothing_that_a_terminal_obeys_gets_through() {
    let problems = parse("f", "[backend.\"a\\u001b[31m\\n\"]\n\"b\\u0007\" = 1\n").unwrap_err();
    assert!(problems.iter().all(|problem| !problem.message.contains(char::is_control)), "{problems:?}");
}

const BASE: &[(&str, &[&str])] = &[
    ("global", &[]),
    ("global.log", &[]),
    ("etcd", &["endpoints = \"http://h:2379\""]),
    ("frontend.f", &["bind = \":80\"", "backend = \"b\""]),
    ("backend.b", &["discovery = { etcd = \"/b/\" }"]),
    ("backend.b.servers", &["a = \"h:1\""]),
];

/// Section, line, `column: message`.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
("global", "thread = 2", "1: unknown key `thread` in [global], did you mean `threads`?"),
("global", "threads = 257", "11: `threads = 257` is out of range; write a number from 1 to 256"),
("global", "nbthread = 2", "1: unknown key `nbthread` in [global]; write `threads`"),
("global", "maxconn = 0", "11: `maxconn = 0` is out of range; write a number from 1 to 10000000"),
("global", "maxconn = \"4k\"", "11: `maxconn = \"4k\"` is a string; write a whole number from 1 to 10000000, e.g. `maxconn = 1`"),
("global", "socket = \"\"", "10: `socket = \"\"` is empty; write e.g. `socket = \"/run/lb/lb.sock\"`"),
("global", "socket = 5", "10: `socket = 5` is a whole number; write a string, e.g. `socket = \"/run/lb/lb.sock\"`"),
("global", "haproxy_socket = [{}]", "19: [global.haproxy_socket] has no `path` or `addr`; write `path = \"/run/lb/haproxy.sock\"` or `addr = \"127.0.0.1:1999\"`"),
("global", "haproxy_socket = [{ path = \"/a\", addr = \":1\" }]", "34: `addr` stands beside `path`; write two sockets"),
("global", "haproxy_socket = [{ path = \"a\" }]", "28: `path = \"a\"` is no path of a socket, which is absolute and has at most 97 bytes; write e.g. \"/run/web.sock\""),
("global", "haproxy_socket = [{ addr = \"fd@3\" }]", "28: `addr = \"fd@3\"` cannot be used here; write an address and a port, such as \"127.0.0.1:1999\""),
("global", "haproxy_socket = [{ addr = \":1-2\" }]", "28: `addr = \":1-2\"` is a range of ports; write one"),
("global", "haproxy_socket = [{ path = \"/a\", level = \"root\" }]", "42: `level = \"root\"` is unknown; write \"operator\" or \"user\" or \"admin\""),
("global", "haproxy_socket = [{ path = \"/a\" }, { addr = \"unix@/a\" }]", "36: `{ addr = \"unix@/a\" }` is there twice; keep one of them"),
("global", "haproxy_socket_timeout = \"0\"", "26: `haproxy_socket_timeout = \"0\"` cannot be zero; write a long one, such as \"24h\""),
("global", "state_dir = true", "13: `state_dir = true` is true or false; write a string, e.g. `state_dir = \"/var/lib/lb\"`"),
("global", "hard_stop_after = \"0\"", "19: `hard_stop_after = \"0\"` cannot be zero; write \"1ms\" to cut open sessions at once"),
("global", "hard_stop_after = 30", "19: `hard_stop_after = 30` has no unit, for which HAProxy takes milliseconds; write \"30ms\", or \"30s\" for seconds"),
("global", "hard_stop_after = 0", "19: `hard_stop_after = 0` cannot be zero; write \"1ms\" to cut open sessions at once"),
("global.log", "target = \"none\"", "10: `target = \"none\"` is no place; write `sessions = false` for no session lines"),
("global.log", "target = \"syslog\"", "10: `target = \"syslog\"` is no place for words; write \"stdout\", \"stderr\", \"fd@3\", \"/dev/log\" or \"127.0.0.1:514\""),
("global.log", "target = []", "10: `target = []` names no place; write e.g. `target = \"stdout\"`, or `sessions = false` for no session lines"),
("global.log", "target = [\"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\"]", "10: `target = [\"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\", \"fd@3\",…` names more than 8 places; write at most 8"),
("global.log", "target = { to = \"stderr\", length = 79 }", "36: `length = 79` is out of range; write a number from 80 to 65535"),
("global.log", "format = \"%ci %r\"", "10: `format = \"%ci %r\"` has the field `%r` of HTTP, and lb is always in TCP mode; leave it out"),
("frontend.f", "log = { rate = 5 }", "9: unknown key `rate` in [frontend.f.log]; write it in [global.log]"),
("global.log", "rate = -1", "8: `rate = -1` is out of range; write a number from 0 to 1000000000"),
("global.log", "sessions = \"yes\"", "12: `sessions = \"yes\"` is a string; write `sessions = true`"),
("etcd", "endpoints = \"127.0.0.1:2379\"", "13: `endpoints = \"127.0.0.1:2379\"` has no scheme; write it as \"http://HOST:2379\" or \"https://HOST:2379\""),
("etcd", "endpoints = [\"http://h\"]", "14: `\"http://h\"` is no endpoint of etcd; write it as \"http://HOST:2379\""),
("etcd", "endpoints = []", "13: `endpoints = []` names no endpoint; write [\"http://127.0.0.1:2379\"]"),
("etcd", "ca = \"/ca.pem\"", "f:4:13: `endpoints = \"http://h:2379\"` is not encrypted, so `ca` has no use; write https://"),
("etcd", "cert = \"/c.pem\"", "f:4:13: `endpoints = \"http://h:2379\"` is not encrypted, so `cert` has no use; write https://\n1: `cert` needs `key` beside it; write `key = \"/etc/lb/etcd.key\"`"),
("etcd", "password = \"secret\"", "1: unknown key `password` in [etcd]; put it into a file and write `password_file = \"/etc/lb/etcd.password\"`"),
("etcd", "username = \"lb\"", "1: `username` needs `password_file` beside it; write `password_file = \"/etc/lb/etcd.password\"`"),
("etcd", "guard_delay = \"-1s\"", "15: `guard_delay = \"-1s\"` is no duration; write e.g. \"500ms\", \"5s\" or \"1h\""),
("frontend.f", "default_backend = \"b\"", "1: unknown key `default_backend` in [frontend.f]; write `backend = \"NAME\"`"),
("frontend.f", "mode = \"tcp\"", "1: unknown key `mode` in [frontend.f]; leave it out: lb is always in TCP mode"),
("frontend.f", "bind = []", "8: `bind = []` names no address; write e.g. `bind = [\"0.0.0.0:80\"]`"),
("frontend.f", "bind = [80]", "9: `80` is a whole number; write a string, e.g. `\"0.0.0.0:80\"`"),
("frontend.f", "bind = [\"1.2.3.4\"]", "9: `\"1.2.3.4\"` has no port; write it as \"1.2.3.4:80\""),
("frontend.f", "bind = [\"localhost:80\"]", "9: `\"localhost:80\"` is no IP address and port; write e.g. \"127.0.0.1:80\" or \"[::1]:80\""),
("frontend.f", "bind = [\":80,90\"]", "9: `\":80,90\"` has several ports; write one bind for each, e.g. \"0.0.0.0:80\", or a range, \"0.0.0.0:8000-8010\""),
("frontend.f", "bind = [\":90-80\"]", "9: `\":90-80\"` has no range of ports from 1 to 65535, the lower one first; write e.g. \"0.0.0.0:8000-8010\""),
("frontend.f", "bind = [\":80-82\", \":81\"]", "19: `\":81\"` is bound already by [frontend.f] in line 7; keep one of them"),
("frontend.f", "bind = { name = \"a\" }", "8: [frontend.f.bind] has no `addr`; write `addr = \"0.0.0.0:80\"`"),
("frontend.f", "bind = { addr = \":80\", v6only = true }", "24: unknown key `v6only` in [frontend.f.bind]; leave it out: that is the default; `v4v6 = true` is the opposite"),
("frontend.f", "bind = { addr = \":80\", interface = \"eth0/1\" }", "36: `interface = \"eth0/1\"` is no name of an interface; write e.g. \"eth0\""),
("frontend.f", "bind = \"unix@run/x\"", "8: `bind = \"unix@run/x\"` is no path of a socket, which is absolute and has at most 97 bytes; write e.g. \"/run/web.sock\""),
("frontend.f", "bind = { addr = \"/run/x\", mode = \"0888\" }", "34: `mode = \"0888\"` is no mode from \"0\" to \"0777\"; write e.g. \"0660\""),
("frontend.f", "bind = { addr = \"/run/x\", mode = 660 }", "34: `mode = 660` is a whole number; write a string, e.g. `mode = \"0660\"`"),
("frontend.f", "bind = [\"/run/x\", \"unix@/run/x\"]", "19: `\"unix@/run/x\"` is bound already by [frontend.f] in line 7; keep one of them"),
("frontend.f", "rate_limit = 0", "14: `rate_limit = 0` is out of range; write a number from 1 to 10000000"),
("frontend.f", "timeout = { connect = \"5s\" }", "13: unknown key `connect` in [frontend.f.timeout]; write it in [backend.NAME.timeout]"),
("frontend.f", "bind = [\"[::]:80\", \"[::]:80\"]", "20: `\"[::]:80\"` is bound already by [frontend.f] in line 7; keep one of them"),
("frontend.f", "bind = [\":80\", \"[::]:80\"]\nv4v6 = true", "16: `\"[::]:80\"` is bound already by [frontend.f] in line 7; keep one of them"),
("frontend.f", "backend = \"nothing\"", "11: `backend = \"nothing\"` is no backend; there is `b`"),
("frontend.f", "accept_proxy = \"v1\"", "16: `accept_proxy = \"v1\"` is a string; write `accept_proxy = true`"),
("frontend.f", "backlog = 1.5", "11: `backlog = 1.5` is a number with a fraction; write a whole number from 1 to 1000000, e.g. `backlog = 1`"),
("frontend.f", "acceptproxy = true", "1: unknown key `acceptproxy` in [frontend.f], did you mean `accept_proxy`?"),
("backend.b", "blance = \"first\"", "1: unknown key `blance` in [backend.b], did you mean `balance`?"),
("backend.b", "balance = \"rondrobin\"", "11: `balance = \"rondrobin\"` is unknown, did you mean \"roundrobin\"?"),
("backend.b", "balance = \"uri\"", "11: `balance = \"uri\"` is unknown; write \"roundrobin\" or \"static-rr\" or \"leastconn\" or \"random\" or \"source\" or \"first\""),
("backend.b", "retries = \"3\"", "11: `retries = \"3\"` is a string; write `retries = 3`"),
("backend.b", "retries = -1", "11: `retries = -1` is out of range; write a number from 0 to 100"),
("backend.b", "retries = 99999999999999999999", "11: `retries = 99999999999999999999` is out of range; write a number from 0 to 100"),
("backend.b", "timeout = { connect = 5000 }", "23: `connect = 5000` has no unit, for which HAProxy takes milliseconds; write \"5000ms\" or \"5s\""),
("backend.b", "timeout = { connect = 5_000 }", "23: `connect = 5_000` has no unit, for which HAProxy takes milliseconds; write \"5000ms\" or \"5s\""),
("backend.b", "timeout = { client = \"1.5\" }", "22: `client = \"1.5\"` has no unit; write \"1500ms\""),
("backend.b", "timeout = { client = -5 }", "22: `client = -5` is negative; write e.g. \"500ms\", \"5s\" or \"1h\""),
("backend.b", "replay = -1", "10: `replay = -1` is no size; write bytes, or with a unit \"16k\" or \"1m\""),
("backend.b", "replay = 16_384", "10: `replay = 16_384` is no string; write \"16384\" for bytes, or e.g. \"16k\""),
("backend.b", "redispatch = \"off\"", "14: `redispatch = \"off\"` is a string; write `redispatch = false`"),
("backend.b", "redispatch = 0", "14: `redispatch = 0` is a whole number; write `redispatch = false`"),
("backend.b", "balance = “first”", "11: `“first”` has typographic quotes; write \"first\""),
("backend.b", "retries = 3,", "12: there is a `,` after the value; leave it out"),
("backend.b", "balance = \"first\",  # c", "18: there is a `,` after the value; leave it out"),
("frontend.f", "bind = [\"0.0.0.0:65536\"]", "9: `\"0.0.0.0:65536\"` has a port that is no number from 0 to 65535; write e.g. \"0.0.0.0:80\""),
("frontend.f", "bind = [\"[fe80::1%nope]\"]", "9: `\"[fe80::1%nope]\"` has no port; write it as \"[fe80::1%nope]:80\""),
("frontend.f", "bind = [\"[::1%lo]:80\"]", "9: `\"[::1%lo]:80\"` names an interface, which only a link-local address (fe80::) has; write it as `[::1]:80`"),
("backend.b", "redispatch = 1", "14: `redispatch = 1` is a whole number; write `redispatch = true`"),
("backend.b", "replay = 16384", "10: `replay = 16384` is no string; write \"16384\" for bytes, or e.g. \"16k\""),
("backend.b", "replay = \"2m\"", "10: `replay = \"2m\"` is too large; write at most \"1m\""),
("backend.b", "replay = \"16kb\"", "10: `replay = \"16kb\"` is no size; write bytes, or with a unit \"16k\" or \"1m\""),
("backend.b", "replay = true", "10: `replay = true` is true or false; write a size, e.g. `replay = \"16k\"`"),
("backend.b", "timeout = \"5s\"", "11: `timeout = \"5s\"` is a string; write `timeout = { connect = \"5s\" }`"),
("backend.b", "timeout = { connect = 5 }", "23: `connect = 5` has no unit, for which HAProxy takes milliseconds; write \"5ms\", or \"5s\" for seconds"),
("backend.b", "timeout = { connect = 0 }", "23: `connect = 0` cannot be zero; write a time such as \"5s\", a wait without end is not possible"),
("backend.b", "timeout = { connect = 1.5 }", "23: `connect = 1.5` is a number with a fraction; write a duration, e.g. `connect = \"5s\"`"),
("backend.b", "timeout = { connect = \"0\" }", "23: `connect = \"0\"` cannot be zero; write a time such as \"5s\", a wait without end is not possible"),
("backend.b", "timeout = { client = \"50\" }", "22: `client = \"50\"` has no unit, for which HAProxy takes milliseconds; write \"50ms\", or \"50s\" for seconds"),
("backend.b", "timeout = { client = \"1us\" }", "22: `client = \"1us\"` is too short; write at least \"1ms\", or \"0\" where that means off"),
("backend.b", "timeout = { client = \"2years\" }", "22: `client = \"2years\"` is too long; write at most \"365days\", or \"0\" where that means no limit"),
("backend.b", "timeout = { client = \"5x\" }", "22: `client = \"5x\"` is no duration; write e.g. \"500ms\", \"5s\" or \"1h\""),
("backend.b", "timeout = { client-fin = \"1s\" }", "13: unknown key `client-fin` in [backend.b.timeout], did you mean `client_fin`?"),
("backend.b", "timeout = { tunnel = \"0\" }", "22: `tunnel = \"0\"` cannot be zero; leave it out, and client and server stay in force"),
("backend.b", "client-fin = \"1s\"", "1: unknown key `client-fin` in [backend.b]; write `timeout = { client_fin = \"30s\" }`"),
("backend.b", "server = \"h:1\"", "1: unknown key `server` in [backend.b]; write `app1 = \"10.0.0.1:8000\"` in [backend.b.servers]"),
("backend.b", "mode = \"tcp\"", "1: unknown key `mode` in [backend.b]; leave it out: lb is always in TCP mode"),
("backend.b", "observe = \"layer7\"", "11: `observe = \"layer7\"` is unknown, did you mean \"layer4\"?"),
("backend.b", "on_marked_down = true", "18: `on_marked_down = true` is true or false; write a string, e.g. `on_marked_down = \"shutdown-sessions\"`"),
("backend.b", "send_proxy = \"v3\"", "14: `send_proxy = \"v3\"` is unknown, did you mean \"v1\"?"),
("backend.b", "keepalive = \"10h\"", "13: `keepalive = \"10h\"` is out of range; write a time from \"1s\" to \"9h\", or \"0\" to switch it off"),
("backend.b", "discovery = \"/app/\"", "13: `discovery = \"/app/\"` is a string; write `discovery = { etcd = \"/app/servers/\" }`"),
("backend.b", "discovery = {}", "13: [backend.b.discovery] has no `etcd`; write `etcd = \"/app/servers/\"`"),
("backend.b", "discovery = { etcd = \"/app\" }", "22: `etcd = \"/app\"` would be followed at once by the name of a server; write \"/app/\""),
("backend.b", "discovery = { etcd = \"\" }", "22: `etcd = \"\"` is empty; write e.g. `etcd = \"/app/servers/\"`"),
("backend.b", "check = \"http\"", "9: `check = \"http\"` is a string; write `check = { type = \"tcp\", inter = \"2s\" }` or `check = false`"),
("backend.b", "check = { type = \"htp\" }", "18: `type = \"htp\"` is unknown, did you mean \"http\"?"),
("backend.b", "check = { rise = 0 }", "18: `rise = 0` is out of range; write a number from 1 to 1000"),
("backend.b", "check = { inter = \"0\" }", "19: `inter = \"0\"` cannot be zero; write a time such as \"2s\", or `check = false`"),
("backend.b", "check = { path = \"/\" }", "11: `path` belongs to another type of check; write `type = \"http\"` beside it"),
("backend.b", "check = { type = \"tcp\", steps = [] }", "25: `steps` belongs to another type of check; write `type = \"script\"` beside it"),
("backend.b", "check = { type = \"http\", path = \"ping\" }", "33: `path = \"ping\"` cannot stand in an HTTP request; write e.g. \"/ping\""),
("backend.b", "check = { type = \"http\", method = \"get\" }", "35: `method = \"get\"` cannot stand in an HTTP request; write e.g. \"GET\""),
("backend.b", "check = { type = \"http\", host = \"a b\" }", "33: `host = \"a b\"` cannot stand in an HTTP request; write e.g. \"www.example.org\""),
("backend.b", "check = { type = \"http\", status = \"20x\" }", "35: `status = \"20x\"` is no status; write codes from 100 to 599, e.g. \"200-399\" or \"200,204\""),
("backend.b", "check = { type = \"http\", status = 99 }", "35: `status = 99` is out of range; write a number from 100 to 599"),
("backend.b", "check = { type = \"http\", status = [] }", "35: `status = []` names no code; write e.g. `status = \"200-399\"`"),
("backend.b", "check = { type = \"http\", uri = \"/\" }", "26: unknown key `uri` in [backend.b.check]; write `path`"),
("backend.b", "check = { type = \"script\" }", "9: [backend.b.check] has no `steps`; write `steps = [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]`"),
("backend.b", "check = { type = \"script\", steps = [] }", "36: `steps = []` has no step; write e.g. `steps = [{ expect = \"220 \" }]`"),
("backend.b", "check = { type = \"script\", steps = \"PING\" }", "36: `steps = \"PING\"` is a string; write e.g. `steps = [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]`"),
("backend.b", "check = { type = \"script\", steps = [{}] }", "37: `{}` is not one step; write one of `connect`, `send`, `send_hex`, `expect`, `expect_not`, `expect_regex`, `expect_not_regex`, `expect_hex`, `expect_not_hex`, `expect_hex_regex` or `expect_not_hex_regex` in each"),
("backend.b", "check = { type = \"script\", steps = [{ send = \"a\", expect = \"b\" }] }", "37: `{ send = \"a\", expect = \"b\" }` is not one step; write one of `connect`, `send`, `send_hex`, `expect`, `expect_not`, `expect_regex`, `expect_not_regex`, `expect_hex`, `expect_not_hex`, `expect_hex_regex` or `expect_not_hex_regex` in each"),
("backend.b", "check = { type = \"script\", steps = [{ expct = \"b\" }] }", "39: unknown key `expct` in [backend.b.check.steps], did you mean `expect`?"),
("backend.b", "check = { type = \"script\", steps = [{ expect = \"\" }] }", "48: `expect = \"\"` is empty; write e.g. `expect = \"+PONG\"`"),
("backend.b", "check = { type = \"script\", steps = [{ send_hex = \"5x\" }] }", "50: `send_hex = \"5x\"` is not made of pairs of hexadecimal digits; write e.g. \"50494e47\""),
("backend.b", "check = { type = \"script\", steps = [{ expect_regex = \"(\" }] }", "54: `expect_regex = \"(\"` is no regular expression: unclosed group; write e.g. \"role:master\""),
("backend.b", "check = { type = \"script\", steps = [{ connect = false }] }", "49: `connect = false` is no step; write `connect = true` or leave it out"),
("backend.b", "check = { addr = \"h\" }", "18: `addr = \"h\"` is no IP address; write e.g. \"10.0.0.1\", and its port as `port = 8000`"),
("backend.b", "check = { port = 0 }", "18: `port = 0` is out of range; write a number from 1 to 65535"),
("backend.b", "check = { init_state = \"upp\" }", "24: `init_state = \"upp\"` is unknown, did you mean \"up\"?"),
("backend.b.servers", "b = \"1.2.3.4\"", "5: `b = \"1.2.3.4\"` has no port for its checks; write it as `1.2.3.4:PORT`, or, to use the port that the client came to, `check = { port = 8000 }` or `check = false` beside it"),
("backend.b.servers", "b = { addr = \"h:+70000\", check = false }", "14: `addr = \"h:+70000\"` is no address of a server: port `+70000` is not a number from 1 to 65535"),
("backend.b.servers", "b = \"h:-1\"", "5: `b = \"h:-1\"` has no port for its checks; write it as `h:PORT`, or, to use the port that the client came to, `check = { port = 8000 }` or `check = false` beside it"),
("backend.b.servers", "b = \"::1\"", "5: `b = \"::1\"` is no address of a server: has no port; write it as `[::1]:PORT`"),
("backend.b.servers", "b = \"h:0\"", "5: `b = \"h:0\"` is no address of a server: port `0` is not a number from 1 to 65535"),
("backend.b.servers", "b = \"a b:1\"", "5: `b = \"a b:1\"` is no address of a server: `a b` is neither an IP address nor a host name; write `HOST:PORT`"),
("backend.b.servers", "b = \"unix@x\"", "5: `b = \"unix@x\"` is no address of a server: the path after `unix@` must be absolute and shorter than 108 bytes"),
("backend.b.servers", "b = \"[::1]\"", "5: `b = \"[::1]\"` has no port for its checks; write it as `[::1]:PORT`, or, to use the port that the client came to, `check = { port = 8000 }` or `check = false` beside it"),

("backend.b.servers", "b = \"fe80::1%lo\"", "5: `b = \"fe80::1%lo\"` is no address of a server: has no port; write it as `[fe80::1%lo]:PORT`"),
("backend.b.servers", "b = \":80\"", "5: `b = \":80\"` is no address of a server: has no host; write it as `127.0.0.1:80`, or with the host's name"),
("backend.b.servers", "b = \"*:80\"", "5: `b = \"*:80\"` is no address of a server: has no host; write it as `127.0.0.1:80`, or with the host's name"),
("backend.b.servers", "b = \"8000\"", "5: `b = \"8000\"` is no address of a server: has no host; write it as `127.0.0.1:8000`, or with the host's name"),
("backend.b.servers", "b = \"http://h:80/\"", "5: `b = \"http://h:80/\"` is no address of a server: has a scheme; write it as `h:80`"),
("backend.b.servers", "b = \"10.0.0.1 80\"", "5: `b = \"10.0.0.1 80\"` is no address of a server: has no colon before the port; write it as `10.0.0.1:80`"),
("backend.b.servers", "b = \"[fe80::1%nope]:0\"", "5: `b = \"[fe80::1%nope]:0\"` is no address of a server: names the interface `nope`, which this machine does not have; it has INTERFACES"),
("backend.b.servers", "b = { addr = \"h:1\", weight = \"50%\" }", "30: `weight = \"50%\"` is a percentage; write a whole number from 0 to 256"),
("backend.b.servers", "b = { addr = \"h:1\", weight = \"50\" }", "30: `weight = \"50\"` is a string; write `weight = 50`"),
("backend.b.servers", "b = { addr = \"h:1\", backup = \"no\" }", "30: `backup = \"no\"` is a string; write `backup = false`"),
("backend.b.servers", "b = 5", "5: `b = 5` is a whole number; write `b = \"10.0.0.1:8000\"`"),
("backend.b.servers", "b = { weight = 300 }", "5: [backend.b.servers.b] has no `addr`; write `addr = \"10.0.0.1:8000\"`\n16: `weight = 300` is out of range; write a number from 0 to 256"),
("backend.b.servers", "b = { addr = \"h:1\", weight = 257, maxconn = 0 }", "30: `weight = 257` is out of range; write a number from 0 to 256\n45: `maxconn = 0` is out of range; write a number from 1 to 10000000"),
("backend.b", "random_draws = 3", "1: `random_draws` belongs to `balance = \"random\"`; write that beside it"),
("backend.b", "fullconn = 0", "12: `fullconn = 0` is out of range; write a number from 1 to 10000000"),
("backend.b", "source = \"eth0\"", "10: `source = \"eth0\"` is no address of this machine; write e.g. \"10.0.0.1\", or \"10.0.0.1:7000\" for one port"),
("backend.b.servers", "b = { addr = \"h:1\", track = \"b/x\" }", "29: `track = \"b/x\"` is no server; write \"BACKEND/SERVER\""),
("backend.b.servers", "b = { addr = \"h:1\", track = \"c\" }\nc = { addr = \"h:1\", check = false }", "29: `track = \"c\"` has no checks; give it some, or track a server that is checked"),
("backend.b.servers", "b = { addr = \"h:1\", track = \"b\" }", "29: `track = \"b\"` leads back to itself; track a server that is checked"),
("backend.b.servers", "b = { addr = \"h:1\", track = \"a\", check = { inter = \"1s\" } }", "34: `check` belongs to a server that is checked itself; leave it out, or `track`"),
("backend.b.servers", "b = { addr = \"h:1\", agent = { inter = \"1s\" } }", "29: [backend.b.servers.b.agent] has no `port`; write `port = 9999`"),
("backend.b.servers", "b = { addr = \"h:1\", agent = true }", "29: `agent = true` is true or false; write `agent = { port = 9999 }` or `agent = false`"),
("backend.b.servers", "b = { addr = \"h:1\", on_error = \"mark_down\" }", "32: `on_error = \"mark_down\"` is unknown, did you mean \"mark-down\"?"),
("backend.b.servers", "b = { addr = \"h:1\", error_limit = 0 }", "35: `error_limit = 0` is out of range; write a number from 1 to 1000000"),
("backend.b", "resolvers = \"docker\"", "13: `resolvers = \"docker\"` is no section; add [resolvers.NAME] with e.g. `nameservers = [\"127.0.0.11:53\"]`"),
("backend.b.servers", "b = { addr = \"h:1\", resolvers = \"x\" }", "33: `resolvers = \"x\"` is no section; add [resolvers.NAME] with e.g. `nameservers = [\"127.0.0.11:53\"]`"),
("backend.b.servers", "b = { addr = \"h:1\", resolve_prefer = \"v4\" }", "38: `resolve_prefer = \"v4\"` is unknown; write \"ipv4\" or \"ipv6\""),
("backend.b.servers", "b = { addr = \"h:1\", check = 5 }", "29: `check = 5` is a whole number; write `check = { type = \"tcp\", inter = \"2s\" }` or `check = false`"),
("backend.b.servers", "b = { addr = \"h:1\", check = { path = \"/\" } }", "31: `path` belongs to another type of check; write `type = \"http\"` beside it"),
("backend.b.servers", "b = { addr = \"h:1\", observe = \"layer7\" }", "31: `observe = \"layer7\"` is unknown, did you mean \"layer4\"?"),
("backend.b.servers", "b = { addr = \"h:1\", inter = \"2s\" }", "21: unknown key `inter` in [backend.b.servers.b]; write `check = { inter = \"2s\" }`"),
("backend.b.servers", "b = { addr = \"h:1\", bakcup = true }", "21: unknown key `bakcup` in [backend.b.servers.b], did you mean `backup`?"),
("backend.b.servers", "\"a/b\" = \"h:1\"", "1: `a/b` is no name; write 1 to 128 letters, digits and `_` `.` `:` `-`"),
("backend.b", "retries = three", "11: `three` is not quoted; write \"three\""),
("backend.b", "retries = 03", "11: `0` is not TOML here: unexpected leading zero, expected nothing"),
("backend.b", "balance = first", "11: `first` is not quoted; write \"first\""),
("backend.b", "redispatch = True", "14: `True` is no value; write `true`"),
("backend.b", "slowstart = 1.5s", "13: `1.5s` is not quoted; write \"1.5s\""),
("backend.b.servers", "b = 1.2.3.4:80", "5: `1.2.3.4:80` is not quoted; write \"1.2.3.4:80\""),
("backend.b.servers", "b = \"h:1", "9: this is not TOML: invalid basic string, expected `\"`"),
("backend.b.servers", "b \"h:1\"", "1: `b \"h:1\"` is no `key = value`; write it so"),
("backend.b.servers", "[backend.c", "1: `[backend.c` is no table header; write `[backend.c]`"),
("backend.b.servers", "b = { addr = \"h:1\"", "19: an inline table is not closed before this; add `}`"),
];
