//! A changed file is applied to the running process, as a whole or not at all, without an effect on clients.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::support::ab::Ab;
use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::port::Port;
use crate::support::wait::{eventually, eventually_eq};
use crate::support::waiting::{Waiting, served};

#[test]
fn servers_come_and_go_under_load_and_nothing_fails() {
    let _alone = alone();
    let origins: Vec<Origin> = (0..4).map(|_| Origin::start(Behaviour::Http(500))).collect();
    let config = |which: &[usize]| {
        which.iter().fold(Config::new(), |config, &index| config.server(&format!("s{index}"), origins[index].server()))
    };
    let lb = Lb::start(&config(&[0, 1]));
    let echo = Origin::start(Behaviour::Echo);
    let with_echo = |config: Config| {
        config.table(&format!(
            "[frontend.echo]\nbind = [\"127.0.0.1:0\"]\nbackend = \"echo\"\n[backend.echo.servers]\ne = \"{}\"",
            echo.server()
        ))
    };
    lb.reload(&with_echo(config(&[0, 1])));
    let sessions = PingPong::start(lb.addr("echo"), 10);
    let mut ab = Ab::start(lb.addr("web"), 40_000, 32, &[]);
    let sets: [&[usize]; 5] = [&[0, 1, 2], &[1, 2, 3], &[3], &[0, 3], &[0, 1, 2, 3]];
    let mut reloads = 0;
    for set in sets.iter().cycle() {
        if !ab.is_running() {
            break;
        }
        lb.reload(&with_echo(config(set)));
        reloads += 1;
    }
    ab.finish().assert_flawless();
    let sessions = sessions.finish();
    sessions.assert_unharmed();
    let slowest = sessions.slowest;
    figure("reloads under load", format!("{reloads}, longest pause of an open session {slowest:?}"));
    assert!(reloads >= sets.len(), "ab was over after {reloads} reloads");
}

#[test]
fn a_surviving_server_keeps_its_counts_its_sessions_and_its_state() {
    let [a, b, c] = [(); 3].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins([&a, &b]));
    let sessions = PingPong::start(lb.addr("web"), 10);
    lb.command_ok(&["server", "drain", "app/b"]);
    let config = Config::new()
        .backend(r#"balance = "leastconn""#)
        .server_with("a", a.server(), "weight = 7")
        .server("b", b.server())
        .server("c", c.server());
    lb.reload(&config);
    let status = lb.status();
    let server = |name: &str| status.server(&format!("app/{name}"));
    assert_eq!((server("a").number("sessions"), server("a").number("sessions_total")), (5, 5));
    assert_eq!((server("a").number("weight"), server("b").text("status")), (7, "DRAIN".to_owned()));
    assert_eq!(
        (server("c").number("sessions_total"), status.backend("app").text("balance")),
        (0, "leastconn".to_owned())
    );
    sessions.run_for(200);
    sessions.finish().assert_unharmed();
}

#[test]
fn a_removed_server_finishes_its_sessions_and_gets_no_new_ones() {
    let (a, b) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins([&a]));
    let sessions = PingPong::start(lb.addr("web"), 4);
    lb.reload(&Config::new().server("b", b.server()));
    assert_eq!(lb.status().servers("app"), ["b", "a"], "the one that leaves is the last");
    let others = PingPong::start(lb.addr("web"), 4);
    assert_eq!(lb.status().server("app/b").number("sessions"), 4);
    sessions.run_for(200);
    sessions.finish().assert_unharmed();
    others.finish().assert_unharmed();
}

