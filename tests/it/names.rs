//! Host names of servers: what name servers and the machine's files say is followed; what they fail to say changes nothing.

use std::net::IpAddr;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::dns::{NameServer, Reply};
use crate::support::lb::Lb;
use crate::support::origin::Origin;
use crate::support::wait::{eventually, eventually_eq};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn every_kind_of_failure_leaves_the_last_address_and_is_said_once() {
    let (dns, origin) = (NameServer::start(), Origin::named("app"));
    dns.put("app.example", &[HERE]);
    let lb = start(&dns, &origin, "app.example");
    assert_eq!(greeting(lb.addr("web")).unwrap(), "app");
    let (mut lost, mut found) = (0, 0);
    for reply in
        [Reply::NoSuchName, Reply::Failure, Reply::Empty, Reply::Cut, Reply::Addresses(vec![[0, 0, 0, 0].into()])]
    {
        dns.set("app.example", reply.clone());
        lost += 1;
        eventually_eq(HANG, lost, || said(&lb, "cannot look up app.example"));
        // Said once, however often it is asked for.
        let asked = dns.asked("app.example");
        eventually(HANG, "another look-up", || (dns.asked("app.example") > asked + 2).then_some(()));
        assert_eq!(said(&lb, "cannot look up app.example"), lost, "{reply:?}: {}", lb.stderr());
        assert!(lb.stderr().contains("its last known address stays in use: 127.0.0.1"), "{}", lb.stderr());
        assert_eq!(lb.status().server("app/a").text("addr"), origin.server());
        assert_eq!(greeting(lb.addr("web")).unwrap(), "app", "{reply:?}");
        dns.put("app.example", &[HERE]);
        found += 1;
        eventually_eq(HANG, found, || said(&lb, "app.example is found again: 127.0.0.1"));
    }
}

#[test]
fn every_form_of_an_answer_is_understood() {
    let (dns, origin) = (NameServer::start(), Origin::named("app"));
    let many =
        |first: IpAddr| (1..=200).map(|last| [127, 9, 9, last].into()).chain([first]).rev().collect::<Vec<IpAddr>>();
    for (name, reply) in [
        ("chain", Reply::Chain(5, vec![HERE])),
        ("truncated", Reply::Truncated(vec![HERE])),
        ("many", Reply::Truncated(many(HERE))),
        ("half", Reply::V4Only(vec![HERE])),
        ("mixed", Reply::Addresses(vec![HERE, "::1".parse().unwrap()])),
    ] {
        dns.set(&format!("{name}.example"), reply);
    }
    let names = ["chain", "truncated", "many", "half", "mixed"];
    let config = names
        .iter()
        .fold(Config::new(), |config, name| config.server(name, format!("{name}.example:{}", origin.addr().port())));
    let lb = dns.options().config(&config).start();
    for name in names {
        eventually_eq(HANG, "UP".to_owned(), || lb.status().server(&format!("app/{name}")).text("status"));
        assert_eq!(lb.status().server(&format!("app/{name}")).text("addr"), origin.server(), "{name}");
    }
    assert!(dns.asked_by_tcp() >= 2);
}

#[test]
fn a_name_that_moves_is_followed_and_a_server_comes_when_its_name_does() {
    let (dns, origin) = (NameServer::start(), Origin::start_everywhere(speak()));
    let lb = start(&dns, &origin, "app.example");
    assert_eq!(lb.status().server("app/a").at("/check/status").unwrap(), "NOADDR");
    assert_eq!(said(&lb, "its server is left out until it is found"), 1);
    dns.put("app.example", &[[127, 0, 0, 2].into()]);
    let port = origin.addr().port();
    eventually_eq(HANG, format!("127.0.0.2:{port}"), || lb.status().server("app/a").text("addr"));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "app");
    dns.put("app.example", &[[127, 0, 0, 3].into()]);
    eventually_eq(HANG, format!("127.0.0.3:{port}"), || lb.status().server("app/a").text("addr"));
    assert!(lb.stderr().contains("app.example has moved from 127.0.0.2 to 127.0.0.3"), "{}", lb.stderr());
}

#[test]
fn the_files_of_the_machine_count_as_for_other_programs_and_are_read_again() {
    let (dns, origin) = (NameServer::start(), Origin::start_everywhere(speak()));
    let other = NameServer::start();
    dns.put("app.local.example", &[[127, 0, 0, 2].into()]);
    other.put("app.other.example", &[[127, 0, 0, 3].into()]);
    dns.set_resolv_conf(&format!("search local.example\nnameserver {}\n", dns.ip()));
    let lb = start(&dns, &origin, "app");
    let at = |place: &str| format!("{place}:{}", origin.addr().port());
    assert_eq!(lb.status().server("app/a").text("addr"), at("127.0.0.2"));
    // Another network: another name server and another domain.
    dns.set_resolv_conf(&format!("search other.example\nnameserver {}\noptions ndots:2\n", other.ip()));
    eventually_eq(HANG, at("127.0.0.3"), || lb.status().server("app/a").text("addr"));
    // The hosts file comes before every name server.
    dns.set_hosts("127.0.0.4 app # here\n");
    eventually_eq(HANG, at("127.0.0.4"), || lb.status().server("app/a").text("addr"));
    // A file that has nothing to say.
    dns.set_resolv_conf("");
    dns.set_hosts("\u{feff}garbage\n\0\n");
    eventually(HANG, "a look-up in vain", || (said(&lb, "cannot look up app:") == 1).then_some(()));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "app");
}

fn speak() -> crate::support::origin::Behaviour {
    crate::support::origin::Behaviour::SpeakFirst(b"app".to_vec())
}

fn start(dns: &NameServer, origin: &Origin, name: &str) -> Lb {
    let config = Config::new().server("a", format!("{name}:{}", origin.addr().port()));
    dns.options().config(&config).start()
}

fn said(lb: &Lb, words: &str) -> usize {
    lb.stderr().lines().filter(|line| line.contains(words)).count()
}
