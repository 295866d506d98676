//! The last good addresses survive whatever happens to the engine while no name server answers.

use std::net::{IpAddr, Ipv4Addr};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::dns::{NameServer, Reply};
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::origin::Origin;
use crate::support::other_build::copy_of_old_build;
use crate::support::takeover::TakeoverDir;
use crate::support::wait::eventually;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn an_upgrade_a_reload_and_crashes_without_name_servers_lose_no_server() {
    let (dns, origin) = stage();
    let config = config(&origin);
    let lb = dns.options().config(&config).start();
    // One more that is found during a reload.
    dns.put("db.example", &[HERE]);
    let config = config.server("b", format!("db.example:{}", origin.addr().port()));
    lb.reload(&config);
    for reply in [Reply::Silence, Reply::NoSuchName] {
        dns.fail(reply);
        lb.command_ok(&["upgrade", "--probation", "50ms"]);
        assert_serves(&lb, "after an upgrade");
        lb.reload(&config.clone().server("other", origin.server()));
        assert_serves(&lb, "after a reload");
        lb.reload(&config);
        for _ in 0..2 {
            let engine = lb.engine();
            kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
            eventually(HANG, "another engine", || (engine_of(&lb)? != engine).then_some(()));
            assert_serves(&lb, "after a crash");
        }
    }
}

#[test]
fn a_restart_without_name_servers_begins_with_the_addresses_of_state_dir() {
    let (dns, origin) = stage();
    let state = tempfile::tempdir().unwrap();
    let config = config(&origin).global(&format!("state_dir = \"{}\"", state.path().display()));
    let saved = || {
        std::fs::read_dir(state.path())
            .unwrap()
            .any(|file| file.unwrap().path().extension().is_some_and(|kind| kind == "addresses"))
    };
    // They are saved by the engine that they are handed to, too.
    let mut lb = dns.options().config(&self::config(&origin)).start();
    lb.write_config(&config.text());
    lb.command_ok(&["upgrade", "--probation", "50ms"]);
    eventually(HANG, "the saved addresses", || saved().then_some(()));
    lb.signal(Signal::SIGTERM);
    lb.wait(HANG);
    dns.fail(Reply::Silence);
    let lb = dns.options().config(&config).start();
    assert_serves(&lb, "after a restart");
    drop(lb);
    // A file that is damaged is set aside, and said so.
    let file = std::fs::read_dir(state.path()).unwrap().map(|file| file.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|kind| kind == "addresses")).last().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1", "127.0.0.9")).unwrap();
    let lb = dns.options().config(&config).start();
    assert!(lb.stderr().contains("is damaged"), "{}", lb.stderr());
    assert_eq!(lb.status().server("app/a").at("/check/status").unwrap(), "NOADDR");
}

#[test]
fn a_takeover_without_name_servers_loses_no_server() {
    let (dns, origin) = stage();
    let place = TakeoverDir::new(&config(&origin));
    let options = || {
        let path = place.path().display().to_string();
        let flags = ["--takeover", &path, "--probation", "100ms"];
        dns.options().config(&config(&origin)).flags(&flags).socket(place.dir().join("lb.sock"))
    };
    let mut first = options().start();
    assert_serves(&first, "at first");
    dns.fail(Reply::Silence);
    let second = options().start();
    first.wait(HANG);
    assert_serves(&second, "after a takeover");
    let engine = second.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || (engine_of(&second)? != engine).then_some(()));
    assert_serves(&second, "after a crash");
}

#[test]
fn an_upgrade_from_the_first_release_without_name_servers_loses_no_server() {
    let (dns, origin) = stage();
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    copy_of_old_build(&old);
    copy_of_binary(&new);
    let lb = dns.options().config(&config(&origin)).binary(&old).start();
    dns.fail(Reply::Failure);
    lb.command_ok(&["upgrade", "--binary", new.to_str().unwrap(), "--probation", "50ms"]);
    assert_serves(&lb, "after an upgrade");
    dns.heal();
    lb.command_ok(&["upgrade", "--binary", old.to_str().unwrap(), "--probation", "50ms"]);
    assert_serves(&lb, "back at the first release");
}

/// A name server that knows the name of an origin.
fn stage() -> (NameServer, Origin) {
    let (dns, origin) = (NameServer::start(), Origin::named("app"));
    dns.put("app.example", &[HERE]);
    (dns, origin)
}

fn config(origin: &Origin) -> Config {
    Config::new().server("a", format!("app.example:{}", origin.addr().port()))
}

#[track_caller]
fn assert_serves(lb: &Lb, when: &str) {
    let status = lb.status();
    for server in status.servers("app") {
        let server = status.server(&format!("app/{server}"));
        assert_ne!(server.at("/check/status").unwrap(), "NOADDR", "{when}: {}", lb.stderr());
    }
    assert_eq!(greeting(lb.addr("web")).unwrap(), "app", "{when}");
}

/// `None`: no engine answers just now.
fn engine_of(lb: &Lb) -> Option<i32> {
    let output = lb.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    i32::try_from(status["engine_pid"].as_i64()?).ok()
}
