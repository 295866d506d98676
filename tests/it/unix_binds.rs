//! Unix sockets to listen on: how they come and go, who may connect, and how they outlive the processes behind them.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::{Lb, lb};
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually, eventually_eq};

fn greeting(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(HANG))?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn echoes(stream: &mut UnixStream) {
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
}

#[test]
fn a_unix_socket_is_an_address_like_any_other_and_goes_with_its_service() {
    let origin = Origin::named("a");
    let bind = r#"["127.0.0.1:0", { addr = "@DIR@/web.sock", mode = "0640", group = "12345" }, "abns@lb-test-@DIR@"]"#;
    let mut lb = Lb::start(&Config::new().bind(bind).origins([&origin]));
    let path = lb.dir().join("web.sock");
    assert_eq!(greeting(&path).unwrap(), "a");
    let facts = fs::symlink_metadata(&path).unwrap();
    assert_eq!((facts.permissions().mode() & 0o777, facts.gid()), (0o640, 12345));
    // HAProxy's abstract names have the full length.
    let name = format!("lb-test-{}", lb.dir().display());
    let padded: Vec<u8> = name.bytes().chain(std::iter::repeat(0)).take(107).collect();
    let mut client = UnixStream::connect_addr(&SocketAddr::from_abstract_name(padded).unwrap()).unwrap();
    let mut text = String::new();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a");
    // A client without an address has the number of its bind.
    for number in [2, 3] {
        eventually(HANG, "the log", || lb.stdout().contains(&format!("unix:{number} [")).then_some(()));
    }
    let binds = lb.status().frontend("web").at("/bind").unwrap().to_string();
    assert!(binds.contains(&format!("unix@{}", path.display())) && binds.contains(&format!("abns@{name}")), "{binds}");
    let files: Vec<_> = fs::read_dir(lb.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.to_str().unwrap().starts_with("web.sock.")), "{files:?}");
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    assert!(!path.exists());
}

#[test]
fn sessions_and_sockets_stay_through_upgrades_and_crashes() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().bind(r#""@DIR@/web.sock""#).origins([&origin]));
    let path = lb.dir().join("web.sock");
    let id = || fs::symlink_metadata(&path).unwrap().ino();
    let before = id();
    let mut session = UnixStream::connect(&path).unwrap();
    echoes(&mut session);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually_eq(HANG, 1, || lb.status().number("sessions"));
    echoes(&mut session);
    echoes(&mut UnixStream::connect(&path).unwrap());
    session.shutdown(Shutdown::Write).unwrap();
    assert_eq!(session.read(&mut [0]).unwrap(), 0);
    eventually(HANG, "the moved client in the log", || {
        lb.stdout().lines().filter(|line| line.starts_with("unix:1 [")).nth(1).map(drop)
    });
    let engine = lb.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    // It waits in the queue meanwhile.
    echoes(&mut UnixStream::connect(&path).unwrap());
    assert_ne!(lb.engine(), engine);
    assert_eq!(id(), before);
}

