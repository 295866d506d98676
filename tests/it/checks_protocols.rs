//! Checks in the protocols of servers, of what an http answer holds, and by a program. HAProxy judges the same answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{fs, thread};

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::wait::eventually;

/// What a server says at each turn; a turn begins with something received, but the first one where it speaks first.
#[derive(Clone, Copy)]
struct Turns {
    speaks_first: bool,
    words: &'static [&'static [u8]],
}

const fn first(words: &'static [&'static [u8]]) -> Turns {
    Turns { speaks_first: true, words }
}

const fn second(words: &'static [&'static [u8]]) -> Turns {
    Turns { speaks_first: false, words }
}

/// Serves each connection in these turns, and tells all that was received on it.
fn serve(turns: Turns) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut received = Vec::new();
                // How it ends is not looked at.
                let _ending = converse(&stream, turns, &mut received);
                // The test may be over.
                let _unheard = tell.send(received);
            });
        }
    });
    (addr, told)
}

fn converse(mut stream: &TcpStream, turns: Turns, received: &mut Vec<u8>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = [0; 4096];
    for (index, words) in turns.words.iter().enumerate() {
        if index > 0 || !turns.speaks_first {
            let len = stream.read(&mut buffer)?;
            received.extend_from_slice(&buffer[..len]);
        }
        stream.write_all(words)?;
    }
    stream.read_to_end(received).map(drop)
}

/// Whether the first check passed, and what it said.
fn lb_verdict(check: &str, addr: SocketAddr) -> (bool, String) {
    let config = Config::bare().global("external_checks = true").backend(check).server("a", addr);
    let lb = Lb::start(&config);
    eventually(HANG, "a check by lb", || {
        let status = lb.status();
        let last = status.server("app/a").at("/check")?.clone();
        let said = last.to_string();
        let ok = last.get("last")?.get(0)?.get("ok")?.as_bool()?;
        Some((ok, said))
    })
}

fn haproxy_verdict(options: &str, addr: SocketAddr) -> bool {
    Haproxy::check(&[addr], options, "inter 1s").first_verdict(0)
}

const MYSQL: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
const MYSQL_OK: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";
const MYSQL_DENIED: &[u8] = b"\x1a\0\0\x02\xff\x15\x04#28000Access denied!!!";
const MYSQL_BLOCKED: &[u8] = b"\x16\0\0\0\xff\x69\x04Host is blocked now!";

