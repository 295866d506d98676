//! Started under the name `haproxy`: its command lines, beside the real one.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::as_haproxy::{AsHaproxy, Daemon, name_of};
use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::proc;
use crate::support::process::run;
use crate::support::wait::eventually;

#[test]
fn exit_codes_and_streams_are_those_of_haproxy() {
    let home = AsHaproxy::new();
    home.write(
        "ok.cfg",
        "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
        frontend f\n bind 127.0.0.1:18080\n default_backend b\nbackend b\n server s 127.0.0.1:18081\n",
    );
    home.write("bad.cfg", "frontend f\n default_backend b\n binde 127.0.0.1:18080\nbackend b\n");
    home.write(
        "none.cfg",
        "backend b\n mode tcp\n timeout connect 1s\n timeout server 1s\n server s 127.0.0.1:18081\n",
    );
    home.write("typo.cfg", "frontends f\n bind 127.0.0.1:18080\n");
    home.write("quote.cfg", "global\n\tlog \"127.0.0.1 local0\n");
    fs::create_dir(home.path("parts")).unwrap();
    let ok = fs::read_to_string(home.path("ok.cfg")).unwrap();
    let (defaults, rest) = ok.split_once("frontend").unwrap();
    for (name, text) in [("parts/1.cfg", defaults), ("parts/2.cfg", &format!("frontend{rest}")), ("parts/3.txt", "no")]
    {
        home.write(name, text);
    }
    home.write("warns.cfg", &format!(".warning look\n{ok}"));
    let lines = [
        "-c -dW -f @DIR@/warns.cfg",
        "-D -dW -f @DIR@/warns.cfg",
        "-c -dW -f @OK@",
        "-c -f @DIR@/parts",
        "-c -f @DIR@/parts/1.cfg -f @DIR@/parts/2.cfg",
        "-c -f @DIR@/parts/1.cfg -- @DIR@/parts/2.cfg",
        "-c -f @DIR@/parts/3.txt",
        "-c -f @OK@",
        "-c -q -f @OK@",
        "-c -q -V -f @OK@",
        "-c -V -f @OK@",
        "-c -- @OK@",
        "-c -C @DIR@ -f @OK@",
        "-c -C @DIR@/none -f @OK@",
        "-Ws -f @OK@ -c -q -S @DIR@/master.sock",
        "-c -f @OK@ -sf",
        "-c -f @OK@ -sf 1 2 -q",
        "-c -f @OK@ -st abc",
        "-c -f @OK@ -n 10 -N 5 -m 100 -L peer -x @DIR@/none -p @DIR@/none/pid",
        "-c -f @OK@ -D -db -W -dr -dp -de -dV -dM -d",
        "-c -f @OK@ -p",
        "-c -f",
        "-c -f @BAD@",
        "-c -f @DIR@/typo.cfg",
        "-c -q -f @BAD@",
        "-D -f @BAD@",
        "-D -q -f @BAD@",
        "-W -db -f @BAD@",
        "-c -f @NONE@",
        "-c -q -f @NONE@",
        "-D -f @NONE@",
        "-c -f @DIR@/missing",
        "-f @DIR@/missing",
        "-D -f @OK@ -p @DIR@/none/pid",
        "-db -f @OK@ -x @DIR@/none",
        "",
        "-c",
        "-D",
        "-Z",
        "--help",
        "-v",
        "-vv",
        "-v -Z",
        "-vq",
        "-cq -f @OK@",
        "-cV -f @BAD@",
        "-qc -f @BAD@",
        "-Vc -f @BAD@",
        "-c -fx @OK@ -mx 5 -xx a -sfx",
        "-c -sx -f @OK@",
        "-c -dWx -f @DIR@/warns.cfg",
        "-c -f @QUOTE@",
        "-cc 1",
        "-cc 0 -c -f @OK@",
        "-cc version_atleast(2.4)&&!defined(NO_SUCH)&&defined(PATH)",
        "-cc",
        "-cc bad(",
        "-q -cc bad(",
    ];
    for line in lines {
        let line = ["ok", "bad", "none", "quote"].iter().fold(line.to_owned(), |line, name| {
            line.replace(&format!("@{}@", name.to_uppercase()), &format!("@DIR@/{name}.cfg"))
        });
        let (real, ours) = (home.run_real(&line), home.run(&line));
        assert_eq!(facts(&ours), facts(&real), "haproxy {line}\n{ours:?}\n{real:?}");
    }
}

