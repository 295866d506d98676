//! No total that was shown once ever falls: through upgrades, through one that is rolled back, and when names go and
//! return.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, established};
use crate::support::config::Config;
use crate::support::failing_upgrade::FailingUpgrade;
use crate::support::fault::arm;
use crate::support::knocker::Knocker;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::totals::Totals;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn no_total_falls_in_an_upgrade_under_traffic_and_nothing_is_counted_twice() {
    let [a, b] = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let dir = tempfile::tempdir().unwrap();
    let fault = dir.path().join("fault");
    let lb = Lb::options().config(&Config::new().origins([&a, &b])).env("LB_FAULT", &fault).start();
    let addr = lb.addr("web");
    let (clients, open) = (Knocker::start(addr, 4), PingPong::start(addr, 8));
    let mut totals = Totals::default();
    totals.watch(&lb, || {
        for _ in 0..3 {
            let old = lb.engine();
            arm(&fault, "engine.go", "stop");
            std::thread::scope(|scope| {
                let upgrade = scope.spawn(|| lb.command_ok(&["upgrade", "--probation", "500ms"]));
                // The new engine has the counts of before; the old one continues to count.
                eventually(HANG, "the new engine", || (!fault.exists()).then_some(()));
                let served = clients.served();
                eventually(HANG, "sessions", || (clients.served() > served + 100).then_some(()));
                for engine in proc::descendants(lb.pid()).into_iter().filter(|engine| *engine != old) {
                    kill(Pid::from_raw(engine), Signal::SIGCONT).unwrap();
                }
                upgrade.join().unwrap();
            });
        }
    });
    let knocks = clients.finish();
    open.finish().assert_unharmed();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
    let served = knocks.served + 8;
    let sessions = || {
        let status = totals.check(&lb);
        let backend = status.backend("app").number("sessions_total");
        [status.number("sessions_total"), status.frontend("web").number("sessions_total"), backend]
    };
    eventually_eq(HANG, [served; 3], sessions);
}

#[test]
fn an_upgrade_that_is_rolled_back_keeps_what_the_new_engine_has_counted() {
    let stage = FailingUpgrade::new();
    let lb = &stage.lb;
    let sessions = || lb.status().number("sessions_total");
    let old = lb.engine();
    let mut totals = Totals::default();
    let result = totals.watch(lb, || {
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| stage.to(&stage.dir.path().join("lb")));
            eventually(HANG, "the new engine", || (lb.status().number("engine_pid") != old as u64).then_some(()));
            let before = sessions();
            eventually(HANG, "sessions in the new engine", || (sessions() > before + 100).then_some(()));
            stage.set_fault("engine.beat", "kill");
            upgrade.join().unwrap()
        })
    });
    result.assert("killed in probation", 6, "");
    stage.assert_only_cut_by(1);
}

#[test]
fn what_returns_after_a_while_without_sessions_has_its_counts_again() {
    let [app, old] = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let config = Config::new().origins([&app]);
    let with_old = config.clone().server("other", old.server()).table(&format!(
        "[frontend.old]\nbind = [\"127.0.0.1:0\"]\nbackend = \"old\"\n[backend.old.servers]\no = \"{}\"",
        old.server()
    ));
    let lb = Lb::start(&with_old);
    let mut totals = Totals::default();
    (0..3).for_each(|_| drop(established(lb.addr("old"))));
    (0..6).for_each(|_| drop(established(lb.addr("web"))));
    // The relay counts the last bytes after it has sent them.
    eventually_eq(HANG, 3, || totals.check(&lb).backend("old").number("sessions_total"));
    let ways = [&["status"][..], &["upgrade", "--probation", "0s"], &["reload"]];
    for (sessions, away) in (3..).zip(ways) {
        eventually_eq(HANG, 0, || totals.check(&lb).number("sessions"));
        lb.reload(&config);
        assert!(!lb.command_ok(&["status"]).contains("old/o"));
        lb.command_ok(away);
        let all = totals.check(&lb).number("sessions_total");
        assert_eq!(all, 6 + sessions, "{away:?}");
        lb.reload(&with_old);
        let status = totals.check(&lb);
        let of = [status.frontend("old"), status.backend("old"), status.server("old/o")];
        assert_eq!(of.map(|entry| entry.number("sessions_total")), [sessions; 3], "{away:?}");
        assert_eq!(status.server("app/other").number("sessions_total"), 3, "{away:?}");
        drop(established(lb.addr("old")));
    }
}
