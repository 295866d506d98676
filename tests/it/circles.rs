//! A server that is the balancer itself gets no sessions, and neither does a connect that meets itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::etcd::Etcd;
use crate::support::lb::{BINARY, Lb};
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::process::run;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn check_finds_frontends_that_lead_back_to_themselves() {
    // Binds of `web`, its keys, its server; then bind and server of `two`; then the line of the server to blame, if any.
    let cases = [
        ("127.0.0.1:80", "", "127.0.0.1:80", "", "", Some(":8:")),
        ("0.0.0.0:80", "", "127.0.0.1:80", "", "", Some(":8:")),
        ("127.0.0.1:80", "", "0.0.0.0:80", "", "", Some(":8:")),
        ("[::]:80", "v4v6 = true", "127.0.0.1:80", "", "", Some(":8:")),
        ("[::1]:80", "", "localhost:80", "", "", Some(":8:")),
        ("127.0.0.1:80", "", "127.0.0.1:81", "0.0.0.0:81", "127.0.0.1:80", Some(":8:")),
        // What only this host shows.
        ("0.0.0.0:80", "", "10.9.9.9:80", "", "", Some(" server app/a (10.9.9.9:80)")),
        ("0.0.0.0:80", "", "me.test:80", "", "", Some(" server app/a (10.9.9.9:80)")),
        // No circle.
        ("0.0.0.0:80", "", "127.0.0.1:81", "127.0.0.1:81", "10.0.0.1:80", None),
        ("[::]:80", "", "127.0.0.1:80", "", "", None),
        ("0.0.0.0:80", "", "10.9.9.8:80", "", "", None),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    for (bind, keys, server, other_bind, other_server, expected) in cases {
        let other = format!(
            "[frontend.two]\nbind = \"{other_bind}\"\nbackend = \"two\"\n[backend.two.servers]\nb = \"{other_server}\""
        );
        let other = if other_bind.is_empty() { String::new() } else { other };
        let text = format!(
            "[frontend.web]\nbind = \"{bind}\"\nbackend = \"app\"\n{keys}\n\
             \n[backend.app]\n[backend.app.servers]\na = \"{server}\"\n{other}\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = here(dir.path(), "true");
        command.args([BINARY, "check", "-f"]).arg(&file);
        let output = run(&command, HANG);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        match expected {
            Some(place) => {
                let told = words.contains(place) && words.contains("leads back");
                assert!(output.status.code() == Some(2) && told, "{bind} {server}: {words}");
            }
            None => assert!(output.status.success(), "{bind} {server}: {words}"),
        }
    }
}

#[test]
fn a_server_that_etcd_says_is_the_balancer_itself_gets_no_sessions() {
    let (origin, etcd) = (Origin::named("one"), Etcd::start());
    let config = Config::new().origins([&origin]).backend(r#"discovery = { etcd = "/app/" }"#);
    let config = config.table(&format!("[etcd]\nendpoints = [\"{}\"]\nguard_delay = \"0\"", etcd.endpoint()));
    let lb = Lb::start(&config);
    let addr = lb.addr("web");
    etcd.put("/app/me", &addr.to_string());
    eventually(HANG, "the circle", || lb.stderr().contains("server me gets no sessions").then_some(()));
    for _ in 0..8 {
        assert_eq!(greeting(addr).unwrap(), "one");
    }
    let status = lb.status();
    assert_eq!(status.server("app/me").at("/check/status").unwrap(), "CIRCLE");
    assert_eq!(status.frontend("web").number("sessions_total"), 8);
    // It stays so through a reload and an upgrade, and ends with the key.
    lb.reload(&config);
    lb.command_ok(&["upgrade"]);
    assert_eq!(greeting(addr).unwrap(), "one");
    assert_eq!(lb.status().server("app/me").at("/check/status").unwrap(), "CIRCLE");
    etcd.delete("/app/me");
    eventually(HANG, "its end", || (lb.status().servers("app") == ["a"]).then_some(()));
}

#[test]
fn a_name_that_leads_to_the_balancer_itself_gets_no_sessions() {
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let config = Config::new().bind(&format!(r#"["0.0.0.0:{port}"]"#)).server("a", format!("me.test:{port}"));
    let config = config.backend("timeout = { queue = \"100ms\" }");
    let dir = tempfile::tempdir().unwrap();
    let lb = start_here(&here(dir.path(), "true"), &config);
    assert!(lb.stderr().contains("server a gets no sessions there: 10.9.9.9:"), "{}", lb.stderr());
    assert_eq!(knock_inside(&lb, port), b"");
    assert_eq!(lb.status().frontend("web").number("sessions_total"), 1);
}

#[test]
fn an_address_that_comes_to_this_host_makes_no_circle_that_lasts() {
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let config = Config::bare().bind(&format!(r#"["0.0.0.0:{port}"]"#)).server("a", format!("10.9.9.8:{port}"));
    let config = config.backend("check = false").global("maxconn = 300");
    let dir = tempfile::tempdir().unwrap();
    let lb = start_here(&here(dir.path(), "ip route add blackhole 10.9.9.8"), &config);
    let mut come = Command::new("nsenter");
    come.args(["-n", "-t", &lb.pid().to_string(), "ip", "addr", "add", "10.9.9.8/32", "dev", "lo"]);
    assert!(run(&come, HANG).status.success());
    // As many sessions as there is room for, from one client.
    std::thread::scope(|scope| {
        scope.spawn(|| knock_inside(&lb, port));
        eventually(HANG, "the circle", || lb.stderr().contains("server a gets no sessions there").then_some(()));
    });
    eventually_eq(HANG, 0, || lb.status().frontend("web").number("sessions"));
    assert_eq!(lb.status().server("app/a").at("/check/status").unwrap(), "CIRCLE");
}

#[test]
fn a_dead_server_is_never_reached_through_a_connect_to_itself() {
    let raw = "[frontend.raw]\nbind = \"127.0.0.1:8081\"\nbackend = \"raw\"\n[backend.raw]\ncheck = false\nretries = 0\n\
        timeout = { queue = \"100ms\" }\n[backend.raw.servers]\na = \"127.0.0.1:20000\"";
    let config = Config::new().bind(r#"["127.0.0.1:8080"]"#).server("a", "127.0.0.1:20000").table(raw);
    let dir = tempfile::tempdir().unwrap();
    // Each connect gets the port of the dead server as its own.
    let setup = "echo 20000 20000 > /proc/sys/net/ipv4/ip_local_port_range";
    let lb = start_here(&here(dir.path(), setup), &config);
    let checks = || lb.status().server("app/a").checks();
    let checks = eventually(HANG, "five checks", || Some(checks()).filter(|checks| checks.len() >= 5));
    assert!(checks.iter().all(|(ok, ..)| !ok), "{checks:?}");
    assert_eq!(lb.status().server("app/a").text("status"), "DOWN");
    for _ in 0..3 {
        assert_eq!(knock_inside(&lb, 8081), b"", "{}", lb.stdout());
    }
}

/// Runs a program in a network of its own with the address 10.9.9.9, which is also that of `me.test`.
fn here(dir: &Path, setup: &str) -> Command {
    let hosts = dir.join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n10.9.9.9 me.test\n").unwrap();
    let script = format!(
        "mount --bind {} /etc/hosts && ip link set lo up && ip addr add 10.9.9.9/32 dev lo && {setup} && exec \"$@\"",
        hosts.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "bash", "-c", &script, "bash"]);
    command
}

fn start_here(here: &Command, config: &Config) -> Lb {
    let words = std::iter::once(here.get_program()).chain(here.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    Lb::options().within(&words).config(config).start()
}

/// What a client in the balancer's own network receives.
fn knock_inside(lb: &Lb, port: u16) -> Vec<u8> {
    let mut client = Command::new("nsenter");
    let knock = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; timeout 5 cat <&3");
    client.args(["-n", "-t", &lb.pid().to_string(), "bash", "-c", &knock]);
    run(&client, HANG).stdout
}
