//! Where session lines go and in which form, beside HAProxy: the same format and the same traffic give the same lines.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::support::client::{HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::syslog::Syslog;
use crate::support::wait::{eventually, observe};

/// All that does not depend on ports, pids or the time.
const FIELDS: &str = "%ci [%fi] %ft %f %b/%s %si:%sp %B %U %ts %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %{+Q}s %{+X}ci %{+X}sp \
    %{+Q}o %ID %ST %H %hr|%hs %sslv %{-M}sslc %[src] %[dst] %[fe_name] %[be_name] %[srv_name] %[so_id] %[hostname]   %%";

#[derive(Debug, Clone, Copy)]
enum Traffic {
    Whole,
    Reset,
    ServerGone,
}

/// HAProxy and lb with one server, each with its own receiver.
fn both(origin: &Origin, form: &str, haproxy: &str, log: &str) -> [(Syslog, SocketAddr, Box<dyn std::any::Any>); 2] {
    let (theirs, ours) = (Syslog::bind(), Syslog::bind());
    let syslog = format!("{} format {form} local3", theirs.addr());
    let haproxy = Haproxy::logging(origin.addr(), &syslog, haproxy);
    let target = format!("{{ to = \"{}\", format = \"{form}\", facility = \"local3\" }}", ours.addr());
    let config = Config::bare()
        .global(&format!("log = {{ target = {target}, {log} }}"))
        .backend("check = false\nobserve = \"none\"\nretries = 0")
        .origins([origin]);
    let lb = Lb::start(&config);
    let (at_haproxy, at_lb) = (haproxy.addr(), lb.addr("web"));
    [(theirs, at_haproxy, Box::new(haproxy)), (ours, at_lb, Box::new(lb))]
}

fn send(addr: SocketAddr, traffic: Traffic) {
    let mut client = connect(addr).unwrap();
    client.write_all(b"hello").unwrap();
    match traffic {
        Traffic::Whole => client.shutdown(Shutdown::Write).unwrap(),
        Traffic::Reset => {
            client.read_exact(&mut [0; 5]).unwrap();
            return SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        Traffic::ServerGone => {}
    }
    read_to_end(&client);
}

#[test]
fn a_format_gives_the_lines_of_haproxy() {
    // Without a server, lb tries more often than HAProxy: as long as a session may wait in the queue. Whether the first
    // failure comes before the client's bytes is open.
    let gone = FIELDS.replace("%rc", "").replace("%U ", "");
    for (traffic, fields) in [(Traffic::Whole, FIELDS), (Traffic::Reset, FIELDS), (Traffic::ServerGone, gone.as_str())]
    {
        let mut origin = Origin::start(Behaviour::Echo);
        let mut haproxy = format!(" log-format \"{fields}\"");
        // A connect that fails at once may come before the client's bytes, which makes the session a null one.
        let of_it = if matches!(traffic, Traffic::ServerGone) {
            haproxy += "\n no option dontlognull";
            " SC "
        } else {
            "web"
        };
        let sides = both(&origin, "raw", &haproxy, &format!("format = '{fields}'"));
        if matches!(traffic, Traffic::ServerGone) {
            origin.stop();
        }
        let lines = sides.each_ref().map(|(syslog, addr, _)| {
            send(*addr, traffic);
            syslog.line(of_it)
        });
        assert_eq!(lines[0], lines[1], "{traffic:?}");
    }
}

#[test]
fn the_usual_line_and_what_stands_before_it_are_those_of_haproxy() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (form, begin) in [
        ("raw", ""),
        ("priority", "<158>"),
        ("short", "<6>"),
        ("timed", "<6>TIME "),
        ("iso", "TIME "),
        ("local", "<158>DATE TAG[PID]: "),
        ("rfc3164", "<158>DATE HOST TAG[PID]: "),
        ("rfc5424", "<158>1 TIME HOST TAG PID - - "),
    ] {
        let origin = Origin::start(Behaviour::Echo);
        let sides = both(&origin, form, " log-tag tag\n option tcplog", "tag = \"tag\"");
        for (syslog, addr, _) in &sides {
            send(*addr, Traffic::Whole);
            let line = syslog.line(" web ");
            let (before, rest) = line.split_once("127.0.0.1:").unwrap();
            let mut words: Vec<&str> = rest.split(' ').collect();
            for (place, word) in [(0, "PORT"), (1, "[TIME]"), (4, "T/T/T")] {
                words[place] = word;
            }
            assert_eq!(words.join(" "), "PORT [TIME] web app/a T/T/T 5 -- 1/1/0/0/0 0/0", "{line}");
            assert_eq!(masked(before, host.trim()), begin, "{line}");
        }
    }
}

