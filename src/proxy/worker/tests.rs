use std::cell::Cell;

use super::*;
use crate::backend::{MemberOrigin, MemberSpec};
use crate::config;
use crate::log::SessionLog;
use crate::proxy::registry::Demand;
use crate::proxy::{Finding, Notice};

fn context(notices: mpsc::Sender<Notice>) -> Rc<Context> {
    let log = SessionLog::start(0, Vec::new()).unwrap();
    Context::new(0, WorkerResources { log, notices, pipes: 0 })
}

fn local<T>(work: impl Future<Output = T>) -> T {
    Executor::new().unwrap().run(work).unwrap()
}

#[test]
fn a_thousand_sessions_are_cut_in_the_time_given() {
    let context = context(mpsc::channel(1).0);
    let over = Duration::from_millis(200);
    local(async {
        let sessions: Vec<_> = (0..1000).map(|_| context.register.enter()).collect();
        let begun = Instant::now();
        cut(context.register.all(), By::Killed, over);
        for session in &sessions {
            let cut = std::future::poll_fn(|cx| session.poll_demand(cx)).await;
            assert_eq!(cut, Demand::Order(Order::Cut(By::Killed)));
        }
        let took = begun.elapsed();
        assert!(took >= over / 2, "not spread: {took:?}");
        assert!(took < over * 3, "late: {took:?}");
    });
}

#[test]
fn one_cause_that_hits_many_sessions_is_logged_once() {
    let context = context(mpsc::channel(1).0);
    let warnings = Cell::new(0);
    (0..100).for_each(|_| context.warn_of(|| warnings.set(warnings.get() + 1)));
    assert_eq!(warnings.get(), 1);
}

#[test]
fn a_dropped_notice_is_sent_again_at_the_next_failure() {
    let (notices, mut received) = mpsc::channel(1);
    let context = context(notices);
    let settings = Arc::new(config::Backend::new("app", Vec::new()));
    let backend = Backend::new(Arc::clone(&settings));
    let spec = MemberSpec {
        name: "a".into(),
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(),
        port_shift: None,
        host: None,
        weight: config::Weight::default(),
        maxconn: None,
        backup: false,
        disabled: false,
        options: Arc::default(),
        drain: false,
        origin: MemberOrigin::Static,
    };
    backend.apply(settings, vec![spec], Instant::now()).unwrap();
    let server = Arc::clone(&backend.snapshot().members[0].server);
    let notice = |finding| Notice { backend: Arc::clone(&backend), server: Arc::clone(&server), finding };
    let after = Duration::ZERO;
    context.notify(notice(Finding::Slow));
    assert!(server.connect_failed());
    context.notify(notice(Finding::TimedOut { after }));
    received.try_recv().unwrap();
    assert!(server.connect_failed(), "control was not notified yet");
    context.notify(notice(Finding::TimedOut { after }));
    assert!(received.try_recv().is_ok() && !server.connect_failed());
}
