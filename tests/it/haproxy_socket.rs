//! HAProxy's runtime API beside HAProxy's own: the same file and the same commands to both, the answers compared.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::as_haproxy::{AsHaproxy, Foreground};
use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::stats_socket::StatsSocket;
use crate::support::wait::{eventually, eventually_eq};

/// Both balancers with the same file, each with a socket for each level.
struct Both {
    // Dropped in this order.
    _lb: Foreground,
    _haproxy: Process,
    home: AsHaproxy,
    _ports: [Port; 4],
}

impl Both {
    #[track_caller]
    fn start() -> Self {
        let ports = [(); 4].map(|()| Port::reserve());
        let home = AsHaproxy::new();
        for (name, first) in [("lb", 0), ("haproxy", 2)] {
            let text = FILE
                .replace("@NAME@", name)
                .replace("@BOTH@", &ports[first].addr().to_string())
                .replace("@WEB@", &ports[first + 1].addr().to_string());
            home.write(&format!("{name}.cfg"), &text);
        }
        let haproxy = home.start_real("haproxy", "-db -f @DIR@/haproxy.cfg");
        let lb = home.start("lb", "-db -f @DIR@/lb.cfg --socket @DIR@/lb.sock");
        Self { home, _lb: lb, _haproxy: haproxy, _ports: ports }
    }

    #[track_caller]
    fn sockets(&self, level: &str) -> [StatsSocket; 2] {
        ["haproxy", "lb"].map(|name| StatsSocket::at(&self.home.path(&format!("{name}-{level}.sock"))))
    }

    /// What differs between the two answers for reasons of its own.
    fn plain(&self, answer: &str) -> String {
        let times = regex::Regex::new(r"\[\d\d/[^\]]*\]").unwrap();
        let answer = times.replace_all(answer, "[TIME]");
        answer.replace("haproxy-", "lb-").trim_end().to_owned()
    }
}

