//! An address where another process listens is refused, and the message names that process.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::wait::eventually;

#[test]
fn a_second_balancer_on_a_port_is_refused_and_the_first_is_named() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let binds = |text: &str| format!(r#"["{}:{port}"]"#, text);
    // The first, the second, and whether the second has v4v6.
    for (first, second, v4v6) in [
        ("127.0.0.1", "127.0.0.1", false),
        ("0.0.0.0", "127.0.0.1", false),
        ("127.0.0.1", "0.0.0.0", false),
        ("[::1]", "[::]", false),
        ("127.0.0.1", "[::]", true),
        ("0.0.0.0", "[::]", true),
    ] {
        let first = Lb::start(&Config::new().bind(&binds(first)).origins([&one]));
        let config = Config::new().bind(&binds(second)).frontend(&format!("v4v6 = {v4v6}")).origins([&two]);
        let mut refused = Lb::options().config(&config).launch();
        assert_eq!(refused.wait(HANG).code(), Some(1), "{second}: {}", refused.stderr());
        let words = refused.stderr();
        let named = words.contains(&format!("pid {} (", first.pid())) && words.contains(" run -f ");
        assert!(named && words.contains(&format!("{second}:{port}")) && words.contains("in use"), "{words}");
        for _ in 0..8 {
            assert_eq!(greeting(first.addr("web")).unwrap(), "one");
        }
    }
    // IPv4 and IPv6 alone do not meet.
    let _v4 = Lb::start(&Config::new().bind(&binds("0.0.0.0")).origins([&one]));
    let _v6 = Lb::start(&Config::new().bind(&binds("[::]")).origins([&two]));
}

#[test]
fn of_many_that_start_at_once_one_gets_the_port() {
    let origin = Origin::named("one");
    let port = Port::reserve().number();
    let config = Config::new().bind(&format!(r#"["127.0.0.1:{port}"]"#)).origins([&origin]);
    let mut all: Vec<Lb> = (0..5).map(|_| Lb::options().config(&config).launch()).collect();
    let mut ended = 0;
    eventually(HANG, "the end of all but one", || {
        ended = all.iter_mut().filter_map(|lb| (!lb.is_running()).then_some(())).count();
        (ended >= 4).then_some(())
    });
    assert_eq!(ended, 4);
    assert_eq!(greeting(SocketAddr::from(([127, 0, 0, 1], port))).unwrap(), "one");
}

#[test]
fn reuse_port_shares_a_port_and_a_reload_refuses_one_that_is_taken() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let first = Lb::start(&Config::new().origins([&one]));
    let addr = first.addr("web");
    let bind = format!(r#"["{addr}"]"#);
    let second = Lb::start(&Config::new().bind(&bind).frontend("reuse_port = true").origins([&two]));
    eventually(HANG, "an answer of each", || {
        let answers = [(); 8].map(|()| greeting(addr).unwrap());
        (answers.iter().any(|who| who == "one") && answers.iter().any(|who| who == "two")).then_some(())
    });
    drop(second);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = Config::new().bind(&format!(r#"["{addr}", "{}"]"#, taken.local_addr().unwrap())).origins([&two]);
    first.write_config(&wanted.text());
    let output = first.command(&["reload"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let named = words.contains(&format!("pid {} (", std::process::id()));
    assert!(output.status.code() == Some(2) && named && words.contains("in use"), "{words}");
    assert_eq!(greeting(addr).unwrap(), "one");
}

#[test]
fn own_addresses_that_meet_stand_side_by_side_and_outlive_a_crash_and_a_reload() {
    let (any, local) = (Origin::named("any"), Origin::named("local"));
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let config = |any_first: bool| {
        let table = format!(
            "[frontend.local]\nbind = \"127.0.0.1:{port}\"\nbackend = \"local\"\n\
             [backend.local.servers]\na = \"{}\"",
            local.server()
        );
        let bind = if any_first { format!(r#"["0.0.0.0:{port}"]"#) } else { r#"["127.0.0.1:0"]"#.to_owned() };
        Config::new().bind(&bind).origins([&any]).table(&table)
    };
    let lb = Lb::start(&config(true));
    let answers = || ["127.0.0.1", "127.0.0.2"].map(|ip| greeting(format!("{ip}:{port}").parse().unwrap()).ok());
    assert_eq!(answers(), [Some("local".to_owned()), Some("any".to_owned())]);
    let engine = lb.engine();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(engine), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || {
        lb.command(&["status"]).status.success().then(|| lb.engine()).filter(|now| *now != engine)
    });
    lb.reload(&config(false));
    assert_eq!(answers(), [Some("local".to_owned()), None]);
    lb.reload(&config(true));
    lb.command_ok(&["upgrade"]);
    assert_eq!(answers(), [Some("local".to_owned()), Some("any".to_owned())]);
}

#[test]
fn a_balancer_starts_again_at_once_on_its_port_with_sessions_of_the_last_one_left() {
    let origin = Origin::named("one");
    let port = Port::reserve().number();
    let config = Config::new().bind(&format!(r#"["127.0.0.1:{port}"]"#)).origins([&origin]);
    let mut lb = Lb::start(&config);
    let held: OwnedFd = std::net::TcpStream::connect(lb.addr("web")).unwrap().into();
    // Its engine outlives it for a moment, with the port, and then for long with the session.
    lb.signal(nix::sys::signal::Signal::SIGKILL);
    lb.wait(HANG);
    let again = Lb::start(&config);
    assert_eq!(greeting(again.addr("web")).unwrap(), "one");
    drop(held);
}
