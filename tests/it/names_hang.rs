//! Names that hang delay nothing and cost next to nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::dns::{NameServer, Reply};
use crate::support::figure::figure;
use crate::support::limits::alone;
use crate::support::machine::Stopwatch;
use crate::support::origin::Origin;
use crate::support::proc;
use crate::support::wait::{eventually, eventually_eq, observe};

#[test]
fn six_hundred_names_that_hang_cost_neither_threads_nor_time() {
    let _alone = alone();
    let (dns, origin) = (NameServer::start(), Origin::named("app"));
    dns.fail(Reply::Silence);
    let plain = Config::bare().server("alive", origin.server());
    let names: Vec<_> = (0..600).map(|number| format!("n{number}.example")).collect();
    let lb = dns.options().config(&plain).start();
    let (threads, descriptors) = (proc::threads(lb.pid()), proc::descriptors(lb.pid()).len());
    drop(lb);
    let config = names
        .iter()
        .enumerate()
        .fold(plain, |config, (number, name)| config.server(&format!("n{number}"), format!("{name}:80")));
    let watch = Stopwatch::start();
    let lb = dns.options().config(&config).start();
    assert_eq!(greeting(lb.addr("web")).unwrap(), "app");
    let took = watch.elapsed();
    let mut most = (0, 0);
    for _ in 0..40 {
        most.0 = most.0.max(proc::threads(lb.pid()).saturating_sub(threads));
        most.1 = most.1.max(proc::descriptors(lb.pid()).len().saturating_sub(descriptors));
        observe(Duration::from_millis(50));
    }
    figure("600 names that hang: time to the first answer", format!("{took:?}"));
    figure("600 names that hang: further threads, descriptors", format!("{most:?}"));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(most.0 < 8 && most.1 < 64, "{most:?}");
    // One that is found although the others hang, and a reload meanwhile.
    let watch = Stopwatch::start();
    lb.command_ok(&["reload"]);
    assert!(watch.elapsed() < Duration::from_secs(4), "{:?}", watch.elapsed());
    dns.heal();
    for name in &names {
        dns.put(name, &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    eventually(HANG, "every server", || {
        let backend = lb.status().backend("app");
        let servers = backend.at("/servers").unwrap().as_array().unwrap();
        servers.iter().all(|server| server["check"]["status"] != "NOADDR").then_some(())
    });
}

#[test]
fn a_name_among_many_that_hang_is_still_followed() {
    let (dns, origin) = (NameServer::start(), Origin::start_everywhere(crate::support::origin::Behaviour::Echo));
    dns.put("app.example", &[[127, 0, 0, 2].into()]);
    let port = origin.addr().port();
    let config = (0..100).fold(Config::bare().server("a", format!("app.example:{port}")), |config, number| {
        let name = format!("n{number}.example");
        dns.set(&name, Reply::Silence);
        config.server(&format!("n{number}"), format!("{name}:80"))
    });
    let lb = dns.options().config(&config).start();
    eventually_eq(HANG, format!("127.0.0.2:{port}"), || lb.status().server("app/a").text("addr"));
    dns.put("app.example", &[[127, 0, 0, 3].into()]);
    eventually_eq(HANG, format!("127.0.0.3:{port}"), || lb.status().server("app/a").text("addr"));
}