/// The lines of HAProxy's list that are about things that exist here.
fn known(list: &str, all: &str) -> Vec<String> {
    let lines = list.lines().filter(|line| !line.starts_with("  ") || all.lines().any(|known| known == *line));
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn commands_are_answered_in_haproxys_words() {
    let both = Both::start();
    let [haproxy, lb] = both.sockets("admin");
    let mut wrong = Vec::new();
    for command in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let (theirs, ours) = (haproxy.ask(command), lb.ask(command));
        if both.plain(&theirs) != both.plain(&ours) {
            wrong.push(format!("{command}\n  HAProxy: {theirs:?}\n  lb:      {ours:?}"));
        }
        assert!(ours.is_empty() || ours.ends_with('\n') && !ours.contains("\n\n"), "{command}: {ours:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_level_may_do_what_it_may_with_haproxy() {
    let both = Both::start();
    for level in ["user", "operator", "admin"] {
        let [haproxy, lb] = both.sockets(level);
        for command in LEVELLED.lines().filter(|line| !line.is_empty()) {
            let denied = [&haproxy, &lb].map(|socket| socket.ask(command) == "Permission denied\n");
            assert_eq!(denied[0], denied[1], "{level}: {command}");
        }
        for lines in [
            "operator;show cli level",
            "user;show cli level;set weight zz/z1 1",
            "prompt\nuser\nuser\noperator\nshow cli level\nquit",
        ] {
            let bytes = format!("{lines}\n");
            assert_eq!(lb.exchange(&bytes), haproxy.exchange(&bytes), "{level}: {lines}");
        }
    }
}

#[test]
fn lines_prompts_and_payloads_are_those_of_haproxy() {
    let both = Both::start();
    let [haproxy, lb] = both.sockets("admin");
    for bytes in [
        "show cli level;show cli level\n",
        "show cli level\r\n",
        "  show\tcli   level extra  \n",
        "show cli level\nshow cli level\n",
        "show cli level <<\nabc\n\n",
        "get weight zz/z1;get weight zz/z9;set weight zz/z1 1\n",
        "get weight\\ x;show cli level\n",
        "prompt\nshow cli level\nquit\n",
        "prompt\nshow cli level <<\nabc\n\nshow cli level\nquit\n",
        "prompt;show cli level;quit\n",
        "prompt\nprompt\n",
        "quit\n",
        "quit;show cli level\n",
        "set timeout cli 20;show cli level\n",
        "set severity-output number;get weight;help show stat;set weight zz/z1 1;get weight zz/z1\n",
        "set severity-output string;get weight;show cli level\n",
        "set severity-output none;get weight\n",
    ] {
        assert_eq!(lb.exchange(bytes), haproxy.exchange(bytes), "{bytes:?}");
    }
    let long = format!("{}\n", "x".repeat(20_000));
    assert_eq!([lb.overhear(&long), haproxy.overhear(&long)], ["", ""]);
    // Without a line end there is nothing to answer.
    assert_eq!([lb.overhear("show cli level"), haproxy.overhear("show cli level")], ["", ""]);
}

#[test]
fn help_and_unknown_commands_name_what_haproxy_names() {
    let both = Both::start();
    let [haproxy, lb] = both.sockets("admin");
    let all = lb.ask("help");
    let theirs = haproxy.ask("help");
    // `wait` came with HAProxy 3.0.
    let own: Vec<_> = all.lines().filter(|line| !line.starts_with("  wait ")).map(str::to_owned).collect();
    assert_eq!(own, known(&theirs, &all));
    for command in ["help show", "help set server", "help set", "help disable", "show", "set", "enable", "disable"] {
        assert_eq!(known(&lb.ask(command), &all), known(&haproxy.ask(command), &all), "{command}");
    }
    for command in [
        "shw stat",
        "enable sever zz/z1",
        "set maxconn foo",
        "shutdown sessions foo",
        "show cli foo",
        "show servers",
        "show stt",
    ] {
        assert_eq!(lb.ask(command), haproxy.ask(command), "{command}");
    }
    assert!(lb.ask("").starts_with("Unknown command. Please enter one of the following commands only:\n"));
}

#[test]
fn changes_are_seen_by_both_ways_of_asking() {
    let both = Both::start();
    let [_, lb] = both.sockets("admin");
    let state = || both.home.status().server("zz/z1").text("status");
    for (command, status) in [
        ("set server zz/z1 state maint", "MAINT"),
        ("enable server zz/z1", "UP"),
        ("set server zz/z1 state drain", "DRAIN"),
        ("set server zz/z1 state ready", "UP"),
        ("disable server zz/z1", "MAINT"),
    ] {
        assert_eq!(lb.ask(command), "");
        eventually(HANG, status, || (state() == status).then_some(()));
        let row = lb.ask("show stat");
        let row = row.lines().find(|row| row.starts_with("zz,z1,")).unwrap().to_owned();
        let shown = row.split(',').nth(17).unwrap().to_owned();
        assert!(shown == status || status == "UP" && shown == "no check", "{command}: {row}");
    }
    assert_eq!(lb.ask("set weight zz/z2 50%"), "");
    assert_eq!(lb.ask("get weight zz/z2"), "2 (initial 5)\n");
    assert_eq!(lb.ask("wait 20ms srv-removable zz/z2"), "Done.\n");
}

#[test]
fn a_socket_comes_goes_and_changes_with_the_configuration() {
    let origin = Origin::start(Behaviour::Echo);
    let config = |sockets: &str| Config::new().global(&format!("haproxy_socket = [{sockets}]")).origins([&origin]);
    let first = r#"{ path = "@DIR@/one.sock", mode = "0600", level = "admin" }"#;
    let mut lb = Lb::start(&config(first));
    let (one, two) = (lb.dir().join("one.sock"), lb.dir().join("two.sock"));
    let mode = |path: &PathBuf| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&one), 0o600);
    assert_eq!(StatsSocket::at(&one).ask("show cli level"), "admin\n");
    let both = r#"{ path = "@DIR@/one.sock", mode = "0660", level = "user" }, { path = "@DIR@/two.sock", level = "operator" }, { addr = "127.0.0.1:0" }"#;
    lb.reload(&config(both));
    assert_eq!((mode(&one), StatsSocket::at(&one).ask("show cli level")), (0o660, "user\n".to_owned()));
    let listed = StatsSocket::at(&two).ask("show cli sockets");
    let tcp = listed.lines().find_map(|line| line.strip_prefix("ipv4@")).unwrap().split(' ').next().unwrap().to_owned();
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"show version\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("2.8.0-lb") && answer.ends_with("\n\n"), "{answer}");
    // A path that was removed is made again.
    fs::remove_file(&two).unwrap();
    lb.command_ok(&["reload"]);
    StatsSocket::at(&two);
    lb.reload(&config(first));
    eventually(HANG, "the second path is gone", || (!two.exists()).then_some(()));
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    assert!(!one.exists());
}

