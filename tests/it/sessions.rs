//! Sessions can be listed and ended while others continue beside them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::client::{HANG, connect, established, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::load::Load;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::syslog::Syslog;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn each_session_is_listed_with_what_it_does() {
    let origin = Origin::start(Behaviour::Echo);
    let (busy, _fill) = deaf();
    let config = Config::bare()
        .backend("timeout = { client = \"50s\", server = \"50s\", queue = \"40s\", connect = \"30s\" }\ncheck = false")
        .server_with("a", origin.server(), "maxconn = 1")
        .table(
            "[frontend.slow]\nbind = \"127.0.0.1:0\"\nbackend = \"deaf\"\n[backend.deaf]\ncheck = false\n\
             timeout = { connect = \"30s\" }",
        )
        .table(&format!("[backend.deaf.servers]\nd = \"{}\"", busy.local_addr().unwrap()))
        .table("[frontend.behind]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\naccept_proxy = true");
    let lb = Lb::start(&config);
    let relayed = established(lb.addr("web"));
    let queued = connect(lb.addr("web")).unwrap();
    let connecting = connect(lb.addr("slow")).unwrap();
    let heading = connect(lb.addr("behind")).unwrap();
    let all = [&relayed, &queued, &connecting, &heading];
    eventually_eq(HANG, all.len(), || list(&lb, &[]).len());
    let states = || {
        let list = list(&lb, &[]);
        all.map(|client| text(find(&list, client), "state"))
    };
    eventually_eq(HANG, ["relaying", "queue", "connecting", "header"].map(str::to_owned), states);
    let list = list(&lb, &[]);
    let session = find(&list, &relayed);
    for (key, expected) in [("frontend", "web"), ("backend", "app"), ("server", "a")] {
        assert_eq!(session[key], expected, "{session}");
    }
    assert_eq!((session["bytes_in"].as_u64(), session["bytes_out"].as_u64()), (Some(1), Some(1)), "{session}");
    let number = |session: &Value, key: &str| session[key].as_u64().unwrap_or_else(|| panic!("{key}: {session}"));
    assert!(number(session, "idle_ms") <= number(session, "age_ms"), "{session}");
    assert!((40_000..=50_000).contains(&number(session, "expires_ms")), "{session}");
    let session = find(&list, &queued);
    assert!(session["server"].is_null() && session["idle_ms"].is_null(), "{session}");
    assert!((30_000..=40_000).contains(&number(session, "expires_ms")), "{session}");
    let session = find(&list, &connecting);
    assert_eq!((text(session, "backend"), text(session, "server")), ("deaf".into(), "d".into()), "{session}");
    let page = lb.command_ok(&["sessions", "app/a"]);
    assert!(page.lines().count() == 2 && page.contains("relaying") && page.contains("app/a"), "{page}");
}

#[test]
fn a_list_is_of_those_asked_for_and_sorted() {
    let origins = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins(&origins));
    let mut clients: Vec<_> = (0..4).map(|_| established(lb.addr("web"))).collect();
    eventually_eq(HANG, 4, || list(&lb, &[]).len());
    let mut more = [7; 500];
    clients[2].write_all(&more).unwrap();
    clients[2].read_exact(&mut more).unwrap();
    let first = |args: &[&str]| text(&list(&lb, args)[0], "client");
    let name = |client: &TcpStream| client.local_addr().unwrap().to_string();
    assert_eq!(first(&["--sort", "bytes", "--limit", "1"]), name(&clients[2]));
    assert_eq!(first(&["--sort", "age"]), name(&clients[0]));
    assert_eq!(list(&lb, &["app", "--limit", "3"]).len(), 3);
    let answer: Value = serde_json::from_str(&lb.command_ok(&["sessions", "--limit", "3", "--json"])).unwrap();
    assert_eq!(answer["total"], 4);
    for (scopes, expected) in [(&["app/a"][..], 2), (&["a*/[ab]"], 0), (&["*/?"], 4), (&["app/b", "app/*"], 4)] {
        let output = lb.command(&[&["sessions", "--json"], scopes].concat());
        let found = serde_json::from_slice::<Value>(&output.stdout).map_or(0, |list| count(&list));
        assert_eq!(found, expected, "{scopes:?}");
    }
    for (scope, said) in [("api", "no backend api; there are: app"), ("app/c", "no server c"), ("x*/a", "no server is")]
    {
        let output = lb.command(&["sessions", scope]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && words.contains(said), "{scope}: {words}");
    }
}

