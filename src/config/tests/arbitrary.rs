//! Configurations of every kind, for the test that writes them down and reads them again.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::backend::Retry;
use super::super::track::Tracked;
use super::*;

/// Any configuration that is valid.
pub(super) fn config() -> impl Strategy<Value = Config> {
    let etcd = (any::<bool>(), 0..100u64).prop_map(|(tls, guard)| Etcd {
        endpoints: vec![if tls { "https://e1:2379/" } else { "http://[::1]:2379" }.to_owned()],
        username: tls.then(|| "user".to_owned()),
        password_file: tls.then(|| "/p".into()),
        ca: tls.then(|| "/ca".into()),
        cert: tls.then(|| "/c".into()),
        key: tls.then(|| "/k".into()),
        guard_delay: Duration::from_millis(guard),
    });
    (global(), etcd, vec((frontend(), any::<u16>()), 1..4), vec(backend(), 1..4)).prop_map(
        |(global, etcd, frontends, mut backends): (Global, _, _, Vec<Backend>)| {
            for (index, backend) in backends.iter_mut().enumerate() {
                backend.name = format!("b.{index}");
                backend.log = global.log.changes.clone();
                if backend.allbackups {
                    backend.log.targets = if index == 0 { Vec::new() } else { global.log.settings.targets.clone() };
                }
                for server in &mut backend.servers {
                    if let Some(tracked) = &mut Arc::make_mut(&mut server.options).track {
                        tracked.backend = backend.name.clone();
                    }
                }
            }
            let frontends = frontends.into_iter().enumerate().map(|(index, (mut frontend, backend))| {
                frontend.name = format!("f:{index}");
                frontend.backend = backends[usize::from(backend) % backends.len()].name.clone();
                // A port of its own for each frontend, so that none is bound twice.
                let port = 1 + u16::try_from(index).unwrap();
                for entry in &mut frontend.bind {
                    match &mut entry.bind {
                        Bind::Address(addr) => addr.set_port(port),
                        Bind::Inherited(name) => *name = format!("web{port}"),
                        Bind::Unix(path) => *path = format!("/run/{port}").into(),
                        Bind::Abstract(name) => *name = format!("{port}"),
                    }
                }
                frontend
            });
            let frontends: Vec<_> = frontends.collect();
            let order = (0..frontends.len()).map(ProxyPlace::Frontend);
            let order = order.chain((0..backends.len()).map(ProxyPlace::Backend)).collect();
            let discovers = backends.iter().any(|backend| backend.discovery.is_some());
            let resolvers = Resolvers {
                name: "r".to_owned(),
                nameservers: vec!["10.0.0.1:53".parse().unwrap(), "[::1]:5353".parse().unwrap()],
                retries: 7,
                timeout_resolve: Duration::from_secs(9),
                timeout_retry: Duration::from_millis(700),
            };
            Config { global, etcd: discovers.then_some(etcd), resolvers: vec![resolvers], frontends, backends, order }
        },
    )
}

fn global() -> impl Strategy<Value = Global> {
    let log = (log(), 0..1000u32).prop_map(|(settings, rate)| {
        let changes =
            ChangeLog::of(&settings.targets, &settings.tag, [None, Some(false), Some(true)][rate as usize % 3]);
        Log { rate, settings: settings.into(), changes }
    });
    let paths = proptest::option::of(Just("/run/lb \"quoted\"\n".into()));
    let time = proptest::option::of(time());
    let socket =
        prop_oneof![Just(SocketPlace::Nowhere), Just(SocketPlace::Usual), Just(SocketPlace::Path("/s".into()))];
    (proptest::option::of(1..100_000u32), proptest::option::of(1..257usize), paths, socket, time, log).prop_map(
        |(maxconn, threads, path, socket, hard_stop_after, log)| Global {
            maxconn,
            threads,
            socket,
            state_dir: path,
            watchdog: hard_stop_after.unwrap_or_default(),
            external_checks: threads.is_some(),
            haproxy_sockets: haproxy_sockets(threads.unwrap_or_default()),
            haproxy_socket_timeout: hard_stop_after.unwrap_or(Duration::from_secs(10)),
            hard_stop_after,
            log,
        },
    )
}

