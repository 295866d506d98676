//! The balancer with its servers in etcd: servers are added, changed, removed and restored without a reload and without
//! a failed connection.

use std::time::{Duration, Instant};

use super::support::config::Config;
use super::support::etcd::Etcd;
use super::support::figure::figure;
use super::support::lb::Lb;
use super::support::load::Load;
use super::support::machine::Stopwatch;
use super::support::origin::{Behaviour, Origin};
use super::support::wait::{eventually, eventually_eq, observe};

/// Deadline for immediate effects.
const SOON: Duration = Duration::from_secs(5);

/// Deadline once etcd is back.
const RECOVERY: Duration = Duration::from_secs(5);

/// The backend `app` with its servers in this etcd below `/app/`.
pub(crate) fn discovering(endpoints: &[String], guard_delay: &str) -> Config {
    discovering_with(Config::new(), endpoints, guard_delay)
}

fn discovering_with(config: Config, endpoints: &[String], guard_delay: &str) -> Config {
    config
        .backend(r#"discovery = { etcd = "/app/" }"#)
        .table(&format!("[etcd]\nendpoints = {endpoints:?}\nguard_delay = \"{guard_delay}\""))
}

/// An address of this machine at which `origin` answers: 127.0.0.1 to 127.0.0.254 count as different servers.
pub(crate) fn nth(origin: &Origin, number: usize) -> String {
    format!("127.0.0.{number}:{}", origin.addr().port())
}

/// Waits until these are the present servers, without those that leave.
#[track_caller]
pub(crate) fn wait_for(lb: &Lb, names: &[&str], deadline: Duration) {
    eventually_eq(deadline, names.to_vec().join(" "), || {
        let status = lb.status();
        let stays = |name: &String| status.server(&format!("app/{name}")).text("status") != "LEAVING";
        status.servers("app").into_iter().filter(stays).collect::<Vec<_>>().join(" ")
    });
}

#[test]
fn a_server_serves_as_soon_as_it_is_put() {
    let etcd = Etcd::start();
    let first = Origin::start(Behaviour::Http(100));
    etcd.put("/app/first", &first.server());
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "0"));
    let load = Load::start(lb.addr("web"));
    let mut latencies = Vec::new();
    // A removed server finishes its sessions: it exists until there are none.
    let mut removed = Vec::new();
    for number in 0..20 {
        let origin = Origin::start(Behaviour::Http(100));
        let key = format!("/app/new{number}");
        let put = Instant::now();
        etcd.put(&key, &origin.server());
        eventually(SOON, "its first request", || (origin.requests() > 0).then_some(()));
        latencies.push(put.elapsed());
        etcd.delete(&key);
        let gone = || lb.status().servers("app").len() == 1;
        eventually(SOON, "its departure", || gone().then_some(()));
        removed.push(origin);
    }
    latencies.sort();
    let (p50, p90, max) = (latencies[10].as_millis(), latencies[18].as_millis(), latencies[19].as_millis());
    figure("from put to the first connection (ms)", format!("p50 {p50} p90 {p90} max {max}, 20 puts"));
    load.assert_flawless("servers are put and deleted");
}

