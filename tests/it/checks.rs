//! What a check does to its server, and how it judges an answer. HAProxy checks the same servers beside `lb`.

use std::net::{IpAddr, SocketAddr};

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::outcome::Ending;
use crate::support::wait::eventually;
use crate::support::witness::{Answer, Seen, Witness};

#[test]
fn a_check_that_has_its_answer_ends_without_a_reset() {
    const BODY: &[u8] = &[b'x'; 300_000];
    const OK: Answer = Answer::new(&[b"HTTP/1.1 200 OK\r\n", b"Server: x\r\n\r\n", b"first", BODY]);
    const ERROR: Answer = Answer::new(&[b"HTTP/1.1 503 Unavailable\r\n\r\n", BODY, b"last"]);
    const KEPT: Answer = Answer::new(&[b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"body"]).open();
    // Each check begins before the answer to the last one has ended.
    const SLOW: Answer = Answer::new(&[b"HTTP/1.1 200 OK\r\n\r\n", b"1", b"2", b"3", b"4", b"5", b"6"]);
    const PONG: Answer = Answer::new(&[b"+PO", b"NG\r\n"]).open();
    const BANNER: Answer = Answer::new(&[b"220 mail.example\r\n", b"still here\r\n"]).open();
    let (http, ping) =
        (r#"type = "http""#, r#"type = "script", steps = [{ send = "PING\r\n" }, { expect = "+PONG" }]"#);
    let failing = r#"type = "script", steps = [{ send = "PING\r\n" }, { expect = "else" }], timeout = "300ms""#;
    let kinds = [
        (http, OK, "GET / HTTP/1.1\r\n"),
        (http, ERROR, "GET / HTTP/1.1\r\n"),
        (r#"type = "http", timeout = "1s""#, SLOW, "GET / HTTP/1.1\r\n"),
        (http, KEPT, "GET / HTTP/1.1\r\n"),
        (ping, PONG, "PING\r\n"),
        (failing, Answer::new(&[b"-ERR\r\n"]), "PING\r\n"),
        (r#"send_proxy = "v1""#, BANNER, "PROXY TCP4 "),
    ];
    for (check, answer, begin) in kinds {
        let server = Witness::start(answer);
        let inter = if answer.pieces.len() > 6 { "100ms" } else { "2s" };
        let check = format!(r#"check = {{ {check}, inter = "{inter}" }}"#);
        let _lb = Lb::start(&Config::bare().backend(&check).server("a", server.addr()));
        for Seen { received, ending, .. } in server.first(1) {
            assert!(received.starts_with(begin.as_bytes()), "{check}: {}", received.escape_ascii());
            assert_eq!(ending, Ending::Fin, "{check}");
        }
    }
}

#[test]
fn a_check_introduces_itself_as_haproxys_does() {
    const BYE: Answer = Answer::new(&[b"bye"]);
    for (ip, ours, theirs) in [
        ("127.0.0.1", "v1", "send-proxy"),
        ("::1", "v1", "send-proxy"),
        ("127.0.0.1", "v2", "send-proxy-v2"),
        ("::1", "v2", "send-proxy-v2"),
    ] {
        let [mine, other] = [Witness::start_on(ip, BYE), Witness::start_on(ip, BYE)];
        let config = Config::new().backend(&format!("send_proxy = \"{ours}\""));
        let _lb = Lb::start(&config.server("a", mine.addr()));
        let _haproxy = Haproxy::check(&[other.addr()], "", &format!("{theirs} check-send-proxy inter 100ms"));
        let [mine, other] = [(&mine, "lb"), (&other, "HAProxy")].map(|(witness, who)| {
            let seen = &witness.first(1)[0];
            (shape(&seen.received, seen.peer, witness.addr()), who)
        });
        assert_eq!(mine.0, other.0, "{ip} {ours}");
    }
}

/// The header with what differs from one connection to the next put in words.
fn shape(header: &[u8], peer: SocketAddr, server: SocketAddr) -> String {
    let ends = |ips: [IpAddr; 2]| format!("{} {} {} {}", ips[0], ips[1], peer.port(), server.port());
    let text = header.escape_ascii().to_string();
    text.replace(&ends([peer.ip(), server.ip()]), "PEER SERVER")
}

#[test]
fn a_host_is_the_name_of_the_server() {
    let server = Witness::start(Answer::new(&[b"HTTP/1.0 200 OK\r\n\r\n"]));
    let port = server.addr().port();
    let check = r#"check = { type = "http", path = "/ping", inter = "100ms" }"#;
    let _lb = Lb::start(&Config::bare().backend(check).server("a", format!("localhost:{port}")));
    let request = String::from_utf8(server.first(1)[0].received.clone()).unwrap();
    assert!(request.starts_with(&format!("GET /ping HTTP/1.1\r\nHost: localhost:{port}\r\n")), "{request}");
    let server = Witness::start_on("::1", Answer::new(&[b"HTTP/1.0 200 OK\r\n\r\n"]));
    let _lb = Lb::start(&Config::bare().backend(check).server("a", server.addr()));
    let request = String::from_utf8(server.first(1)[0].received.clone()).unwrap();
    assert!(request.contains(&format!("\r\nHost: [::1]:{}\r\n", server.addr().port())), "{request}");
}

/// Answers, and whether their server is well.
const HTTP: &[(Answer, bool)] = &[
    (Answer::new(&[b"H", b"TTP/1", b".1 2", b"0", b"0 O", b"K\r", b"\n\r", b"\n"]), true),
    (Answer::new(&[b"HTTP/1.1 50", b"3 No\r\n\r\n"]), false),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\n", b"Server: a\r\n", b"\r\n"]), true),
    (Answer::new(&[b"HTTP/1.0 200 OK\r\n\r\n"]), true),
    (Answer::new(&[b"HTTP/1.0 200\r\n\r\n"]), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\n\n"]), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\n\n"]), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\n\r\n", b"body"]), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]).open(), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\nServer: a\r\n"]).open(), false),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\nServer: a"]), false),
    (Answer::new(&[b"HTTP/1.1 2"]), false),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\nA: ", &[b'x'; 15_000], b"\r\n\r\n"]), true),
    (Answer::new(&[b"HTTP/1.1 200 OK\r\nA: ", &[b'x'; 20_000], b"\r\n\r\n"]), false),
    (Answer::new(&[b"+PONG\r\n"]), false),
    (Answer::new(&[b""]), false),
];