/// Some of each kind.
fn haproxy_sockets(number: usize) -> Vec<HaproxySocket> {
    let access = SocketAccess { mode: Some(0o660), user: Some("root".to_owned()), group: Some("7".to_owned()) };
    let socket =
        |text: &str, access, level| HaproxySocket { bind: bind::parse(text).unwrap().remove(0), access, level };
    let all = [
        socket("/run/haproxy.sock", access, SocketLevel::Admin),
        socket("127.0.0.1:1999", SocketAccess::default(), SocketLevel::User),
        socket("abns@haproxy", SocketAccess::default(), SocketLevel::Operator),
    ];
    all.into_iter().take(number % 4).collect()
}

fn log() -> impl Strategy<Value = LogSettings> {
    let place = prop_oneof![
        Just(LogPlace::Stdout),
        Just(LogPlace::Stderr),
        (3..99u32).prop_map(LogPlace::Descriptor),
        Just(LogPlace::SyslogUnix("/dev/log".into())),
        Just(LogPlace::SyslogUdp("[::1]:514".parse().unwrap())),
    ];
    let tag = || proptest::option::of("[a-z ]{1,9}");
    let form = proptest::sample::select(&log_target::FORMS[..]);
    let target = (place, 0..24u8, [0..8u8, 0..8u8], proptest::option::of(80..9999usize), form, tag());
    let target = target.prop_map(|(to, facility, [level, min_level], length, (_, form), tag)| LogTarget {
        to,
        facility,
        level,
        min_level,
        length,
        form,
        tag,
    });
    let format = proptest::option::of(proptest::sample::select(&["%ci \"x\"", "%{+Q}o %[src] %%"][..]));
    (any::<[bool; 5]>(), format, tag(), vec(target, 1..9)).prop_map(
        |([sessions, dontlognull, dontlog_normal, asap, separate_errors], format, tag, targets)| LogSettings {
            sessions,
            dontlognull,
            dontlog_normal,
            asap,
            separate_errors,
            format: format.map(|text| log_format::LogFormat::parse(text).unwrap()),
            tag: tag.unwrap_or_else(|| "lb".to_owned()),
            targets,
        },
    )
}

fn frontend() -> impl Strategy<Value = Frontend> {
    let binds = proptest::sample::subsequence(
        vec!["0.0.0.0:1", "127.0.0.1:1", "[::1]:1", "[::]:1", "fd@3", "/s", "abns@s"],
        1..4,
    );
    let entry = |(number, (text, entry)): (u16, (&str, BindEntry))| {
        let bind = bind::parse(text).unwrap().remove(0);
        BindEntry { bind, number, ..entry }
    };
    let timeout = [proptest::option::of(time()), proptest::option::of(time()), proptest::option::of(time())];
    let limits = [proptest::option::of(1..9999u32), proptest::option::of(1..9999u32)];
    let limits = (limits, log());
    (binds, vec(bind_entry(), 4), limits, timeout, any::<[bool; 2]>()).prop_map(
        move |(binds, entries, ([maxconn, rate_limit], log), [client, client_fin, tunnel], [reuse_port, endless])| {
            Frontend {
                log: log.into(),
                bind: (1..).zip(binds.into_iter().zip(entries)).map(entry).collect(),
                maxconn,
                rate_limit,
                timeout: FrontendTimeouts { client: endless.then_some(client), client_fin, tunnel },
                reuse_port,
                ..Frontend::new("", Vec::new(), "")
            }
        },
    )
}

/// Options without a place; `v4v6` would make two of them meet.
fn bind_entry() -> impl Strategy<Value = BindEntry> {
    let words = (proptest::option::of("[a-z]{1,15}"), proptest::option::of("[a-z \"]{1,9}"));
    let access = (proptest::option::of(0..0o1000u32), proptest::option::of("[a-z0-9]{1,9}"))
        .prop_map(|(mode, user)| SocketAccess { mode, group: user.clone(), user });
    let times = (proptest::option::of(1..9999u32), proptest::option::of(time()));
    (words, any::<[bool; 3]>(), 1..9999u32, times, access).prop_map(
        |((interface, name), [accept_proxy, defer_accept, tfo], backlog, (maxconn, user_timeout), access)| BindEntry {
            access,
            interface,
            name,
            accept_proxy,
            defer_accept,
            backlog,
            maxconn,
            tfo,
            user_timeout,
            ..BindEntry::new(Bind::Inherited(String::new()))
        },
    )
}