#[test]
fn no_trouble_of_etcd_reaches_a_client() {
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    let put = |etcd: &Etcd, name: &str, number| etcd.put(&format!("/app/{name}"), &nth(&origin, number));
    put(&etcd, "a", 1);
    put(&etcd, "b", 2);
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "6s"));
    wait_for(&lb, &["a", "b"], SOON);
    let noticed = |lb: &Lb, deadline| {
        eventually(deadline, "the loss noticed", || {
            let error = lb.status().backend("app").discovery("error");
            (!error.is_null()).then_some(error)
        })
    };

    let load = Load::start(lb.addr("web"));
    etcd.kill();
    noticed(&lb, RECOVERY);
    observe(Duration::from_secs(3));
    etcd.restart();
    put(&etcd, "c", 3);
    wait_for(&lb, &["a", "b", "c"], RECOVERY);
    load.assert_flawless("etcd is killed");

    let load = Load::start(lb.addr("web"));
    let frozen = Instant::now();
    etcd.freeze();
    noticed(&lb, Duration::from_secs(10));
    observe(Duration::from_secs(30).saturating_sub(frozen.elapsed()));
    etcd.thaw();
    put(&etcd, "d", 4);
    wait_for(&lb, &["a", "b", "c", "d"], RECOVERY);
    load.assert_flawless("etcd is frozen for 30 s");

    let load = Load::start(lb.addr("web"));
    etcd.kill();
    noticed(&lb, RECOVERY);
    etcd.on_another_port(|etcd| {
        etcd.delete("/app/d");
        let last = put(etcd, "e", 5);
        etcd.compact(last);
    });
    etcd.restart();
    wait_for(&lb, &["a", "b", "c", "e"], RECOVERY);
    load.assert_flawless("etcd is compacted while it is out of reach");

    let load = Load::start(lb.addr("web"));
    let snapshot = etcd.snapshot();
    put(&etcd, "f", 6);
    wait_for(&lb, &["a", "b", "c", "e", "f"], SOON);
    etcd.restore(&snapshot, "etcd-cluster");
    wait_for(&lb, &["a", "b", "c", "e"], RECOVERY);
    put(&etcd, "g", 7);
    wait_for(&lb, &["a", "b", "c", "e", "g"], SOON);
    load.assert_flawless("etcd is restored from an older snapshot");

    let load = Load::start(lb.addr("web"));
    etcd.delete_prefix("/app/");
    let held = |lb: &Lb| lb.status().backend("app").discovery("held").as_array().unwrap().len();
    eventually_eq(SOON, 5, || held(&lb));
    wait_for(&lb, &["a", "b", "c", "e", "g"], SOON);
    for (number, name) in ["a", "b", "c", "e", "g"].into_iter().enumerate() {
        put(&etcd, name, number + 1);
    }
    eventually_eq(SOON, 0, || held(&lb));
    load.assert_flawless("all keys are deleted and put again");

    let load = Load::start(lb.addr("web"));
    etcd.transact(["a", "b", "c"].map(|name| etcd_client::TxnOp::delete(format!("/app/{name}"), None)).into());
    eventually_eq(SOON, 3, || held(&lb));
    let status = lb.command_ok(&["status"]);
    assert!(status.contains("3 held"), "{status}");
    lb.command_ok(&["server", "accept", "app"]);
    wait_for(&lb, &["e", "g"], SOON);
    for (name, number) in [("a", 1), ("b", 2), ("c", 3)] {
        put(&etcd, name, number);
    }
    wait_for(&lb, &["a", "b", "c", "e", "g"], SOON);
    etcd.transact(["a", "b", "c"].map(|name| etcd_client::TxnOp::delete(format!("/app/{name}"), None)).into());
    eventually_eq(SOON, 3, || held(&lb));
    wait_for(&lb, &["e", "g"], Duration::from_secs(6) + SOON);
    load.assert_flawless("60 % of the keys are deleted");
    assert!(lb.stderr().contains("3 servers left etcd at once"), "{}", lb.stderr());
}

#[test]
fn an_invalid_token_reaches_no_client() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    etcd.put("/app/a", &nth(&origin, 1));
    etcd.require_password("secret");
    let user = format!("username = \"root\"\npassword_file = \"{}\"", password.display());
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "0").table(&user));
    let load = Load::start(lb.addr("web"));
    // etcd keeps tokens in memory: its restart invalidates all of them, and so does a change of users.
    etcd.kill();
    etcd.restart();
    etcd.put("/app/b", &nth(&origin, 2));
    wait_for(&lb, &["a", "b"], RECOVERY);
    etcd.ctl(&["user", "add", "somebody:else"]);
    etcd.put("/app/c", &nth(&origin, 3));
    wait_for(&lb, &["a", "b", "c"], RECOVERY);
    load.assert_flawless("the auth token is invalidated");
}

