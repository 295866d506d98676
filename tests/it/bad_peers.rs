//! Peers that violate the protocol, on each socket of a running balancer: the admin socket, the engine's link to its
//! supervisor, and the link between the two engines of an upgrade. None of them affects traffic, and their connections
//! leave nothing behind.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::client::HANG;
use crate::support::failing_upgrade::FailingUpgrade;
use crate::support::figure::figure;
use crate::support::machine::Stopwatch;
use crate::support::process::run;
use crate::support::wait::observe;

#[test]
fn another_user_gets_no_answer_on_the_admin_socket() {
    let stage = FailingUpgrade::new();
    let binary = stage.lb.dir().join("lb");
    fs::copy(stage.dir.path().join("lb"), &binary).unwrap();
    // Only its credentials stand in the way.
    for (path, mode) in [(stage.lb.dir(), 0o755), (&stage.lb.socket(), 0o777)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    for request in [&["status"][..], &["upgrade"], &["reload"], &["server", "maint", "app/a"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(&binary).args(request).arg("--socket").arg(stage.lb.socket());
        let output = run(&command, Duration::from_secs(30));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{request:?}: {text}");
        assert!(text.contains("closed the connection"), "{request:?}: {text}");
    }
    assert_eq!(stage.lb.status().server("app/a").text("status"), "UP");
    stage.assert_untouched();
}

#[test]
fn invalid_requests_on_the_admin_socket_are_answered_or_dropped() {
    let stage = FailingUpgrade::new();
    let rubbish: Vec<u8> = (0..20_000_u32).map(|n| ((n * 7919) >> 3) as u8 | 0x80).collect();
    let deep = "[".repeat(60_000);
    let bad: [(&str, &[u8]); 8] = [
        ("nothing", b"\n"),
        ("rubbish", &rubbish),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        ("half a line", b"{\"request\":\"upg"),
        ("no such request", b"{\"request\":\"dance\"}\n"),
        ("a wrong type", b"{\"request\":\"upgrade\",\"probation_ms\":-1}\n"),
        ("a deep one", deep.as_bytes()),
        ("two at once", b"{\"request\":\"status\"} {\"request\":\"upgrade\"}\n"),
    ];
    for (kind, bytes) in bad {
        let answer = ask(&stage, bytes);
        assert!(answer.contains("\"error\"") && answer.contains("\"exit\":2"), "{kind}: {answer}");
    }
    // Longer than a request may be: the answer comes before the end, and the rest is not read.
    let mut huge = connect(&stage);
    drop((0..100).try_for_each(|_| huge.write_all(&[b'x'; 65_536])));
    drop(huge);
    // Closed before the answer.
    for _ in 0..50 {
        drop(connect(&stage).write_all(b"{\"request\":\"status\"}\n"));
    }
    stage.assert_untouched();
}

#[test]
fn slow_peers_on_the_admin_socket_delay_nothing() {
    let stage = FailingUpgrade::new();
    let silent: Vec<_> = (0..40).map(|_| connect(&stage)).collect();
    let mut slow = connect(&stage);
    let watch = Stopwatch::start();
    let result = stage.lb.command_ok(&["status"]);
    assert!(!result.is_empty() && watch.elapsed() < Duration::from_secs(3), "{watch:?}");
    // One byte a second is no request within 5 s.
    for byte in b"{\"requ" {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        observe(Duration::from_secs(1));
    }
    assert!(read(&mut slow).contains("no request came within 5 s"));
    for mut stream in silent {
        assert!(read(&mut stream).contains("no request came within 5 s"));
    }
    // Far more connections than are answered at once: as many as the queue takes. Closed ones cost nothing.
    let many: Vec<_> = (0..1000).map_while(|_| try_connect(&stage)).collect();
    let queued = many.len();
    drop(many);
    let watch = Stopwatch::start();
    stage.lb.command_ok(&["status"]);
    figure(&format!("status after {queued} silent connections that closed"), format!("{watch:?}"));
    assert!(queued > 64);
    // During an upgrade the old engine parks its admin socket; silent connections there do not delay that.
    let upgrade = || {
        let watch = Stopwatch::start();
        let result = stage.with_fake_after("move-closes", "100ms");
        result.assert("move-closes", 6, "");
        watch.elapsed()
    };
    upgrade();
    let usual = upgrade();
    let _silent: Vec<_> = (0..40).map(|_| connect(&stage)).collect();
    let took = upgrade();
    assert!(took < usual + Duration::from_secs(4), "{took:?} instead of {usual:?}");
    stage.assert_untouched();
}

#[test]
fn an_engine_that_violates_the_protocol_is_killed_and_reported() {
    let stage = FailingUpgrade::new();
    for how in [
        "hello-wrong-magic",
        "hello-wrong-major",
        "hello-wrong-length",
        "hello-short-message",
        "hello-fewer-descriptors",
        "hello-extra-descriptors",
        "hello-announced-descriptors",
        "hello-many-descriptors",
        "hello-wrong-sequence",
        "hello-unknown-critical",
        "hello-cut-field",
        "hello-too-long",
    ] {
        stage.with_fake(how).assert(how, 3, "SIGKILL");
    }
    for (how, expected) in [
        ("ready-before-its-turn", "had enough"),
        ("listener-that-is-none", "had enough"),
        ("hello-empty-message", ""),
        ("closes", ""),
        ("silent", "did not say hello within 5 s"),
        ("one-a-second", "did not say hello within 5 s"),
        ("flood-unknown", "did not say hello within 5 s"),
        ("flood-known", "did not say hello within 5 s"),
    ] {
        stage.with_fake(how).assert(how, 3, expected);
    }
    stage.assert_untouched();
}

#[test]
fn a_peer_that_violates_the_protocol_leaves_the_old_engine_unchanged() {
    let stage = FailingUpgrade::new();
    for how in [
        "peer-wrong-magic",
        "peer-wrong-major",
        "peer-wrong-length",
        "peer-short-message",
        "peer-empty-message",
        "peer-fewer-descriptors",
        "peer-extra-descriptors",
        "peer-announced-descriptors",
        "peer-many-descriptors",
        "peer-wrong-sequence",
        "peer-unknown-critical",
        "peer-cut-field",
        "peer-too-long",
        "peer-out-of-turn",
        "peer-closes",
        "peer-silent",
        "never-imports",
    ] {
        stage.with_fake(how).assert(how, 3, "had enough");
    }
    // The old engine still answers during the flood.
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| stage.with_fake("peer-flood"));
        while !upgrade.is_finished() {
            let watch = Stopwatch::start();
            stage.lb.command_ok(&["status"]);
            assert!(watch.elapsed() < Duration::from_secs(2), "{watch:?}");
            observe(Duration::from_millis(50));
        }
        upgrade.join().unwrap().assert("peer-flood", 3, "had enough");
    });
    stage.assert_untouched();
}