/// With words in the place of what differs from run to run. HAProxy has no name of its host unless it is told.
fn masked(header: &str, host: &str) -> String {
    let mut out = Vec::new();
    for word in header.split_inclusive(' ') {
        let bare = word.trim_end_matches([' ', ':']);
        let masked = match bare.split_once('[') {
            Some(("tag", _)) => word.replacen(bare, "TAG[PID]", 1),
            _ if bare == host || bare == "localhost" => word.replacen(bare, "HOST", 1),
            _ if bare == "tag" => word.replacen(bare, "TAG", 1),
            _ if bare.len() > 30 && bare.contains('T') => {
                let level = bare.find('>').map_or(0, |at| at + 1);
                word.replacen(&bare[level..], "TIME", 1)
            }
            _ => word.to_owned(),
        };
        out.push(masked);
    }
    let text = out.concat();
    // `<158>Dec  1 00:53:14 `
    if let Some((priority, rest)) = text.split_once('>')
        && rest.contains("TAG[PID]")
    {
        return format!("{priority}>DATE {}", &rest[16..]);
    }
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        [version, time, host, tag, pid, "-", "-", ""] if pid.parse::<u32>().is_ok() => {
            format!("{version} {time} {} {tag} PID - - ", if host == "-" { "HOST" } else { host })
        }
        _ => text,
    }
}

#[test]
fn the_tag_of_a_cfg_is_that_of_haproxy_wherever_its_log_line_stands() {
    let origin = Origin::start(Behaviour::Echo);
    for (global, defaults, front) in
        [("@", "log global", ""), ("", "@", ""), ("", "", "@"), ("log-tag t", "@", "log-tag u"), ("log-tag t", "@", "")]
    {
        let cfg = |syslog: &Syslog, port: u16| {
            let text = format!(
                "global\n {global}\ndefaults\n mode tcp\n option tcplog\n timeout connect 5s\n timeout client 9s\n timeout server \
                 9s\n {defaults}\nfrontend web\n {front}\n bind 127.0.0.1:{port}\n default_backend app\nbackend app\n server a {}\n",
                origin.addr()
            );
            text.replace('@', &format!("log {} local3", syslog.addr()))
        };
        let (theirs, ours) = (Syslog::bind(), Syslog::bind());
        let port = Port::reserve();
        let text = cfg(&theirs, port.addr().port());
        let haproxy = Haproxy::whole(port, &text, &[]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, cfg(&ours, 0)).unwrap();
        let lb = Lb::start_with_flags(&["-f", file.to_str().unwrap()]);
        let tags = [(theirs, haproxy.addr()), (ours, lb.addr("web"))].map(|(syslog, addr)| {
            send(addr, Traffic::Whole);
            let line = syslog.line(" app/a ");
            line.split('[').next().unwrap().rsplit(' ').next().unwrap().to_owned()
        });
        assert_eq!(tags[0], tags[1], "{global}, {defaults}, {front}");
    }
}

#[test]
fn lines_may_come_early_be_sorted_by_their_end_or_be_left_out_as_in_haproxy() {
    let origin = Origin::start(Behaviour::Echo);
    let early = both(
        &origin,
        "raw",
        " option logasap\n log-format \"early %Tw/%Tc/%Tt %B %U %ts\"",
        "asap = true, format = 'early %Tw/%Tc/%Tt %B %U %ts'",
    );
    // Of the connection by which the test knew that it accepts.
    early[0].0.line("early ");
    for (syslog, addr, _) in &early {
        let mut client = connect(*addr).unwrap();
        // Before the session ends.
        let line = syslog.line("early ");
        let times = line.split([' ', '/']).nth(3).unwrap();
        assert!(times.starts_with('+') && line.ends_with(" +0 0 --"), "{line}");
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(client);
        syslog.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(syslog.socket.recv(&mut [0; 100]).is_err(), "only once");
    }
    let sorted = both(
        &origin,
        "short",
        " option log-separate-errors\n option dontlog-normal\n log-format \"%ts web\"",
        "separate_errors = true, dontlog_normal = true, format = '%ts web'",
    );
    for (syslog, addr, _) in &sorted {
        send(*addr, Traffic::Whole);
        send(*addr, Traffic::Reset);
        assert_eq!(syslog.line("web"), "<3>CD web");
    }
}

#[test]
fn a_line_goes_to_each_target_by_its_level_and_to_those_of_its_frontend() {
    let (all, few, other) = (Syslog::bind(), Syslog::bind(), Syslog::bind());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("third");
    let origin = Origin::start(Behaviour::Echo);
    let targets = format!(
        "[{{ to = \"{}\", length = 80, format = \"local\", tag = \"t\" }}, {{ to = \"{}\", level = \"notice\", min_level = \"alert\", format = \"short\" }}, \"stderr\", \"fd@3\"]",
        all.addr(),
        few.addr(),
    );
    let second = format!(
        "[frontend.other]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\nlog = {{ target = \"{}\", format = \"other %ci\" }}\n",
        other.addr()
    );
    let config = Config::new()
        .global(&format!("log = {{ target = {targets}, separate_errors = true }}"))
        .origins([&origin])
        .table(&second);
    let redirect = format!("exec \"$@\" 3>>{}", file.display());
    let lb = Lb::options().within(&["bash", "-c", &redirect, "bash"]).config(&config).start();
    send(lb.addr("web"), Traffic::Whole);
    let line = all.line("127.0.0.1");
    assert!(line.starts_with("<134>") && line.contains(" t[") && line.len() == 80, "{line}");
    send(lb.addr("web"), Traffic::Reset);
    let line = few.line("web");
    assert!(line.starts_with("<3>") && line.contains(" CD "), "no line of level info before: {line}");
    send(lb.addr("other"), Traffic::Whole);
    assert!(other.line("other").ends_with(" other 127.0.0.1"));
    let third = || fs::read_to_string(&file).unwrap();
    eventually(HANG, "two lines at fd@3", || (third().lines().count() == 2).then_some(()));
    eventually(HANG, "the lines on stderr", || lb.stderr().contains(" web app/a ").then_some(()));
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    send(lb.addr("web"), Traffic::Whole);
    eventually(HANG, "a third line at fd@3", || (third().lines().count() == 3).then_some(()));
    observe(Duration::from_millis(100));
    assert!(!third().contains("other") && !lb.stdout().contains("app/a"), "{}", third());
}