/// What scripts look at: the code, the answer, whether there is an alert, the place that the first one names, and the
/// mark below a line that cannot be read.
fn facts(output: &Output) -> (Option<i32>, String, bool, Option<String>, Vec<String>) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let answer = match out.lines().next().unwrap_or_default() {
        version if version.starts_with("HAProxy version 2.") => "HAProxy version 2".to_owned(),
        _ => out.into_owned(),
    };
    let mut alerts = err.lines().filter(|line| line.starts_with("[ALERT]    (")).peekable();
    let (alert, place) = (alerts.peek().is_some(), alerts.find_map(|alert| alert.split_once("parsing [")));
    let place = place.and_then(|(_, rest)| Some(rest.split_once(']')?.0.to_owned()));
    let alerts = err.lines().skip_while(|line| !line.starts_with("[ALERT]"));
    let mark = alerts.filter(|line| line.starts_with("  ")).map(str::to_owned).collect();
    (output.status.code(), answer, alert, place, mark)
}

#[test]
fn a_file_makes_a_daemon_and_names_its_pid_file() {
    let (home, origin, port) = (AsHaproxy::new(), Origin::named("one"), Port::reserve());
    let basics = fs::read_to_string("/etc/haproxy/haproxy.cfg").expect("the package haproxy is installed");
    let site = format!("listen web\n mode tcp\n bind {}\n server a {}\n", port.addr(), origin.server());
    home.write("its.cfg", &format!("{basics}\nglobal\n pidfile @DIR@/pid\n{site}"));
    assert_eq!(home.run("-c -f @DIR@/its.cfg").status.code(), Some(0));
    let output = home.run("-C @DIR@ -f its.cfg");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let daemon = Daemon(home.pid("pid"));
    assert_eq!(greeting(port.addr()).unwrap(), "one");
    // The distribution's file has `daemon`; -db has the last word.
    let next = home.start("next", &format!("-W -db -f @DIR@/its.cfg -sf {}", daemon.0));
    daemon.wait();
    assert_eq!(home.pid("pid"), next.process.pid());
}

#[test]
fn a_configuration_that_comes_through_a_pipe_is_read_once() {
    let (home, origin, port) = (AsHaproxy::new(), Origin::named("one"), Port::reserve());
    let site = format!("listen web\n mode tcp\n bind {}\n server a {}\n", port.addr(), origin.server());
    home.write("its.cfg", &site);
    home.write("front.sh", "exec @DIR@/haproxy -db -f <(cat @DIR@/its.cfg) --socket @DIR@/lb.sock\n");
    {
        let lb = home.start_by(Path::new("bash"), "front", "@DIR@/front.sh");
        assert_eq!(greeting(port.addr()).unwrap(), "one");
        let engine = i32::try_from(home.status().number("engine_pid")).unwrap();
        kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
        eventually(HANG, "another engine", || lb.process.stderr().contains("serves again").then_some(()));
        assert_eq!(greeting(port.addr()).unwrap(), "one");
    }
    home.write("daemon.sh", "cat @DIR@/its.cfg | @DIR@/haproxy -D -f /dev/stdin --socket @DIR@/lb.sock -p @DIR@/pid\n");
    let output = home.run_by(Path::new("bash"), "@DIR@/daemon.sh");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let _daemon = Daemon(home.pid("pid"));
    assert_eq!(greeting(port.addr()).unwrap(), "one");
}

#[test]
fn a_pid_file_is_a_new_file_whatever_is_at_its_path() {
    let (home, origin, port) = (AsHaproxy::new(), Origin::named("one"), Port::reserve());
    home.write("lb.toml", &config(&origin, port.addr()));
    home.write("victim", "precious");
    symlink(home.path("victim"), home.path("pid")).unwrap();
    let output = home.run("-D -f @DIR@/lb.toml -p @DIR@/pid");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let daemon = Daemon(home.pid("pid"));
    assert_eq!(fs::read_to_string(home.path("victim")).unwrap(), "precious");
    assert_eq!(greeting(port.addr()).unwrap(), "one");
    assert!(!home.path("pid").is_symlink());
    drop(daemon);
}

#[test]
fn a_daemon_returns_when_it_serves_and_leaves_its_pid_and_its_name() {
    let (home, origin, port) = (AsHaproxy::new(), Origin::named("one"), Port::reserve());
    home.write("lb.toml", &config(&origin, port.addr()));
    let output = home.run("-D -f @DIR@/lb.toml -p @DIR@/pid -q");
    let daemon = Daemon(home.pid("pid"));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert_eq!(greeting(port.addr()).unwrap(), "one");
    let all = proc::tree(daemon.0);
    assert_eq!(all.len(), 2);
    let found = run(Command::new("pidof").arg("haproxy"), HANG).stdout;
    let found: Vec<_> = String::from_utf8(found).unwrap().split_whitespace().map(str::to_owned).collect();
    assert!(all.iter().all(|pid| found.contains(&pid.to_string())), "{all:?} {found:?}");
    assert!(run(Command::new("killall").args(["-0", "haproxy"]), HANG).status.success());
    for pid in all {
        assert_eq!(name_of(pid), "haproxy");
        for stream in 0..3 {
            let target = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
            assert_eq!(target.to_str(), Some("/dev/null"), "{pid} {stream}");
        }
    }
    // A second one cannot have the port: nothing changes, also not the pid file.
    home.write("second.toml", &config(&origin, port.addr()).replace("lb.sock", "second.sock"));
    let second = home.run("-D -f @DIR@/second.toml -p @DIR@/pid");
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains(&port.addr().to_string()), "{words}");
    assert_eq!(home.pid("pid"), daemon.0);
    // TERM ends it at once, as init scripts expect.
    let _session = TcpStream::connect(port.addr()).unwrap();
    eventually(HANG, "a session", || (origin.open() == 1).then_some(()));
    kill(Pid::from_raw(daemon.0), Signal::SIGTERM).unwrap();
    daemon.wait();
}