#[test]
fn a_start_without_etcd_serves_from_the_last_known_servers() {
    let state = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    etcd.put("/app/a", &nth(&origin, 1));
    etcd.put("/app/b", &nth(&origin, 2));
    let config = discovering(&[etcd.endpoint()], "30s").global(&format!("state_dir = \"{}\"", state.path().display()));
    let lb = Lb::start(&config);
    wait_for(&lb, &["a", "b"], SOON);
    eventually(SOON, "the set on the disk", || state.path().join("app.servers").exists().then_some(()));
    drop(lb);
    for (how, frozen) in [("away", false), ("frozen", true)] {
        if frozen {
            etcd.restart();
            etcd.freeze();
        } else {
            etcd.kill();
        }
        let begun = Stopwatch::start();
        let lb = Lb::start(&config);
        let load = Load::start(lb.addr("web"));
        let ready = begun.elapsed();
        figure(&format!("cold start with etcd {how}: ready after (ms)"), ready.as_millis());
        // It waits a second for etcd.
        assert!(ready < Duration::from_secs(3), "{ready:?}");
        wait_for(&lb, &["a", "b"], SOON);
        let status = lb.status().backend("app");
        assert_eq!(status.discovery("source"), "file");
        load.assert_flawless(&format!("it serves from the disk with etcd {how}"));
    }
    etcd.thaw();
}

#[test]
fn a_removed_server_finishes_its_sessions_and_is_the_same_when_it_returns() {
    let etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Echo);
    etcd.put("/app/a", &nth(&origin, 1));
    etcd.put("/app/b", &nth(&origin, 2));
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "0").backend(r#"balance = "first""#));
    wait_for(&lb, &["a", "b"], SOON);
    let mut session = std::net::TcpStream::connect(lb.addr("web")).unwrap();
    echo(&mut session);
    assert_eq!(lb.status().server("app/a").number("sessions"), 1);
    etcd.delete("/app/a");
    wait_for(&lb, &["b"], SOON);
    echo(&mut session);
    let mut other = std::net::TcpStream::connect(lb.addr("web")).unwrap();
    echo(&mut other);
    assert_eq!(lb.status().server("app/b").number("sessions"), 1);
    etcd.put("/app/a", &nth(&origin, 1));
    wait_for(&lb, &["a", "b"], SOON);
    let server = lb.status().server("app/a");
    assert_eq!((server.number("sessions"), server.number("sessions_total")), (1, 1));
    echo(&mut session);
    // At another address it is a new server of the same name: counters stay, health starts anew.
    etcd.put("/app/a", &nth(&origin, 3));
    eventually_eq(SOON, nth(&origin, 3), || lb.status().server("app/a").text("addr"));
    assert_eq!(lb.status().server("app/a").number("sessions_total"), 1);
    echo(&mut session);
}

