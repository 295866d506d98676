use super::health::CheckStatus;
use super::*;
use crate::config::Weight;
use std::time::Duration;

fn settings() -> config::Backend {
    config::Backend::new("app", Vec::new())
}

fn spec(name: &str, port: u16) -> MemberSpec {
    MemberSpec {
        name: name.into(),
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(),
        port_shift: None,
        host: None,
        weight: Weight::default(),
        maxconn: None,
        backup: false,
        disabled: false,
        options: Arc::default(),
        drain: false,
        origin: MemberOrigin::Static,
    }
}

fn backend(settings: config::Backend, specs: Vec<MemberSpec>) -> (Arc<Backend>, Instant) {
    let now = Instant::now();
    let settings = Arc::new(settings);
    let backend = Backend::new(Arc::clone(&settings));
    backend.apply(settings, specs, now).unwrap();
    (backend, now)
}

fn server(backend: &Backend, name: &str) -> Arc<Server> {
    let snapshot = backend.snapshot();
    let member = snapshot.members.iter().find(|m| &*m.server.name == name).unwrap();
    Arc::clone(&member.server)
}

fn result(status: CheckStatus) -> CheckResult {
    CheckResult::new(status, "", Duration::ZERO)
}

fn picked(backend: &Arc<Backend>) -> Option<String> {
    backend.pick(&Hint::default()).map(|lease| lease.server().name.to_string())
}

#[test]
fn a_server_that_goes_down_gets_nothing_until_rise_checks_passed() {
    let (backend, now) = backend(settings(), vec![spec("a", 1)]);
    let a = server(&backend, "a");
    assert_eq!(picked(&backend).as_deref(), Some("a"));
    let change = backend.record(&a, result(CheckStatus::L4Con), 1, now).unwrap();
    assert_eq!((change.transition, change.active), (Transition::WentDown, 0));
    assert_eq!(picked(&backend), None);
    assert_eq!(backend.record(&a, result(CheckStatus::L4Ok), 1, now), None);
    assert_eq!(picked(&backend), None);
    assert!(backend.record(&a, result(CheckStatus::L4Ok), 1, now).is_some());
    assert_eq!(picked(&backend).as_deref(), Some("a"));
}

#[test]
fn backups_serve_only_while_nobody_else_can() {
    let mut specs = vec![spec("a", 1), spec("b1", 2), spec("b2", 3)];
    specs[1].backup = true;
    specs[2].backup = true;
    let (backend, now) = backend(settings(), specs);
    assert_eq!(picked(&backend).as_deref(), Some("a"));
    backend.record(&server(&backend, "a"), result(CheckStatus::L4Con), 1, now).unwrap();
    assert_eq!([picked(&backend), picked(&backend)], [Some("b1".into()), Some("b1".into())]);
}

#[test]
fn a_name_that_stays_keeps_counts_and_health_and_a_new_address_starts_afresh() {
    let (backend, now) = backend(settings(), vec![spec("a", 1), spec("b", 2)]);
    let a = server(&backend, "a");
    let lease = backend.adopt("a", || Addr::UNKNOWN).unwrap();
    backend.record(&a, result(CheckStatus::L4Con), 1, now).unwrap();
    let mut heavier = spec("a", 1);
    heavier.weight = Weight::new(9).unwrap();
    backend.apply(Arc::new(settings()), vec![heavier], now).unwrap();
    assert!(Arc::ptr_eq(&a, &server(&backend, "a")));
    assert!(a.sessions() == 1 && !a.state().is_up());
    backend.apply(Arc::new(settings()), vec![spec("a", 7)], now).unwrap();
    assert!(Arc::ptr_eq(&a, &server(&backend, "a")) && a.state().is_up());
    drop(lease);
    assert_eq!(a.sessions(), 0);
}

#[test]
fn a_name_that_returns_while_it_leaves_is_the_same_server() {
    let (backend, now) = backend(settings(), vec![spec("a", 1), spec("b", 2)]);
    let apply = |specs| backend.apply(Arc::new(settings()), specs, now).unwrap();
    let names = || backend.leaving().iter().map(|member| member.spec.name.clone()).collect::<Vec<_>>();
    server(&backend, "a").stats.sessions_total.add(7);
    let lease = backend.adopt("a", || Addr::UNKNOWN).unwrap();
    apply(vec![spec("b", 2)]);
    assert_eq!((names(), lease.server().sessions()), (vec!["a".to_owned()], 1));
    apply(vec![spec("a", 1), spec("b", 2)]);
    assert!(Arc::ptr_eq(lease.server(), &server(&backend, "a")) && names().is_empty());
    drop(lease);
    apply(vec![spec("b", 2)]);
    assert!(names().is_empty(), "a removed server without sessions is forgotten");
    assert_eq!(backend.totals().sessions_total.value(), 7, "but not what it counted");
    apply(vec![spec("a", 1)]);
    assert_eq!(server(&backend, "a").stats.sessions_total.value(), 7);
    assert_eq!(backend.totals().sessions_total.value(), 7);
}