#[test]
fn a_peer_that_fails_while_sessions_move_gets_none_of_them() {
    let stage = FailingUpgrade::new();
    for how in [
        "move-wrong-magic",
        "move-wrong-length",
        "move-short-message",
        "move-fewer-descriptors",
        "move-extra-descriptors",
        "move-wrong-sequence",
        "move-unknown-critical",
        "move-cut-field",
        "move-wrong-number",
        "move-out-of-turn",
        "move-closes",
        "move-silent",
        "move-flood",
    ] {
        stage.with_fake_after(how, "0s").assert(how, 6, "");
        stage.wait_until_clients_are_served();
    }
    stage.assert_untouched();
}

fn connect(stage: &FailingUpgrade) -> UnixStream {
    let stream = UnixStream::connect(stage.lb.socket()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_write_timeout(Some(HANG)).unwrap();
    stream
}

/// `None` when the queue is full.
fn try_connect(stage: &FailingUpgrade) -> Option<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let path = SockAddr::unix(stage.lb.socket()).unwrap();
    socket.connect(&path).ok().map(|()| socket)
}

/// Sends the bytes and the end of the stream; returns the answer.
#[track_caller]
fn ask(stage: &FailingUpgrade, bytes: &[u8]) -> String {
    let mut stream = connect(stage);
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read(&mut stream)
}

fn read(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer also ends it.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}