#[test]
fn only_killed_sessions_end() {
    let (origin, http) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Http(100)));
    let http = format!(
        "[frontend.http]\nbind = \"127.0.0.1:0\"\nbackend = \"http\"\n[backend.http.servers]\nh = \"{}\"",
        http.addr()
    );
    let lb = Lb::start(&Config::new().origins([&origin]).table(&http));
    let load = Load::start(lb.addr("http"));
    let others = PingPong::start(lb.addr("web"), 20);
    let mut clients: Vec<_> = (0..6).map(|_| established(lb.addr("web"))).collect();
    let listed = list(&lb, &["app"]);
    let killed = clients.split_off(3);
    let ids: Vec<_> = killed.iter().map(|client| text(find(&listed, client), "id")).collect();
    let kill = |ids: &[String]| {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        lb.command(&[&["session", "kill", "--json"], &ids[..]].concat())
    };
    let output = kill(&ids);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["changed"], &answer["killed"]), (&true.into(), &3.into()), "{answer}");
    for client in &killed {
        assert_eq!(read_to_end(client), (Vec::new(), Ending::Reset));
        let line = line_of(&lb, client.local_addr().unwrap());
        assert!(line.contains(" web app/a ") && line.contains(" K- "), "{line}");
    }
    // They are not there any more: neither to be killed nor to be listed.
    let output = kill(&ids);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && words.contains(&ids[0]), "{words}");
    assert_eq!(list(&lb, &["app"]).len(), 23);
    others.run_for(500);
    for client in &mut clients {
        client.write_all(b"still").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    }
    others.finish().assert_unharmed();
    load.assert_flawless("sessions are listed and killed");
}

#[test]
fn the_letters_of_a_killed_session_are_haproxys() {
    let origin = Origin::start(Behaviour::Echo);
    let (theirs, ours) = (Syslog::bind(), Syslog::bind());
    let haproxy = Haproxy::logging(origin.addr(), &format!("{} format raw local0", theirs.addr()), " option tcplog");
    let log = format!("log = {{ target = {{ to = \"{}\", format = \"raw\" }} }}", ours.addr());
    let lb = Lb::start(&Config::bare().global(&log).origins([&origin]));
    let [at_haproxy, at_lb] = [haproxy.addr(), lb.addr("web")].map(established);
    let name = at_haproxy.local_addr().unwrap().to_string();
    let list = haproxy.command("show sess");
    let line = list.lines().find(|line| line.contains(&format!("src={name} "))).unwrap();
    haproxy.command(&format!("shutdown session {}", line.split(':').next().unwrap()));
    lb.command_ok(&["session", "kill", &text(&self::list(&lb, &[])[0], "id")]);
    let letters = |syslog: &Syslog, client: &TcpStream| {
        let line = syslog.line(&format!("{} ", client.local_addr().unwrap()));
        line.split("web app/a ").nth(1).unwrap().split(' ').nth(2).unwrap().to_owned()
    };
    assert_eq!([letters(&ours, &at_lb), letters(&theirs, &at_haproxy)], ["K-", "K-"]);
}