#[test]
fn a_session_of_a_server_that_is_no_member_counts_on_one_that_leaves() {
    let (backend, _) = backend(settings(), vec![spec("a", 1)]);
    let lease = backend.adopt("old", || spec("old", 9).addr).unwrap();
    lease.server().stats.bytes_in.add(5);
    let leaving = backend.leaving();
    assert_eq!((&*leaving[0].server.name, leaving[0].spec.addr.to_string()), ("old", "127.0.0.1:9".to_owned()));
    assert_eq!((backend.sessions(), leaving[0].server.sessions()), (1, 1));
    drop((lease, leaving));
    assert_eq!((backend.leaving().len(), backend.totals().bytes_in.value()), (0, 5));
}

#[test]
fn a_lease_that_returns_calls_the_next_in_line() {
    let mut only = spec("a", 1);
    only.maxconn = Some(1);
    let (backend, _) = backend(settings(), vec![only]);
    let lease = backend.pick(&Hint::default()).unwrap();
    assert!(backend.pick(&Hint::default()).is_none());
    let ticket = backend.queue.join(10).unwrap();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(ticket.poll_called(&mut cx).is_pending());
    drop(lease);
    assert!(ticket.poll_called(&mut cx).is_ready());
}

#[test]
fn slow_start_grows_weight_and_maxconn_after_a_recovery_only() {
    let mut specs = vec![spec("a", 1), spec("b", 2)];
    specs[0].maxconn = Some(50);
    Arc::make_mut(&mut specs[0].options).slowstart = Duration::from_secs(100);
    let (backend, now) = backend(settings(), specs);
    assert_eq!(backend.snapshot().ramping, None);
    let a = server(&backend, "a");
    backend.record(&a, result(CheckStatus::L4Con), 1, now);
    backend.record(&a, result(CheckStatus::L4Ok), 1, now);
    backend.record(&a, result(CheckStatus::L4Ok), 1, now);
    let of_a = |at: Duration| {
        backend.refresh(now + at);
        let snapshot = backend.snapshot();
        let candidate = snapshot.schedule.candidates()[0].clone();
        (candidate.weight, candidate.maxconn)
    };
    assert_eq!(of_a(Duration::ZERO), (1, 1));
    assert_eq!(of_a(Duration::from_secs(50)), (10, 25));
    assert_eq!(of_a(Duration::from_secs(100)), (1, 50));
    assert_eq!(backend.snapshot().ramping, None);
}

#[test]
fn a_limit_given_at_run_time_may_be_any_number() {
    let (backend, now) = backend(settings(), vec![spec("a", 1)]);
    for (given, limit) in [(u32::MAX, u32::MAX), (50_000_000, 50_000_000), (7, 7)] {
        server(&backend, "a").state().maxconn = Some(given);
        backend.refresh(now);
        assert_eq!(backend.snapshot().schedule.candidates()[0].maxconn, limit);
    }
}

#[test]
fn drain_maint_and_weight_zero_take_no_new_sessions() {
    let (backend, now) = backend(settings(), vec![spec("a", 1), spec("b", 2)]);
    for admin in [AdminState::Drain, AdminState::Maint] {
        server(&backend, "a").state().admin = admin;
        backend.refresh(now);
        assert_eq!([picked(&backend), picked(&backend)], [Some("b".into()), Some("b".into())]);
    }
    server(&backend, "a").state().admin = AdminState::Ready;
    server(&backend, "b").state().weight = Weight::new(0);
    backend.refresh(now);
    assert_eq!([picked(&backend), picked(&backend)], [Some("a".into()), Some("a".into())]);
}

#[test]
fn who_was_called_is_not_overtaken_by_a_newcomer() {
    let mut only = spec("a", 1);
    only.maxconn = Some(1);
    let (backend, _) = backend(settings(), vec![only]);
    let lease = backend.pick(&Hint::default()).unwrap();
    let first = backend.queue.join(10).unwrap();
    drop(lease);
    // Called, but not yet awake: a new session finds a line to join, and one in front.
    assert!(backend.queue.is_contended());
    assert!(backend.queue.join(10).unwrap().position() > 0);
    let lease = backend.pick(&Hint::default()).unwrap();
    first.leave_served();
    assert!(!backend.queue.is_contended());
    drop(lease);
}

#[test]
fn a_server_that_returns_follows_what_changed_while_it_was_away() {
    let mut unchecked = spec("a", 1);
    Arc::make_mut(&mut unchecked.options).check = None;
    let (backend, now) = backend(settings(), vec![unchecked]);
    let a = server(&backend, "a");
    // Sessions on it keep it alive.
    let _lease = backend.adopt("a", || Addr::UNKNOWN).unwrap();
    let apply = |specs| backend.apply(Arc::new(settings()), specs, now).unwrap();
    apply(vec![]);
    apply(vec![spec("a", 1)]);
    assert!(a.state().health.is_some(), "it is checked now");
    backend.record(&a, result(CheckStatus::L4Con), 1, now);
    assert!(!a.state().is_up());
    a.state().weight = Weight::new(7);
    apply(vec![]);
    let mut moved = spec("a", 2);
    (moved.weight, moved.disabled) = (Weight::new(3).unwrap(), true);
    apply(vec![moved]);
    let state = a.state();
    assert!(state.is_up(), "at a new address");
    assert_eq!((state.weight, state.admin), (None, AdminState::Maint));
}