#[test]
fn a_restarted_service_has_its_unix_sockets_from_the_store() {
    let origin = Origin::named("a");
    let mut lb = Lb::start(&Config::new().bind(r#""@DIR@/web.sock""#).origins([&origin]));
    let path = lb.dir().join("web.sock");
    let before = fs::symlink_metadata(&path).unwrap().ino();
    lb.signal(Signal::SIGKILL);
    let waits = UnixStream::connect(&path).unwrap();
    lb.start_again_from_store();
    drop(waits);
    assert_eq!(greeting(&path).unwrap(), "a");
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    lb.signal(Signal::SIGTERM);
    lb.wait(HANG);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_refused_with_its_holder() {
    let origin = Origin::named("a");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.sock");
    let config = Config::new().bind(&format!("\"{}\"", path.display())).origins([&origin]);
    let file = dir.path().join("lb.toml");
    fs::write(&file, config.text()).unwrap();
    let refused = || {
        let socket = dir.path().join("lb.sock");
        let output = lb(&["run", "-f", file.to_str().unwrap(), "--socket", socket.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let living = UnixListener::bind(&path).unwrap();
    let said = refused();
    let holder = format!("pid {} (", std::process::id());
    assert!(said.contains(&format!("cannot bind unix@{}", path.display())) && said.contains(&holder), "{said}");
    assert!(path.exists());
    // Its file stays behind.
    drop(living);
    {
        let lb = Lb::start(&config);
        assert_eq!(greeting(&path).unwrap(), "a");
        let said = refused();
        assert!(said.contains("lb engine") && said.contains("take over from it with --takeover"), "{said}");
        assert_eq!(greeting(&path).unwrap(), "a");
        drop(lb);
    }
    fs::remove_file(&path).ok();
    fs::write(&path, "precious").unwrap();
    assert!(refused().contains("not a socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_reload_moves_a_path_to_another_frontend_and_removes_what_is_left() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let config = |web: &str, other: &str| {
        let table = format!(
            "[frontend.other]\nbind = {other}\nbackend = \"other\"\n[backend.other.servers]\nb = \"{}\"\n",
            two.server()
        );
        Config::new().bind(web).origins([&one]).table(&table)
    };
    let lb = Lb::start(&config(r#"["@DIR@/a", "@DIR@/b"]"#, r#""127.0.0.1:0""#));
    let (a, b) = (lb.dir().join("a"), lb.dir().join("b"));
    assert_eq!((greeting(&a).unwrap(), greeting(&b).unwrap()), ("one".to_owned(), "one".to_owned()));
    lb.reload(&config(r#""127.0.0.1:0""#, r#""@DIR@/a""#));
    assert_eq!(greeting(&a).unwrap(), "two");
    eventually(HANG, "b is gone", || (!b.exists()).then_some(()));
    assert!(fs::symlink_metadata(&a).unwrap().file_type().is_socket());
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(greeting(&a).unwrap(), "two");
    // And on the way of an upgrade.
    lb.write_config(&config(r#""@DIR@/a""#, r#""127.0.0.1:0""#).text());
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(greeting(&a).unwrap(), "one");
}

#[test]
fn an_engine_makes_a_path_again_that_leads_to_a_dead_socket() {
    let origin = Origin::named("a");
    let lb = Lb::start(&Config::new().bind(r#""@DIR@/web.sock""#).origins([&origin]));
    let (path, dead) = (lb.dir().join("web.sock"), lb.dir().join("dead.sock"));
    // As an engine leaves it that is killed before it has reported the socket to its supervisor.
    drop(UnixListener::bind(&dead).unwrap());
    fs::rename(&dead, &path).unwrap();
    let engine = lb.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine serves the path", || greeting(&path).ok());
    assert_ne!(lb.engine(), engine);
}

#[test]
fn a_lock_of_the_directory_that_another_process_holds_delays_nothing() {
    let origin = Origin::named("a");
    let lb = Lb::start(&Config::new().origins([&origin]));
    let folder = fs::File::open(lb.dir()).unwrap();
    folder.try_lock().unwrap();
    lb.reload(&Config::new().bind(r#""@DIR@/web.sock""#).origins([&origin]));
    assert_eq!(greeting(&lb.dir().join("web.sock")).unwrap(), "a");
}

#[test]
fn a_unix_client_introduces_another_by_a_proxy_header() {
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::new().bind(r#"{ addr = "@DIR@/web.sock", accept_proxy = true }"#).origins([&origin]);
    let lb = Lb::start(&config);
    let mut client = UnixStream::connect(lb.dir().join("web.sock")).unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n").unwrap();
    echoes(&mut client);
    drop(client);
    eventually(HANG, "the named client in the log", || lb.stdout().contains("192.0.2.7:1234 [").then_some(()));
}

#[test]
fn a_bulk_of_bytes_passes_whole_in_both_directions() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().bind(r#""@DIR@/web.sock""#).origins([&origin]));
    let mut client = UnixStream::connect(lb.dir().join("web.sock")).unwrap();
    client.set_read_timeout(Some(HANG)).unwrap();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut back = client.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        back.read_to_end(&mut got).unwrap();
        got
    });
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(reader.join().unwrap() == sent);
    lb.assert_at_rest("an idle unix listener", Duration::from_secs(1));
}