/// What a client of `addr` does, with the server beside it; returns what is held until the lines are there.
type Endured = fn(SocketAddr, &mut Origin) -> Vec<TcpStream>;

#[test]
fn sessions_that_end_early_or_from_outside_are_logged_and_closed_as_by_haproxy() {
    let table: [(&str, &str, Behaviour, Endured); 5] = [
        ("refused", "", Behaviour::Echo, |addr, origin| {
            origin.stop();
            let client = spoken(addr, b"hello");
            ended(&client);
            vec![]
        }),
        ("silent from the start", "", Behaviour::Stall, |addr, _| {
            ended(&connect(addr).unwrap());
            vec![]
        }),
        ("too long in the queue", "maxconn 1", Behaviour::SpeakFirst(b"x".to_vec()), |addr, _| {
            let first = greeted(addr);
            ended(&spoken(addr, b"hello"));
            vec![first]
        }),
        ("away from the queue", "maxconn 1", Behaviour::SpeakFirst(b"x".to_vec()), |addr, _| {
            let first = greeted(addr);
            let leaves = connect(addr).unwrap();
            // One that leaves at once is none of the queue's to HAProxy.
            observe(Duration::from_millis(50));
            drop(leaves);
            vec![first]
        }),
        (
            "marked down",
            "check inter 100 fall 1 rise 1 on-marked-down shutdown-sessions",
            Behaviour::SpeakFirst(b"x".to_vec()),
            |addr, origin| {
                let client = greeted(addr);
                origin.stop();
                ended(&client);
                vec![]
            },
        ),
    ];
    for (what, server, behaviour, endured) in table {
        let both = [true, false].map(|is_haproxy| {
            let mut origin = Origin::start(behaviour.clone());
            let (syslog, port) = (Syslog::bind(), Port::reserve());
            let text = format!(
                "global\n log {} local3\ndefaults\n mode tcp\n retries 0\n log global\n option tcplog\n timeout connect 2s\n timeout \
                 client 900ms\n timeout server 900ms\n timeout queue 200ms\nfrontend web\n bind {}\n default_backend app\nbackend app\n \
                 server a {} {server}\n",
                syslog.addr(), port.addr(), origin.addr()
            );
            let _held = if is_haproxy {
                let haproxy = Haproxy::whole(port, &text, &[]);
                // Of the connection by which the test knew that it accepts.
                syslog.line(" web ");
                (endured(haproxy.addr(), &mut origin), Some(haproxy), None)
            } else {
                let dir = tempfile::tempdir().unwrap();
                let file = dir.path().join("haproxy.cfg");
                fs::write(&file, text).unwrap();
                drop(port);
                let lb = Lb::start_with_flags(&["-f", file.to_str().unwrap()]);
                (endured(lb.addr("web"), &mut origin), None, Some((lb, dir)))
            };
            ending_and_counts(&syslog.line(" web "))
        });
        assert_eq!(both[0], both[1], "{what}");
    }
}

fn spoken(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = connect(addr).unwrap();
    client.write_all(bytes).unwrap();
    client
}

fn greeted(addr: SocketAddr) -> TcpStream {
    let mut client = connect(addr).unwrap();
    client.read_exact(&mut [0]).unwrap();
    client
}

/// Waits for the FIN; a reset is none.
#[track_caller]
fn ended(mut client: &TcpStream) {
    client.read_to_end(&mut Vec::new()).expect("a FIN, not a reset");
}

/// A line without addresses and retries; of times, whether the phase was reached and whether it took long.
fn ending_and_counts(line: &str) -> String {
    let (_, rest) = line.split_once("] ").unwrap();
    let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
    let rough = |millis: &str| match millis.parse::<i64>().unwrap() {
        -1 => "-1",
        0..150 => "short",
        _ => "long",
    };
    // As above.
    words[5] = words[5].rsplit_once('/').unwrap().0.to_owned();
    words[2] = words[2].split('/').take(2).map(rough).collect::<Vec<_>>().join("/");
    words.join(" ")
}