fn echo(session: &mut std::net::TcpStream) {
    use std::io::{Read, Write};
    session.write_all(b"x").unwrap();
    let mut byte = [0];
    session.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn the_configuration_wins_over_a_key_of_the_same_name_and_a_reload_keeps_what_was_found() {
    let etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    etcd.put("/app/a", &nth(&origin, 1));
    etcd.put("/app/b", r#"{"addr":"localhost:1","weight":7,"backup":true}"#);
    let config = discovering(&[etcd.endpoint()], "30s").server("a", nth(&origin, 9));
    let lb = Lb::start(&config);
    wait_for(&lb, &["a", "b"], SOON);
    eventually_eq(SOON, "127.0.0.1:1".to_owned(), || lb.status().server("app/b").text("addr"));
    let server = lb.status().server("app/b");
    assert_eq!(server.number("weight"), 7);
    assert_eq!(lb.status().server("app/a").text("addr"), nth(&origin, 9));
    assert!(lb.stderr().contains("server a is in the configuration too"), "{}", lb.stderr());
    lb.reload(&config);
    wait_for(&lb, &["a", "b"], SOON);
    assert_eq!(lb.status().server("app/b").text("addr"), "127.0.0.1:1");
    // Without discovery the found servers are gone; with it they return.
    lb.reload(&Config::new().server("a", nth(&origin, 9)));
    wait_for(&lb, &["a"], SOON);
    lb.reload(&config);
    wait_for(&lb, &["a", "b"], SOON);
}

#[test]
fn a_server_that_stops_by_lb_register_costs_no_connection() {
    use super::support::lb::BINARY;
    use super::support::process::Process;
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "30s"));
    let mut origins: Vec<Origin> = (0..3).map(|_| Origin::start(Behaviour::Http(100))).collect();
    let register = |origin: &Origin, name: &str| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["register", "--etcd", &etcd.endpoint(), "--key", &format!("/app/{name}")]);
        command.args(["--addr", &origin.server(), "--ttl", "5", "--check", "http:/", "--drain", "1s"]);
        Process::start(name, dir.path(), &command)
    };
    let names = ["a", "b", "c"];
    let mut registered: Vec<Process> = origins.iter().zip(names).map(|(origin, name)| register(origin, name)).collect();
    wait_for(&lb, &names, RECOVERY);
    let load = Load::start(lb.addr("web"));
    for (index, name) in names.into_iter().enumerate() {
        registered[index].signal(nix::sys::signal::Signal::SIGTERM);
        registered[index].wait(RECOVERY);
        assert!(!lb.status().servers("app").contains(&name.to_owned()));
        origins[index].stop();
        origins[index].restart();
        registered[index] = register(&origins[index], name);
        wait_for(&lb, &names, RECOVERY);
    }
    load.assert_flawless("three registered servers restart in turn");
}