#[test]
fn sessions_that_wait_follow_their_frontend_to_another_backend() {
    let (dead, alive) = (Origin::stopped(Behaviour::Echo), Origin::start(Behaviour::Echo));
    let port = Port::reserve();
    let bind = format!("[\"{}\"]", port.addr());
    let config =
        |server: &Origin| Config::new().backend("timeout = { queue = \"20s\" }").bind(&bind).origins([server]).text();
    let other = format!("[backend.other.servers]\no = \"{}\"\n", alive.server());
    let elsewhere = config(&dead).replace("backend = \"app\"", "backend = \"other\"");
    let renamed = config(&alive).replace("backend.app", "backend.fresh").replace("\"app\"", "\"fresh\"");
    for (before, after, command) in [
        // Renamed; changed to one that is there already; renamed with its frontend; and all of it by an upgrade.
        (config(&dead), renamed.clone(), &["reload"][..]),
        (config(&dead) + &other, elsewhere + &other, &["reload"][..]),
        (config(&dead), renamed.replace("frontend.web", "frontend.www"), &["reload"][..]),
        (config(&dead), renamed, &["upgrade", "--probation", "0s"]),
        (config(&dead), config(&alive).replace("frontend.web", "frontend.www"), &["upgrade", "--probation", "0s"]),
    ] {
        let lb = Lb::options().text(&before).start();
        eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
        let mut clients = Waiting::queue(port.addr(), 3);
        eventually_eq(HANG, 3, || lb.status().backend("app").number("queue"));
        lb.write_config(&after);
        lb.command_ok(command);
        eventually_eq(HANG, 3, || served(&mut clients));
        drop(clients);
        eventually_eq(HANG, 3, || lb.stdout().matches(" -- ").count());
    }
}

#[test]
fn any_error_refuses_the_reload_as_a_whole() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let lb = Lb::start(&Config::new().origins([&a]));
    let addr = lb.addr("web");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("[\"{addr}\", \"{}\"]", taken.local_addr().unwrap());
    let changed = || Config::new().server("b", b.server());
    for config in [
        "rubbish [".to_owned(),
        changed().backend("blance = \"first\"").text(),
        changed().table("[frontend.x]\nbind = [\"127.0.0.1:0\"]\nbackend = \"nowhere\"").text(),
        changed().bind(&taken).text(),
    ] {
        lb.write_config(&config);
        let refused = lb.command(&["reload"]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{config}: {message}");
        assert!(message.starts_with("lb: "), "{message}");
        assert_eq!(lb.status().servers("app"), ["a"]);
        assert_eq!(greeting(addr).unwrap(), "a");
    }
    lb.reload(&changed().bind(&format!("[\"{addr}\"]")));
    assert_eq!(greeting(addr).unwrap(), "b");
}

#[test]
fn binds_are_added_and_removed_and_the_others_lose_nothing() {
    let _alone = alone();
    let origin = Origin::start(Behaviour::Http(100));
    let (kept, second) = (Port::reserve(), Port::reserve());
    let config = |binds: &[&Port]| {
        let list: Vec<String> = binds.iter().map(|port| format!("\"{}\"", port.addr())).collect();
        Config::new().bind(&format!("[{}]", list.join(", "))).origins([&origin])
    };
    let lb = Lb::start(&config(&[&kept]));
    let mut ab = Ab::start(kept.addr(), 30_000, 32, &[]);
    while ab.is_running() {
        lb.reload(&config(&[&kept, &second]));
        assert_eq!(lb.status().bound("web"), [kept.addr(), second.addr()]);
        Ab::run(second.addr(), 20, 4, &[]).assert_flawless();
        lb.reload(&config(&[&kept]));
        eventually(HANG, "the removed bind refuses", || TcpStream::connect(second.addr()).err());
    }
    ab.finish().assert_flawless();
}

#[test]
fn hup_reloads_too_and_a_bad_file_changes_nothing() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let lb = Lb::start(&Config::new().origins([&a]));
    lb.write_config(&Config::new().server("b", b.server()).text());
    lb.signal(Signal::SIGHUP);
    eventually_eq(HANG, "b".to_owned(), || greeting(lb.addr("web")).unwrap());
    lb.write_config("rubbish [");
    lb.signal(Signal::SIGHUP);
    eventually(HANG, "the error is printed", || lb.stderr().contains("lb.toml:1").then_some(()));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "b");
}