#[test]
fn a_socket_outlives_engines_without_a_refused_client() {
    let origin = Origin::start(Behaviour::Echo);
    let line = r#"haproxy_socket = [{ path = "@DIR@/api.sock", level = "admin" }]"#;
    let lb = Lb::start(&Config::new().global(line).origins([&origin]));
    let path = lb.dir().join("api.sock");
    let inode = fs::symlink_metadata(&path).unwrap().ino();
    let socket = StatsSocket::at(&path);
    let engine = |socket: &StatsSocket| {
        let info = socket.ask("show info");
        info.lines().find_map(|line| line.strip_prefix("Pid: ")).unwrap().to_owned()
    };
    let before = engine(&socket);
    let mut interactive = socket.connect();
    interactive.write_all(b"prompt\n").unwrap();
    std::thread::scope(|scope| {
        let (over, ended) = std::sync::mpsc::channel::<()>();
        let asker = scope.spawn(move || {
            let mut asked = 0;
            while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                assert_eq!(StatsSocket::at(&path).ask("show cli level"), "admin\n");
                asked += 1;
            }
            asked
        });
        lb.command_ok(&["upgrade", "--probation", "0s"]);
        eventually(HANG, "the new engine", || (engine(&socket) != before).then_some(()));
        drop(over);
        assert!(asker.join().unwrap() > 0);
    });
    assert_eq!(fs::symlink_metadata(lb.dir().join("api.sock")).unwrap().ino(), inode);
    let upgraded = engine(&socket);
    kill(Pid::from_raw(lb.engine()), Signal::SIGKILL).unwrap();
    // Clients wait in the kernel's queue meanwhile.
    assert_ne!(engine(&socket), upgraded);
    assert_eq!(fs::symlink_metadata(lb.dir().join("api.sock")).unwrap().ino(), inode);
}

#[test]
fn clients_that_do_not_read_or_say_nothing_hold_up_none() {
    let origin = Origin::start(Behaviour::Echo);
    let global = "haproxy_socket = [{ path = \"@DIR@/api.sock\" }]\nhaproxy_socket_timeout = \"2s\"";
    let lb = Lb::start(&Config::new().global(global).origins([&origin]));
    let socket = StatsSocket::at(&lb.dir().join("api.sock"));
    let greedy: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = socket.connect();
            stream.write_all("help;".repeat(2000).as_bytes()).unwrap();
            stream
        })
        .collect();
    let silent: Vec<_> = (0..20).map(|_| socket.connect()).collect();
    let many: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = socket.connect();
            stream.write_all(b"show cli level\n").unwrap();
            stream
        })
        .collect();
    for mut stream in many {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "operator\n\n");
    }
    let before = Instant::now();
    lb.status();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    // Silence ends after the time that is configured.
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    drop(greedy);
    eventually_eq(HANG, "operator\n".to_owned(), || socket.ask("show cli level"));
}

const FILE: &str = "global
    stats socket @DIR@/@NAME@-admin.sock mode 600 level admin expose-fd listeners
    stats socket @DIR@/@NAME@-user.sock level user
    stats socket @DIR@/@NAME@-operator.sock
    maxconn 100
defaults
    mode tcp
    timeout connect 1s
    timeout client 10s
    timeout server 10s
backend zz
    server z1 127.0.0.1:1
    server z2 127.0.0.1:1 disabled weight 5 maxconn 7
listen both
    bind @BOTH@
    server l1 127.0.0.1:1 backup
frontend aa
    bind @WEB@
    default_backend zz
backend fixed
    balance static-rr
    server s1 127.0.0.1:1 weight 7
";