#[test]
fn an_http_check_judges_the_whole_head_as_haproxy_does() {
    let theirs = " option httpchk GET /\n http-check expect rstatus ^[23]\n timeout check 1s";
    verdicts(HTTP, r#"{ type = "http", timeout = "1s", inter = "100ms" }"#, theirs);
    // HAProxy asks in HTTP/1.0, where no interim answer may come, and wants the empty line.
    let interim = Answer::new(&[b"HTTP/1.1 100 Contin", b"ue\r\n\r\nHTTP/1.1 ", b"204 No Content\r\n\r\n"]);
    let bare = Answer::new(&[b"HTTP/1.0 200 OK\r\n"]);
    ours(&[(interim, true), (bare, true)], r#"{ type = "http", inter = "100ms" }"#);
}

#[test]
fn a_script_judges_the_whole_answer_as_haproxy_does() {
    const SPLIT: Answer = Answer::new(&[b"+P", b"O", b"NG\r\n"]);
    let expects = [(SPLIT, true), (SPLIT.open(), true), (Answer::new(&[b"+PON", b"-ERR"]), false)];
    let ping = |expect: &str| {
        format!(
            r#"{{ type = "script", steps = [{{ send = "PING\r\n" }}, {{ {expect} }}], timeout = "1s", inter = "100ms" }}"#
        )
    };
    let script = |expect: &str| {
        format!(" option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect {expect}\n timeout check 1s")
    };
    verdicts(&expects, &ping(r#"expect = "+PONG""#), &script("string +PONG"));
    verdicts(&expects, &ping(r#"expect_regex = "^.PONG\r""#), &script("rstring ^.PONG\\r"));
    let unwanted = [
        (Answer::new(&[b"-LOA", b"DING Redis\r\n"]), false),
        (Answer::new(&[b"-LOA", b"DING"]).open(), false),
        (Answer::new(&[b"$99\r\n", b"role:slave\r\n", b"LOADING:1\r\n"]), false),
        (SPLIT, true),
        (Answer::new(&[b"+PO", b"NG"]), true),
    ];
    let not = ping(r#"expect_not = "LOADING""#);
    verdicts(&unwanted, &not, &script("! string LOADING"));
    // HAProxy waits for the server to close, until the check has timed out.
    ours(&[(SPLIT.open(), true), (Answer::new(&[b"+PO", b"NG"]).open(), true)], &not);
}

#[track_caller]
fn verdicts(answers: &[(Answer, bool)], check: &str, options: &str) {
    ours(answers, check);
    let servers: Vec<_> = answers.iter().map(|(answer, _)| Witness::start(*answer)).collect();
    let addrs: Vec<_> = servers.iter().map(Witness::addr).collect();
    let haproxy = Haproxy::check(&addrs, options, "inter 100ms");
    for (index, (answer, well)) in answers.iter().enumerate() {
        assert_eq!(haproxy.first_verdict(index), *well, "HAProxy: {}", shown(answer));
    }
}

#[track_caller]
fn ours(answers: &[(Answer, bool)], check: &str) {
    let servers: Vec<_> = answers.iter().map(|(answer, _)| Witness::start(*answer)).collect();
    let config = Config::bare().backend(&format!("check = {check}"));
    let named = servers.iter().enumerate();
    let lb =
        Lb::start(&named.fold(config, |config, (index, server)| config.server(&format!("s{index}"), server.addr())));
    for (index, (answer, well)) in answers.iter().enumerate() {
        let path = format!("app/s{index}");
        let (passed, cause, _) = eventually(HANG, "a check", || lb.status().server(&path).checks().pop());
        assert_eq!(passed, *well, "lb: {}: {cause}", shown(answer));
    }
}

fn shown(answer: &Answer) -> String {
    let pieces: Vec<_> =
        answer.pieces.iter().map(|piece| piece[..piece.len().min(40)].escape_ascii().to_string()).collect();
    format!("{pieces:?}{}", if answer.closes { "" } else { " and open" })
}