#[test]
fn a_session_that_waits_can_be_killed() {
    let origin = Origin::start(Behaviour::Echo);
    let config =
        Config::new().backend(r#"timeout = { queue = "40s" }"#).server_with("a", origin.server(), "maxconn = 1");
    let lb = Lb::start(&config);
    let _first = established(lb.addr("web"));
    let queued = connect(lb.addr("web")).unwrap();
    eventually_eq(HANG, 1, || lb.status().backend("app").number("queue"));
    let id = text(find(&list(&lb, &[]), &queued), "id");
    lb.command_ok(&["session", "kill", &id]);
    assert!(read_to_end(&queued).0.is_empty());
    let line = line_of(&lb, queued.local_addr().unwrap());
    assert!(line.contains(" web app/<NOSRV> ") && line.contains(" K- "), "{line}");
    assert_eq!(lb.status().backend("app").number("queue"), 0);
}

#[test]
fn a_server_loses_its_sessions_one_after_the_other() {
    let origins = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins(&origins));
    let others = PingPong::start(lb.addr("web"), 10);
    let clients: Vec<_> = (0..20).map(|_| established(lb.addr("web"))).collect();
    let listed = list(&lb, &["app/a"]);
    // Those of the other server are all of the rest.
    lb.command_ok(&["server", "drain", "app/a"]);
    let watch = Stopwatch::start();
    let answer: Value =
        serde_json::from_str(&lb.command_ok(&["server", "kill", "app/a", "--over", "2s", "--json"])).unwrap();
    assert_eq!((&answer["changed"], &answer["killed"]), (&true.into(), &listed.len().into()), "{answer}");
    assert!(watch.elapsed() < Duration::from_secs(2), "it does not wait for their ends");
    let left = || lb.status().server("app/a").number("sessions");
    eventually(HANG, "the half of them", || (left() <= listed.len() as u64 / 2).then_some(()));
    let half = watch.elapsed();
    assert!(half >= Duration::from_millis(500), "all at once: {half:?}");
    eventually_eq(HANG, 0, left);
    figure("sessions of a server killed over 2s", format!("{}, half of them after {half:?}", listed.len()));
    let answer: Value = serde_json::from_str(&lb.command_ok(&["server", "kill", "app/a", "--json"])).unwrap();
    assert_eq!((&answer["changed"], &answer["killed"]), (&false.into(), &0.into()), "{answer}");
    let (ended, open): (Vec<_>, Vec<_>) = clients
        .iter()
        .partition(|client| listed.iter().any(|session| session["client"] == client.local_addr().unwrap().to_string()));
    assert!(ended.len() >= 5 && open.len() >= 5, "{} and {}", ended.len(), open.len());
    for client in ended {
        assert_eq!(read_to_end(client).1, Ending::Reset);
    }
    for mut client in open {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    let outcomes = others.finish().outcomes;
    let reset = outcomes.iter().filter(|outcome| outcome.ending == Ending::Reset).count();
    let whole = outcomes.iter().filter(|outcome| outcome.is_whole(outcome.sent)).count();
    assert_eq!((reset + whole, outcomes.iter().filter(|outcome| outcome.corrupt_at.is_some()).count()), (10, 0));
}

#[test]
fn an_id_from_before_an_upgrade_hits_no_session() {
    let (_origin, lb, addr) = Lb::echoing("");
    let mut clients: Vec<_> = (0..20).map(|_| established(addr)).collect();
    let ids = || list(&lb, &[]).iter().map(|session| text(session, "id")).collect::<Vec<_>>();
    let before = ids();
    lb.command_ok(&["upgrade", "--probation", "50ms"]);
    eventually_eq(HANG, 20, || ids().len());
    assert!(ids().iter().all(|id| !before.contains(id)));
    let args: Vec<_> = ["session", "kill"].into_iter().chain(before.iter().map(String::as_str)).collect();
    assert_eq!(lb.command(&args).status.code(), Some(2));
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn four_thousand_sessions_are_listed_at_once_and_traffic_does_not_notice() {
    let _alone = alone();
    // Two descriptors per session in this process, which is both client and server.
    let count = 4000.min((raise_descriptors() as usize - 500) / 2);
    let origin = Origin::start(Behaviour::Echo);
    let lb =
        Lb::start(&Config::bare().backend("timeout = { client = \"300s\", server = \"300s\" }").origins([&origin]));
    let addr = lb.addr("web");
    let _idle: Vec<_> = (0..count).map(|_| established(addr)).collect();
    let beside = PingPong::start(addr, 4);
    beside.run_for(2_000);
    let quiet = beside.slowest_so_far();
    let took: Vec<_> = (0..10)
        .map(|_| {
            let watch = Stopwatch::start();
            let text = lb.command_ok(&["sessions", "--json"]);
            let took = watch.elapsed();
            assert_eq!(count_of(&text), count + 4);
            took
        })
        .collect();
    let fastest = took.iter().min().unwrap();
    let pings = beside.finish();
    figure(
        &format!("time to list {count} sessions as JSON"),
        format!("{fastest:?} to {:?}", took.iter().max().unwrap()),
    );
    figure("slowest message beside ten lists, and before", format!("{:?} and {quiet:?}", pings.slowest));
    pings.assert_unharmed();
    assert!(*fastest < Duration::from_secs(1), "{took:?}");
}

/// The sessions that `lb sessions ARGS...` lists.
#[track_caller]
fn list(lb: &Lb, args: &[&str]) -> Vec<Value> {
    let text = lb.command_ok(&[&["sessions", "--json"], args].concat());
    let list: Value = serde_json::from_str(&text).unwrap();
    list["sessions"].as_array().expect("a list of sessions").clone()
}

fn count(list: &Value) -> usize {
    list["sessions"].as_array().map_or(0, Vec::len)
}

fn count_of(text: &str) -> usize {
    count(&serde_json::from_str(text).unwrap())
}

/// The session of this client.
#[track_caller]
fn find<'l>(list: &'l [Value], client: &TcpStream) -> &'l Value {
    let name = client.local_addr().unwrap().to_string();
    let found = list.iter().find(|session| session["client"] == name);
    found.unwrap_or_else(|| panic!("no session of {name} among {list:?}"))
}

#[track_caller]
fn text(session: &Value, key: &str) -> String {
    session[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {session}")).to_owned()
}

/// The log line of the client with this address.
#[track_caller]
fn line_of(lb: &Lb, source: SocketAddr) -> String {
    eventually(HANG, "the session's line", || {
        lb.stdout().lines().find(|line| line.contains(&format!("{source} "))).map(str::to_owned)
    })
}

/// A listener whose queue is full, so that the kernel answers no further SYN; and what fills it.
fn deaf() -> (TcpListener, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let fill = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // In progress, for ever.
        drop(socket.connect(&addr));
        socket
    });
    let fill = fill.collect();
    (listener.into(), fill)
}
