//! An operator's commands on a running balancer and its file: check, status, server list.

use std::process::Output;

use crate::support::config::Config;
use crate::support::lb::{Lb, lb};
use crate::support::origin::{Behaviour, Origin};

#[test]
fn check_reports_every_error_with_its_place_and_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        lb(&["check", "-f", file.to_str().unwrap()])
    };
    let good = Config::new().server("a", "127.0.0.1:1").text();
    assert_eq!(check(&good).status.code(), Some(0), "{}", stderr(&check(&good)));
    let bad = "[frontend.web]\nbind = [\"127.0.0.1:0\"]\nbackend = \"ap\"\n\n[backend.app]\nblance = \"first\"\nretries = -1\n\n[backend.app.servers]\na = \"127.0.0.1\"\n";
    let output = check(bad);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in
        ["lb.toml:3:", "\"app\"?", "lb.toml:6:1", "`blance`", "`balance`", "lb.toml:7:", "lb.toml:10:", "127.0.0.1"]
    {
        assert!(text.contains(part), "no {part} in: {text}");
    }
    assert_eq!(lb(&["check", "-f", "/nowhere/lb.toml"]).status.code(), Some(2));
}

#[test]
fn status_and_server_list_show_what_runs() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    for args in [&["status"][..], &["server", "list"]] {
        let text = lb.command_ok(args);
        assert!(text.contains("app") && text.contains(&origin.server()) && text.contains("UP"), "{text}");
    }
    let status = lb.status();
    assert!(status.number("pid") > 1 && status.number("generation") <= 1);
    for (args, exit) in [
        (["server", "drain", "app/nobody"], 2),
        (["server", "drain", "nobody/a"], 2),
        (["server", "drain", "rubbish"], 2),
    ] {
        let output = lb.command(&args);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {}", stderr(&output));
    }
    assert!(lb.is_running());
}

#[test]
fn the_admin_socket_is_private_and_survives_rubbish() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let path = lb.socket();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for rubbish in [vec![0; 10], vec![b'x'; 1 << 20], b"{\"status\":".to_vec(), vec![b'\n'; 1000], Vec::new()] {
        let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
        // The balancer may close before everything is written.
        drop(socket.write_all(&rubbish));
        drop(socket.shutdown(std::net::Shutdown::Write));
        assert_eq!(lb.status().server("app/a").text("name"), "a");
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