fn backend() -> impl Strategy<Value = Backend> {
    let words = (
        proptest::sample::select(
            &[
                Balance::RoundRobin,
                Balance::StaticRr,
                Balance::LeastConn,
                Balance::RANDOM,
                Balance::Random { draws: 7 },
                Balance::Source,
                Balance::First,
            ][..],
        ),
        any::<[bool; 5]>(),
        proxy_version(),
    );
    let numbers = (0..101u32, 0..=1usize << 20, 0..10_000u32, 0..5000u64, 1..32_768u64);
    let all = (words, numbers, timeouts(), proptest::option::of(check()), vec(server(), 1..5));
    all.prop_map(
        |(
            (balance, [redispatch, allbackups, observe, cut, discovers], send_proxy),
            numbers,
            timeout,
            check,
            servers,
        )| {
            let (retries, replay, maxqueue, slowstart, keepalive) = numbers;
            let slowstart = Duration::from_millis(slowstart);
            let source = cut.then(|| "10.0.0.9:0".parse().unwrap());
            let check = check.map(|check| Check { source, ..check });
            let options = ServerOptions {
                check,
                observe,
                shutdown_sessions_when_down: cut,
                slowstart,
                send_proxy,
                source,
                minconn: observe.then_some(retries + 1),
                error_limit: retries + 1,
                on_error: OnError::SuddenDeath,
                shutdown_backups_when_up: cut,
                agent: Some(Agent { port: 9, addr: None, inter: Duration::from_secs(2), send: String::new() }),
                track: None,
                resolve: Resolve { resolvers: observe.then(|| "r".to_owned()), prefer: cut.then_some(Family::V4) },
            };
            let usual = Arc::new(options.clone());
            let own = Arc::new(ServerOptions {
                check: options.check.map(|check| Check {
                    rise: Rise::new(7),
                    send_proxy: None,
                    source: Some("[::1]:0".parse().unwrap()),
                    ..check
                }),
                observe: !observe,
                shutdown_sessions_when_down: !cut,
                slowstart: slowstart * 2,
                send_proxy: Some(ProxyVersion::V2),
                source: Some("[::1]:9".parse().unwrap()),
                minconn: Some(5),
                error_limit: 77,
                on_error: OnError::MarkDown,
                shutdown_backups_when_up: !cut,
                agent: Some(Agent {
                    port: 7,
                    addr: Some("::1".parse().unwrap()),
                    inter: slowstart.max(Duration::from_secs(1)),
                    send: "state\n".to_owned(),
                }),
                track: None,
                resolve: Resolve { resolvers: Some("r".to_owned()), prefer: Some(Family::V6) },
            });
            let unchecked = Arc::new(ServerOptions { check: None, agent: None, ..ServerOptions::clone(&own) });
            let tracked = Tracked { backend: String::new(), server: "9".to_owned() };
            let follows = ServerOptions { check: None, track: Some(tracked), ..ServerOptions::clone(&own) };
            let follows = Arc::new(follows);
            let mut servers = servers;
            for (index, server) in servers.iter_mut().enumerate() {
                server.name = format!("{}", 9 - index);
                server.options = Arc::clone([&usual, &own, &unchecked, &usual, &follows][index]);
                server.maxconn = server.maxconn.max(server.options.minconn);
            }
            Backend {
                balance,
                retry: Retry { retries, redispatch, replay },
                maxqueue,
                fullconn: Some(maxqueue + 1),
                allbackups,
                timeout,
                options: usual,
                liveness: Liveness {
                    keepalive: (keepalive > 9).then_some(Duration::from_secs(keepalive)),
                    user_timeout: (slowstart > Duration::from_millis(9)).then_some(slowstart),
                },
                discovery: discovers.then(|| "/p/".to_owned()),
                server_state_file: discovers.then(|| "/s".into()),
                ..Backend::new("", servers)
            }
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let maybe = || proptest::option::of(time());
    (time(), time(), maybe(), maybe(), maybe(), maybe(), maybe()).prop_map(
        |(connect, queue, client, server, tunnel, client_fin, server_fin)| Timeouts {
            connect,
            queue,
            client,
            server,
            tunnel,
            client_fin,
            server_fin,
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let status = vec((100..300u16, 300..600u16), 1..3);
    let bytes = || "[ -~\r\n]{1,20}".prop_map(String::into_bytes);
    let step = prop_oneof![
        proptest::option::of(1..65535u16).prop_map(|port| ScriptAction::Connect(port).into()),
        vec(any::<u8>(), 1..20).prop_map(|bytes| ScriptAction::Send(bytes).into()),
        (bytes(), any::<bool>())
            .prop_map(|(bytes, unwanted)| { Expectation { pattern: Pattern::Bytes(bytes), unwanted }.into() }),
        bytes().prop_map(|bytes| {
            let expectation = Expectation::wanted(Pattern::Bytes(bytes));
            let text = Some("said".to_owned());
            let answer = ExpectedAnswer { expectation, min_recv: 3, on_error: text.clone(), on_success: text.clone() };
            ScriptStep { action: ScriptAction::Expect(Box::new(answer)), comment: text }
        }),
        "[a-z.*]{0,8}[a-z]"
            .prop_filter("an expression", |text| regex::bytes::Regex::new(text).is_ok())
            .prop_map(|text| { Expectation::wanted(Pattern::Regex(regex::bytes::Regex::new(&text).unwrap())).into() }),
    ];
    let kind = prop_oneof![
        Just(CheckKind::Tcp),
        ("[A-Z]{1,7}", "/[!-~]{0,20}", proptest::option::of("[a-z.]{1,20}"), status).prop_map(
            |(method, path, host, status)| {
                let status = StatusRule::Among(status);
                CheckKind::Http(Box::new(HttpCheck { method, path, host, status, ..HttpCheck::default() }))
            }
        ),
        vec(step, 1..6).prop_map(CheckKind::Script),
    ];
    let state = &[InitState::Up, InitState::FullyUp, InitState::Down, InitState::FullyDown][..];
    let elsewhere = (proptest::option::of(1..65535u16), any::<bool>(), proxy_version());
    (kind, [time(), time(), time(), time()], 1..1000u32, 1..1000u32, elsewhere, proptest::sample::select(state))
        .prop_map(|(kind, [inter, fastinter, downinter, timeout], rise, fall, (port, addr, send_proxy), init_state)| {
            Check {
                kind,
                inter,
                fastinter,
                downinter,
                rise: Rise::new(rise),
                fall: Fall::new(fall),
                timeout,
                connect_timeout: (timeout.as_millis() % 2 == 0).then_some(fastinter),
                port,
                addr: addr.then(|| "::1".parse().unwrap()),
                init_state,
                send_proxy,
                source: None,
            }
        })
}

fn server() -> impl Strategy<Value = Server> {
    let addr = proptest::sample::select(&["10.0.0.1:80", "[::1]:99", "app_1.example.:65535", "unix@/run/a b"][..]);
    (addr, 0..=Weight::MAX, proptest::option::of(1..9999u32), any::<bool>(), any::<bool>()).prop_map(
        |(addr, weight, maxconn, backup, disabled)| Server {
            weight: Weight::new(weight).unwrap(),
            maxconn,
            backup,
            disabled,
            drain: false,
            ..Server::new("", addr.parse().unwrap())
        },
    )
}

fn time() -> impl Strategy<Value = Duration> {
    (1..100_000_000u64).prop_map(Duration::from_millis)
}

fn proxy_version() -> impl Strategy<Value = Option<ProxyVersion>> {
    proptest::sample::select(&[None, Some(ProxyVersion::V1), Some(ProxyVersion::V2)][..])
}