#[test]
fn protocols_are_judged_and_spoken_as_by_haproxy() {
    // The check in TOML, the option of HAProxy, the server, and whether the same bytes are sent.
    let table: &[(&str, &str, Turns, bool)] = &[
        ("type = \"redis\"", "option redis-check", second(&[b"+PONG\r\n"]), true),
        ("type = \"redis\"", "option redis-check", second(&[b"-NOAUTH Authentication required.\r\n"]), true),
        ("type = \"smtp\"", "option smtpchk", first(&[b"220 mx ESMTP\r\n", b"250 mx\r\n", b"221 bye\r\n"]), true),
        (
            "type = \"smtp\", hello = \"EHLO lb.example\"",
            "option smtpchk EHLO lb.example",
            first(&[b"220 mx ESMTP\r\n", b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n", b"221 bye\r\n"]),
            true,
        ),
        ("type = \"smtp\"", "option smtpchk", first(&[b"554 no\r\n"]), false),
        ("type = \"smtp\"", "option smtpchk", first(&[b"220 mx\r\n", b"550 who are you\r\n"]), false),
        ("type = \"ldap\"", "option ldap-check", second(&[b"0\x0c\x02\x01\x01a\x07\x0a\x01\0\x04\0\x04\0"]), false),
        ("type = \"ldap\"", "option ldap-check", second(&[b"0\x0c\x02\x01\x01a\x07\x0a\x01\x31\x04\0\x04\0"]), false),
        ("type = \"ssl-hello\"", "option ssl-hello-chk", second(&[b"\x15\x03\x01\0\x02\x02\x28"]), false),
        ("type = \"ssl-hello\"", "option ssl-hello-chk", second(&[b"HTTP/1.0 400 Bad\r\n\r\n"]), false),
        ("type = \"mysql\"", "option mysql-check", first(&[MYSQL]), true),
        ("type = \"mysql\"", "option mysql-check", first(&[MYSQL_BLOCKED]), false),
        ("type = \"mysql\", user = \"u\"", "option mysql-check user u post-41", first(&[MYSQL, MYSQL_OK]), true),
        ("type = \"mysql\", user = \"u\"", "option mysql-check user u post-41", first(&[MYSQL, MYSQL_DENIED]), true),
        ("type = \"pgsql\", user = \"u\"", "option pgsql-check user u", second(&[b"R\0\0\0\x08\0\0\0\x03"]), true),
        ("type = \"pgsql\", user = \"u\"", "option pgsql-check user u", second(&[b"R\0\0\0\x0c\0\0\0\x05abcd"]), true),
        (
            "type = \"pgsql\", user = \"u\"",
            "option pgsql-check user u",
            second(&[b"E\0\0\0\x1eSFATAL\0C28000\0Mno role\0\0"]),
            true,
        ),
    ];
    thread::scope(|scope| {
        for &(ours, theirs, turns, same_words) in table {
            scope.spawn(move || {
                let [(mine, my_words), (other, other_words)] = [serve(turns), serve(turns)];
                let (passed, said) = lb_verdict(&format!("check = {{ {ours}, timeout = \"1s\" }}"), mine);
                let expected = haproxy_verdict(theirs, other);
                assert_eq!(passed, expected, "{ours}: {said}");
                if same_words {
                    let [mine, other] = [my_words, other_words].map(|words| words.recv_timeout(HANG).unwrap());
                    assert_eq!(mine.escape_ascii().to_string(), other.escape_ascii().to_string(), "{ours}");
                }
            });
        }
    });
}

const READY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nstate=ready";
const CHUNKED: &[u8] = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nstate=ready\r\n0\r\n\r\n";

#[test]
fn an_http_answer_is_judged_as_by_haproxy() {
    let table = [
        ("expect_string = \"ready\"", "string ready", READY),
        ("expect_string = \"ready\"", "string ready", CHUNKED),
        ("expect_string = \"absent\"", "string absent", READY),
        ("expect_not = \"ready\"", "! string ready", READY),
        ("expect_not = \"absent\"", "! string absent", READY),
        ("expect_regex = \"state=r.*y\"", "rstring state=r.*y", READY),
        ("expect_not_regex = \"state=r.*y\"", "! rstring state=r.*y", READY),
        ("status = \"!500,503\"", "! status 500,503", READY),
        ("status = \"!500,503\"", "! status 500,503", CHUNKED),
        ("status_regex = \"^5\"", "rstatus ^5", CHUNKED),
        ("status_regex = \"^5\"", "rstatus ^5", READY),
    ];
    thread::scope(|scope| {
        for (ours, theirs, answer) in table {
            scope.spawn(move || {
                let words: &'static [&'static [u8]] = Box::leak(Box::new([answer]));
                let [(mine, _), (other, _)] = [serve(second(words)), serve(second(words))];
                let check = format!("check = {{ type = \"http\", {ours}, timeout = \"1s\" }}");
                let (passed, said) = lb_verdict(&check, mine);
                let expected = haproxy_verdict(&format!("option httpchk GET /\nhttp-check expect {theirs}"), other);
                assert_eq!(passed, expected, "{ours}: {said}");
            });
        }
    });
}

#[test]
fn an_http_check_sends_what_it_is_told() {
    let (addr, words) = serve(second(&[READY]));
    let check = "check = { type = \"http\", method = \"POST\", path = \"/x\", version = \"1.0\", host = \"h\", \
                 headers = { Accept = \"a/b\" }, body = \"{}\" }";
    assert!(lb_verdict(check, addr).0);
    let sent = String::from_utf8(words.recv_timeout(HANG).unwrap()).unwrap();
    let head = "POST /x HTTP/1.0\r\nHost: h\r\nAccept: a/b\r\nUser-Agent: lb\r\nContent-Length: 2\r\nConnection: close";
    assert_eq!(sent, format!("{head}\r\n\r\n{{}}"));
}

#[test]
fn a_program_judges_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let (addr, _words) = serve(second(&[]));
    let said = dir.path().join("said");
    let port = addr.port();
    let names = ["NAME", "PORT", "MAXCONN", "CURCONN", "SSL", "PROTO"].map(|name| format!("$HAPROXY_SERVER_{name}"));
    let words = format!("$3 $4 {} $PATH", names.join(" "));
    let well = script("well", &format!("echo \"{words}\" > {}; exit 0", said.display()));
    let check = |path: &std::path::Path, more: &str| {
        format!("check = {{ type = \"external\", command = \"{}\", env_path = \"/bin\"{more} }}", path.display())
    };
    assert!(lb_verdict(&check(&well, ""), addr).0);
    assert_eq!(fs::read_to_string(&said).unwrap(), format!("127.0.0.1 {port} a {port} 0 0 0 tcp /bin\n"));
    // Of a child: a shell blocks signals itself while it waits for one.
    let unmasked = script("unmasked", "grep -q 'SigBlk:\t0*$' /proc/self/status");
    let (passed, cause) = lb_verdict(&check(&unmasked, ""), addr);
    assert!(passed, "{cause}");
    let ill = script("ill", "exit 3");
    let (passed, cause) = lb_verdict(&check(&ill, ""), addr);
    assert!(!passed && cause.contains("exit status: 3"), "{cause}");
    let pid = dir.path().join("pid");
    let hangs = script("hangs", &format!("sleep 600 & echo $! $$ > {}; wait", pid.display()));
    let config = Config::bare().global("external_checks = true").backend(&check(&hangs, ", timeout = \"1s\""));
    let lb = Lb::start(&config.server("a", addr));
    let cause = eventually(HANG, "a check that timed out", || {
        let said = lb.status().server("app/a").at("/check/last/0")?.to_string();
        said.contains("has not ended within 1s").then_some(said)
    });
    for pid in fs::read_to_string(pid).unwrap().split_whitespace() {
        let (path, mut stat) = (format!("/proc/{pid}/stat"), String::new());
        // Nothing reaps an orphan where the tests are process 1 of their container.
        let is_gone = |stat: &str| stat.is_empty() || stat.contains(") Z 1 ");
        eventually(HANG, &format!("{cause}: {pid} is gone"), || {
            stat = fs::read_to_string(&path).unwrap_or_default();
            is_gone(&stat).then_some(())
        });
    }
}
