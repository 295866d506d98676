//! What a removed server counted is never lost, and as long as it has sessions it is shown.

use crate::support::client::{HANG, established};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::totals::Totals;
use crate::support::wait::eventually_eq;

#[test]
fn a_server_that_leaves_is_shown_with_its_sessions_and_no_total_falls() {
    let [a, b, c] = [(); 3].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins([&a, &b]));
    let addr = lb.addr("web");
    let mut totals = Totals::default();
    let open = PingPong::start(addr, 4);
    (0..6).for_each(|_| drop(established(addr)));
    totals.check(&lb);

    lb.reload(&Config::new().server("b", b.server()));
    let status = totals.check(&lb);
    let leaving = status.server("app/a");
    assert_eq!((leaving.text("status"), leaving.number("sessions")), ("LEAVING".to_owned(), 2));
    assert_eq!(leaving.text("addr"), a.server());
    assert_eq!(status.backend("app").number("sessions"), 4);
    let text = lb.command_ok(&["status"]);
    assert!(text.contains("LEAVING") && text.contains(" 1/1 "), "{text}");

    // It stays visible in the next engine, which knows it from the sessions alone.
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually_eq(HANG, 2, || totals.check(&lb).server("app/a").number("sessions"));
    assert_eq!(totals.check(&lb).server("app/a").text("status"), "LEAVING");
    open.run_for(200);
    open.finish().assert_unharmed();
    eventually_eq(HANG, vec!["b".to_owned()], || totals.check(&lb).servers("app"));
    let gone = totals.check(&lb);
    assert!(gone.backend("app").number("bytes_in") >= gone.frontend("web").number("bytes_in"));
    assert_eq!(gone.backend("app").number("sessions_total"), 10);

    // The same name for another server, and a last upgrade.
    lb.reload(&Config::new().server("a", c.server()));
    (0..2).for_each(|_| drop(established(addr)));
    assert_eq!(totals.check(&lb).server("app/a").number("sessions_total"), 7);
    lb.reload(&Config::new().server("other", c.server()));
    totals.check(&lb);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually_eq(HANG, 12, || totals.check(&lb).backend("app").number("sessions_total"));
}

#[test]
fn a_backend_and_a_frontend_that_leave_keep_what_they_counted() {
    let (origin, old) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo));
    let config = Config::new().origins([&origin]);
    let with_old = config.clone().table(&format!(
        "[frontend.old]\nbind = [\"127.0.0.1:0\"]\nbackend = \"old\"\n[backend.old.servers]\no = \"{}\"",
        old.server()
    ));
    let lb = Lb::start(&with_old);
    let open = PingPong::start(lb.addr("old"), 3);
    drop(established(lb.addr("web")));
    let sessions = || lb.status().number("sessions_total");
    assert_eq!(sessions(), 4);
    lb.reload(&config);
    assert_eq!(sessions(), 4);
    assert_eq!(lb.status().server("old/o").text("status"), "LEAVING");
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually_eq(HANG, (4, 3), || (sessions(), lb.status().server("old/o").number("sessions")));
    lb.reload(&with_old);
    assert_eq!(lb.status().server("old/o").text("status"), "UP");
    assert_eq!(lb.status().backend("old").number("sessions_total"), 3);
    lb.reload(&config);
    open.run_for(100);
    open.finish().assert_unharmed();
    eventually_eq(HANG, (4, false), || (sessions(), lb.command_ok(&["status"]).contains("old/o")));
}