/// Right and wrong ones; those that change something leave it as it was.
const COMMANDS: &str = "
set server
set server zz
set server /z1 state ready
set server zz/ state ready
set server zz/z1
set server zz/z1 bogus
set server zz/z9 state foo
set server zy/z1 state ready
set server zz/z1 state
set server zz/z1 state foo
set server zz/z1 state maint
set server zz/z1 state ready
set server zz/z1 weight
set server zz/z1 weight x
set server zz/z1 weight 300
set server zz/z1 weight -1
set server zz/z1 weight -5%
set server zz/z1 weight 5x
set server zz/z1 weight 256
get weight zz/z1
set server zz/z1 weight 10000%
get weight zz/z1
set weight zz/z1 100%
set weight zz
set weight zz/z1
set weight zz/z9 5
set weight zz/z1 abc
set weight fixed/s1 3
set weight fixed/s1 0
set weight fixed/s1 100%
get weight
get weight zz
get weight zz/z9
get weight zy/z1
get weight fixed/s1
set server zz/z1 health
set server zz/z1 health foo
set server zz/z1 agent
set server zz/z1 agent up
set server zz/z1 agent foo
set server zz/z1 agent-addr
set server zz/z1 agent-addr 1.2.3.4
set server zz/z1 agent-port
set server zz/z1 agent-port 5
set server zz/z1 agent-send
set server zz/z1 agent-send foo
set server zz/z1 check-addr
set server zz/z1 check-addr 127.0.0.1
set server zz/z1 check-port
set server zz/z1 check-port x
set server zz/z1 check-port 99999
set server zz/z1 check-port 7101
set server zz/z1 addr
set server zz/z1 addr foo
set server zz/z1 fqdn
set server zz/z1 name x
set server zz/z1 ssl on
set maxconn server
set maxconn server zz/z1
set maxconn server zz/z1 5x
set maxconn server zz/z1 x
set maxconn server zz/z9 5
set maxconn frontend
set maxconn frontend zz
set maxconn frontend aa
set maxconn frontend aa -1
set maxconn frontend zy 5
set maxconn global
set maxconn global 5000
enable server
enable server zz
enable server zz/z9
disable server
disable server zz/z2
enable health
enable health zz
enable health zz/z1
disable health zz/z1
enable agent
enable agent zz/z1
disable agent zz/z1
enable frontend
enable frontend foo
enable frontend aa
disable frontend
disable frontend zz
shutdown frontend
shutdown frontend foo
shutdown session
shutdown session foo
shutdown sessions server
shutdown sessions server zz
shutdown sessions server zz/z9
add server
add server zz
add server zz/
add server zz/z1
add server zz/z1 127.0.0.1:1
add server zz/n1
add server zy/n4 127.0.0.1:7107
del server
del server zz
del server zz/z9
del server zz/z1
show servers state zy
show servers conn zy
show backend
show backend x
show stat x y z
show stat zy 4 1
show stat domain foo
show errors
show errors foo
show errors zz
show errors 1
show table
show table foo
show table zz
clear table
clear table foo
clear counters
clear counters all
clear counters foo
show env FOO
show resolvers foo
show events foo
show map
show cache
show peers
show peers foo
show trace foo
show cli level
show cli sockets
set timeout
set timeout cli
set timeout cli x
set timeout cli 0
set timeout foo 3
set severity-output
set severity-output foo
set severity-output none
user
operator
";

const LEVELLED: &str = "
add server zz/z1 127.0.0.1:1
clear counters
clear counters all
clear table x
del server zz/z1
disable agent zz/z1
disable health zz/z1
disable server zz/z2
enable agent zz/z1
enable frontend aa
enable health zz/z1
enable server zz/z1
get weight zz/z1
set maxconn frontend aa x
set maxconn global 5000
set maxconn server zz/z1 x
set server zz
set severity-output none
set timeout cli 10
set weight zz/z1 1
show activity
show backend
show cache
show cli level
show cli sockets
show env FOO
show errors
show events
show fd
show info
show map
show peers
show pools
show resolvers foo
show servers conn
show servers state
show sess
show stat
show startup-logs
show table
show threads
show trace
show version
shutdown frontend xx
shutdown session 0x1
shutdown sessions server zz/z1
operator
user
";