#[test]
fn usr2_reloads_and_upgrades_where_the_binary_has_changed() {
    let home = AsHaproxy::with_own_binary();
    let (one, two, port) = (Origin::named("one"), Origin::named("two"), Port::reserve());
    home.write("lb.toml", &config(&one, port.addr()));
    let lb = home.start("lb", "-W -db -f @DIR@/lb.toml -p @DIR@/pid");
    assert_eq!(home.pid("pid"), lb.process.pid());
    let engine = home.status().number("engine_pid");
    for (signal, origin, name) in [(Signal::SIGUSR2, &two, "two"), (Signal::SIGHUP, &one, "one")] {
        home.write("lb.toml", &config(origin, port.addr()));
        lb.process.signal(signal);
        wait_for_server(port.addr(), name);
        assert_eq!(home.status().number("engine_pid"), engine);
    }
    home.replace_binary();
    home.write("lb.toml", &config(&two, port.addr()));
    lb.process.signal(Signal::SIGUSR2);
    eventually(HANG, "another engine", || (home.status().number("engine_pid") != engine).then_some(()));
    wait_for_server(port.addr(), "two");
    eventually(HANG, "one engine", || (proc::tree(lb.process.pid()).len() == 2).then_some(()));
    for pid in proc::tree(lb.process.pid()) {
        assert_eq!(name_of(pid), "haproxy");
    }
    // The new program knows its name, too.
    home.write("lb.toml", &config(&one, port.addr()));
    lb.process.signal(Signal::SIGUSR2);
    wait_for_server(port.addr(), "one");
}

#[test]
fn the_unit_of_the_distribution_starts_it_unchanged() {
    let (home, one, two, port) = (AsHaproxy::new(), Origin::named("one"), Origin::named("two"), Port::reserve());
    let unit = fs::read_to_string("/lib/systemd/system/haproxy.service").expect("the package haproxy is installed");
    let words = |key: &str| -> Vec<String> {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let options = "-S @DIR@/master.sock";
        let filled = |line: &str| {
            let line = line.replace("$CONFIG", "@DIR@/lb.toml").replace("$PIDFILE", "@DIR@/pid");
            line.replace("$EXTRAOPTS", options)
        };
        lines.map(filled).collect()
    };
    let line = |text: &str| text.strip_prefix("/usr/sbin/haproxy ").expect("it runs haproxy").to_owned();
    home.write("lb.toml", &config(&one, port.addr()));
    let mut lb = home.start("lb", &line(&words("ExecStart")[0]));
    assert_eq!(greeting(port.addr()).unwrap(), "one");
    assert_eq!(home.pid("pid"), lb.process.pid());
    let reload = words("ExecReload");
    home.write("lb.toml", "nonsense");
    assert_eq!(home.run(&line(&reload[0])).status.code(), Some(1));
    home.write("lb.toml", &config(&two, port.addr()));
    assert_eq!(home.run(&line(&reload[0])).status.code(), Some(0));
    assert_eq!(reload[1], "/bin/kill -USR2 $MAINPID");
    lb.process.signal(Signal::SIGUSR2);
    wait_for_server(port.addr(), "two");
    lb.process.signal(Signal::SIGTERM);
    assert_eq!(lb.process.wait(HANG).code(), Some(0));
}

#[test]
fn a_taken_port_is_an_error_of_the_start() {
    let (home, origin) = (AsHaproxy::new(), Origin::named("one"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    home.write("lb.toml", &config(&origin, taken.local_addr().unwrap()));
    for line in ["-D -f @DIR@/lb.toml", "-db -f @DIR@/lb.toml", "-W -db -f @DIR@/lb.toml"] {
        let output = home.run(line);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {words}");
        assert!(words.contains("cannot bind"), "{line}: {words}");
    }
}

fn wait_for_server(addr: SocketAddr, name: &str) {
    eventually(HANG, "the new server", || (greeting(addr).ok()? == name).then_some(()));
}

fn config(origin: &Origin, addr: SocketAddr) -> String {
    let config = Config::new().bind(&format!("[\"{addr}\"]")).origins([origin]);
    config.global("socket = \"@DIR@/lb.sock\"").text()
}
