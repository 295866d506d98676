//! Servers that share a host name, and name servers of the configuration: as HAProxy's templates and resolvers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::support::client::{HANG, greeting, patient_greeting};
use crate::support::config::Config;
use crate::support::dns::NameServer;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::eventually;

#[test]
fn servers_of_one_name_are_at_different_addresses_of_it() {
    let dns = NameServer::start();
    let ips: Vec<IpAddr> = (2..=4).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
    let first = Origin::start_on((ips[0], 0).into(), Behaviour::SpeakFirst(b"2".to_vec()));
    let port = first.addr().port();
    let at = |ip: IpAddr, name: &str| Origin::start_at_address((ip, port).into(), Behaviour::SpeakFirst(name.into()));
    let _others = [at(ips[1], "3"), at(ips[2], "4")];
    dns.put("app.example", &ips[..2]);
    let resolvers = format!("[resolvers.own]\nnameservers = [\"{}\"]\ntimeout_resolve = \"1s\"", dns.ip());
    let mut config = Config::new().backend("resolvers = \"own\"\nresolve_prefer = \"ipv4\"").table(&resolvers);
    for server in ["t1", "t2", "t3"] {
        config = config.server(server, format!("app.example:{port}"));
    }
    // The machine's own name servers know nothing of it.
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(
        " server-template t 3 app.example:{port} check inter 100 resolvers own resolve-prefer ipv4 init-addr none\n\
         resolvers own\n nameserver one {}:53\n timeout resolve 1s\n hold valid 1s",
        dns.ip()
    ));
    let servers = ["t1", "t2", "t3"];
    let words = |statuses: [String; 3]| {
        let mut words: Vec<_> = statuses.iter().map(|status| status.split(' ').next().unwrap().to_owned()).collect();
        words.sort();
        words
    };
    let ours = || words(servers.map(|server| lb.status().server(&format!("app/{server}")).text("status")));
    let theirs = || words(servers.map(|server| haproxy.status(server)));
    let both = |expected: [&str; 3]| {
        eventually(HANG, &format!("{expected:?}"), || (ours() == expected && theirs() == expected).then_some(()));
    };
    let reached = |count: usize| {
        for addr in [lb.addr("web"), haproxy.addr()] {
            // HAProxy may still be on its way to a first check.
            eventually(HANG, &format!("{count} servers at {addr}"), || {
                let names: BTreeSet<_> = (0..12).map(|_| patient_greeting(addr).unwrap_or_default()).collect();
                (names.len() == count && !names.contains("")).then_some(())
            });
        }
    };
    both(["MAINT", "UP", "UP"]);
    reached(2);
    let held = |server: &str| lb.status().server(&format!("app/{server}")).text("addr");
    let before = [held("t1"), held("t2")];
    dns.put("app.example", &ips);
    both(["UP", "UP", "UP"]);
    reached(3);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!([held("t1"), held("t2")], before, "those that had an address keep it");
    // One of them is gone: its server has none, and the others stay.
    dns.put("app.example", &[ips[0], ips[2]]);
    eventually(HANG, "one without", || (ours() == ["MAINT", "UP", "UP"]).then_some(()));
    let mut names: Vec<_> = (0..12).map(|_| greeting(lb.addr("web")).unwrap()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["2", "4"]);
}