#[test]
fn a_server_whose_value_says_drain_gets_no_new_sessions_also_when_it_is_the_last() {
    let etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Echo);
    etcd.put("/app/a", &nth(&origin, 1));
    etcd.put("/app/b", &nth(&origin, 2));
    let config = discovering(&[etcd.endpoint()], "1h").backend("timeout = { queue = \"300ms\" }");
    let lb = Lb::start(&config.backend(r#"balance = "first""#));
    wait_for(&lb, &["a", "b"], SOON);
    let mut session = std::net::TcpStream::connect(lb.addr("web")).unwrap();
    echo(&mut session);
    let drain = |name: &str, number| {
        etcd.put(&format!("/app/{name}"), &format!(r#"{{"addr":"{}","drain":true}}"#, nth(&origin, number)));
        eventually_eq(SOON, "DRAIN".to_owned(), || lb.status().server(&format!("app/{name}")).text("status"));
    };
    drain("a", 1);
    echo(&mut session);
    let mut other = std::net::TcpStream::connect(lb.addr("web")).unwrap();
    echo(&mut other);
    assert_eq!(lb.status().server("app/b").number("sessions"), 1);
    // The operator cannot overrule it, and the answer says so.
    let ready = lb.command_ok(&["server", "ready", "app/a"]);
    assert!(ready.contains("app/a is DRAIN, as its key says"), "{ready}");
    // It stays so in the next engine.
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(lb.status().server("app/a").text("status"), "DRAIN");
    drain("b", 2);
    let mut refused = std::net::TcpStream::connect(lb.addr("web")).unwrap();
    assert_eq!(std::io::Read::read(&mut refused, &mut [0]).unwrap_or(0), 0);
    etcd.put("/app/a", &nth(&origin, 1));
    eventually_eq(SOON, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    echo(&mut std::net::TcpStream::connect(lb.addr("web")).unwrap());
    echo(&mut session);
}

#[test]
fn three_of_four_servers_that_stop_at_once_by_lb_register_cost_no_request() {
    use super::support::lb::BINARY;
    use super::support::port::Port;
    use super::support::process::Process;
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "30s"));
    let ports: Vec<Port> = (0..4).map(|_| Port::reserve()).collect();
    let names = ["a", "b", "c", "d"];
    let register = |name: &str, port: &Port| {
        let addr = port.addr().to_string();
        let mut command = std::process::Command::new(BINARY);
        command.args(["register", "--etcd", &etcd.endpoint(), "--key", &format!("/app/{name}"), "--addr", &addr]);
        command.args(["--check", "http:/", "--drain", "2s", "--"]);
        command.args([BINARY, "demo-server", "--listen", &addr, "--name", "it"]);
        Process::start(name, dir.path(), &command)
    };
    let mut registered: Vec<Process> = names.iter().zip(&ports).map(|(name, port)| register(name, port)).collect();
    wait_for(&lb, &names, RECOVERY);
    let load = Load::start(lb.addr("web"));
    observe(Duration::from_millis(500));
    registered[..3].iter().for_each(|server| server.signal(nix::sys::signal::Signal::SIGTERM));
    for server in &mut registered[..3] {
        server.wait(SOON + SOON);
    }
    wait_for(&lb, &["d"], SOON);
    load.assert_flawless("three of four registered servers stop at once");
    assert_eq!(lb.status().backend("app").discovery("holds_total"), 0);
}

#[test]
fn a_thousand_servers_are_applied_in_one_swap_without_a_pause() {
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    etcd.put("/app/first", &nth(&origin, 1));
    // Discovery is measured, not a thousand checks.
    let seldom = Config::bare().backend(r#"check = { inter = "1h" }"#);
    let config = discovering_with(seldom, &[etcd.endpoint()], "30s");
    let lb = Lb::start(&config);
    etcd.kill();
    etcd.on_another_port(|etcd| {
        for batch in 0..10 {
            let put = |number: usize| {
                let addr = format!("127.0.{}.{}:{}", batch + 1, number + 1, origin.addr().port());
                etcd_client::TxnOp::put(format!("/app/s{batch}-{number}"), addr, None)
            };
            etcd.transact((0..100).map(put).collect());
        }
        // So that it cannot continue with events, but has to list.
        etcd.compact(etcd.revision());
    });
    let load = Load::start(lb.addr("web"));
    observe(Duration::from_secs(2));
    let pid = lb.status().number("engine_pid");
    let before = control_thread_time(pid);
    etcd.restart();
    let count = || lb.stderr().contains("1001 keys listed");
    eventually(RECOVERY, "the listing", || count().then_some(()));
    observe(Duration::from_millis(300));
    let used = control_thread_time(pid) - before;
    assert_eq!(lb.status().servers("app").len(), 1001);
    figure("control-thread time for a listing of 1,000 servers (ms)", used.as_millis());
    load.assert_flawless("1,000 servers come at once");
    assert!(used < Duration::from_millis(300), "{used:?}");
}

/// The control thread is the first of its process.
fn control_thread_time(pid: u64) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    Duration::from_millis([11, 12].iter().map(|field| fields[*field].parse::<u64>().unwrap() * 10).sum())
}

#[test]
fn an_upgrade_takes_the_found_servers_along_and_what_is_held_stays_held() {
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        etcd.put(&format!("/app/{name}"), &nth(&origin, number + 1));
    }
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "1h"));
    let load = Load::start(lb.addr("web"));
    etcd.delete_prefix("/app/");
    let held = || lb.status().backend("app").discovery("held").as_array().unwrap().len();
    eventually_eq(SOON, 3, held);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(lb.status().number("generation"), 2);
    eventually_eq(SOON, 3, held);
    wait_for(&lb, &["a", "b", "c"], SOON);
    // The same without etcd.
    etcd.kill();
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(lb.status().number("generation"), 3);
    wait_for(&lb, &["a", "b", "c"], SOON);
    etcd.restart();
    etcd.put("/app/d", &nth(&origin, 4));
    wait_for(&lb, &["a", "b", "c", "d"], RECOVERY + SOON);
    eventually_eq(SOON, 3, held);
    load.assert_flawless("it is upgraded with servers held and with etcd away");
}
