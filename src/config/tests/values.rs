//! What is written is what is meant.

use std::sync::Arc;
use std::time::Duration;

use super::*;

fn backend(lines: &str) -> Backend {
    let text = format!("[frontend.f]\nbind = \":1\"\nbackend = \"b\"\n[backend.b]\nservers.a = \"h:1\"\n{lines}\n");
    let mut config = parse("lb.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    config.backends.remove(0)
}

fn check(lines: &str) -> Check {
    backend(lines).options.check.clone().expect("the backend has checks")
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn queue_follows_connect_and_zero_is_no_limit() {
    let timeout = backend("timeout = { connect = \"1s\", client = \"0\", server = \"0s\" }").timeout;
    assert_eq!((timeout.connect, timeout.queue), (seconds(1), seconds(1)));
    assert_eq!((timeout.client, timeout.server), (None, None));
    let backend = backend("keepalive = \"0\"\nuser_timeout = \"0\"\nslowstart = \"0\"\nreplay = \"16k\"");
    assert_eq!(backend.liveness, Liveness::default());
    assert_eq!((backend.options.slowstart, backend.retry.replay), (Duration::ZERO, 16384));
}

fn frontend(lines: &str) -> Frontend {
    let text = format!("[frontend.f]\nbackend = \"b\"\n{lines}\n[backend.b]\nservers.a = \"h:1\"\n");
    let mut config = parse("lb.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    config.frontends.remove(0)
}

#[test]
fn an_element_of_bind_has_the_options_of_its_frontend_unless_it_says_otherwise() {
    let lines = "accept_proxy = true\nbacklog = 7\nbind = [\":80\", { addr = \":81-82\", accept_proxy = false, \
                 maxconn = 5, name = \"x\", interface = \"lo\", tfo = true, user_timeout = \"3s\", defer_accept = true }]";
    let [plain, first, second] = <[BindEntry; 3]>::try_from(frontend(lines).bind).unwrap();
    let with = |addr: &str| BindEntry { backlog: 7, ..BindEntry::new(Bind::Address(addr.parse().unwrap())) };
    assert_eq!(plain, BindEntry { accept_proxy: true, ..with("0.0.0.0:80") });
    let own = BindEntry {
        maxconn: Some(5),
        name: Some("x".to_owned()),
        interface: Some("lo".to_owned()),
        tfo: true,
        user_timeout: Some(seconds(3)),
        defer_accept: true,
        number: 2,
        ..with("0.0.0.0:81")
    };
    assert_eq!((first, second.to_string().as_str()), (own, "0.0.0.0:82 interface lo"));
    let apart = frontend("bind = [\":80\", { addr = \":80\", interface = \"lo\" }]");
    assert_eq!(apart.bind.len(), 2, "one address on two interfaces is two places");
}

#[test]
fn a_timeout_of_the_frontend_is_above_the_backends_but_for_tunnel() {
    let backend = backend("timeout = { client = \"1s\", client_fin = \"2s\", tunnel = \"3s\" }").timeout;
    let held = |lines: &str| {
        let held = frontend(&format!("bind = \":1\"\ntimeout = {lines}")).timeout.over(&backend);
        (held.client, held.client_fin, held.tunnel)
    };
    assert_eq!(held("{}"), (Some(seconds(1)), Some(seconds(2)), Some(seconds(3))));
    let all = "{ client = \"0\", client_fin = \"8s\", tunnel = \"9s\" }";
    assert_eq!(held(all), (None, Some(seconds(8)), Some(seconds(3))));
    let of_frontend = frontend(&format!("bind = \":1\"\ntimeout = {all}")).timeout;
    assert_eq!(of_frontend.over(&Timeouts::default()).tunnel, Some(seconds(9)));
}

#[test]
fn intervals_of_a_check_follow_inter() {
    let all = |check: &Check| [check.inter, check.fastinter, check.downinter, check.timeout].map(|d| d.as_secs());
    assert_eq!(all(&check("")), [2, 2, 2, 2]);
    assert_eq!(all(&check("check = true")), [2, 2, 2, 2]);
    assert_eq!(all(&check("check = { inter = \"7s\" }")), [7, 7, 7, 7]);
    assert_eq!(all(&check("check = { inter = \"7s\", fastinter = \"1s\", downinter = \"9s\" }")), [7, 1, 9, 7]);
    assert_eq!(all(&check("timeout.check = \"3s\"")), [2, 2, 2, 3]);
    assert_eq!(all(&check("timeout.check = \"3s\"\ncheck.inter = \"7s\"")), [7, 7, 7, 3]);
    assert_eq!(all(&check("timeout.check = \"3s\"\ncheck.timeout = \"4s\"")), [2, 2, 2, 4]);
    assert_eq!(backend("check = false").options.check, None);
}

#[test]
fn a_check_sends_the_proxy_header_of_its_backend_unless_it_goes_elsewhere() {
    assert_eq!(check("").send_proxy, None);
    assert_eq!(check("send_proxy = \"v2\"").send_proxy, Some(ProxyVersion::V2));
    assert_eq!(check("send_proxy = \"v2\"\ncheck = {}").send_proxy, Some(ProxyVersion::V2));
    assert_eq!(check("send_proxy = \"v2\"\ncheck.port = 81").send_proxy, None);
    assert_eq!(check("send_proxy = \"v2\"\ncheck.send_proxy = \"none\"").send_proxy, None);
    assert_eq!(check("check = { port = 81, send_proxy = \"v1\" }").send_proxy, Some(ProxyVersion::V1));
}

#[test]
fn an_http_check_expects_what_haproxy_expects() {
    let http = |method: &str, path: &str, host: Option<&str>, status: &[(u16, u16)]| {
        CheckKind::Http(Box::new(HttpCheck {
            method: method.to_owned(),
            path: path.to_owned(),
            host: host.map(str::to_owned),
            status: StatusRule::Among(status.to_vec()),
            ..HttpCheck::default()
        }))
    };
    assert_eq!(check("check.type = \"http\"").kind, http("GET", "/", None, &[(200, 399)]));
    let text = "check = { type = \"http\", method = \"HEAD\", path = \"/p?q=1\", host = \"h.example\", status = 204 }";
    assert_eq!(check(text).kind, http("HEAD", "/p?q=1", Some("h.example"), &[(204, 204)]));
    for (text, status) in [
        ("\"200-399\"", vec![(200, 399)]),
        ("\"200,204\"", vec![(200, 200), (204, 204)]),
        ("[200, 204]", vec![(200, 200), (204, 204)]),
        ("[\"200-299\", 304]", vec![(200, 299), (304, 304)]),
    ] {
        let check = check(&format!("check = {{ type = \"http\", status = {text} }}"));
        assert_eq!(check.kind, http("GET", "/", None, &status), "{text}");
    }
}

#[test]
fn a_script_has_every_kind_of_step() {
    let text = r#"check = { type = "script", steps = [{ connect = true }, { send = "PING\r\n" }, { send_hex = "50494eFF" },
        { expect = "+PONG" }, { expect_not = "ERR" }, { expect_regex = "(?i)role:MASTER\\s" }] }"#;
    let CheckKind::Script(steps) = check(text).kind else {
        panic!("the check is a script");
    };
    assert_eq!(
        steps[..5],
        [
            ScriptAction::Connect(None).into(),
            ScriptAction::Send(b"PING\r\n".to_vec()).into(),
            ScriptAction::Send(vec![0x50, 0x49, 0x4e, 0xff]).into(),
            Expectation::wanted(Pattern::Bytes(b"+PONG".to_vec())).into(),
            ScriptStep::from(Expectation::unwanted(Pattern::Bytes(b"ERR".to_vec()))),
        ]
    );
    let ScriptAction::Expect(answer) = &steps[5].action else {
        panic!("the last step is an expectation");
    };
    let Pattern::Regex(regex) = &answer.expectation.pattern else {
        panic!("the last step is an expression");
    };
    assert!(regex.is_match(b"\xffrole:master\n"));
}

#[test]
fn servers_keep_their_order_in_either_form() {
    let lines = "servers.z = { addr = \"[::1]:80\", weight = 0, maxconn = 5, backup = true, disabled = true }\n\
                 servers.\"10.0.0.1:80\" = \"unix@/run/x\"";
    let servers = backend(lines).servers;
    let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["a", "z", "10.0.0.1:80"]);
    assert_eq!((servers[1].weight.get(), servers[1].maxconn), (0, Some(5)));
    assert!(servers[1].backup && servers[1].disabled);
    assert_eq!(servers[2].addr, Address::Unix("/run/x".into()));
}

#[test]
fn a_server_has_what_its_backend_says_unless_it_says_otherwise() {
    let options = |backend_lines: &str, own: &str| {
        let lines = format!("{backend_lines}\nservers.z = {{ addr = \"h:1\", {own} }}");
        ServerOptions::clone(&backend(&lines).servers[1].options)
    };
    let usual = "slowstart = \"9s\"\nsend_proxy = \"v2\"\non_marked_down = \"shutdown-sessions\"\nobserve = \"none\"";
    let inherited = options(usual, "weight = 2");
    assert_eq!(inherited, *backend(usual).options);
    assert_eq!(inherited.check.unwrap().send_proxy, Some(ProxyVersion::V2));
    let own =
        options(usual, "slowstart = \"1s\", send_proxy = \"v1\", on_marked_down = \"none\", observe = \"layer4\"");
    assert_eq!((own.slowstart, own.send_proxy), (seconds(1), Some(ProxyVersion::V1)));
    assert_eq!((own.shutdown_sessions_when_down, own.observe), (false, true));
    assert_eq!(own.check.unwrap().send_proxy, Some(ProxyVersion::V1));
    let shared = backend(usual);
    assert!(Arc::ptr_eq(&shared.options, &shared.servers[0].options));
}

#[test]
fn a_servers_check_has_the_keys_of_its_backends() {
    let check = |above: &str, own: &str| {
        let lines = format!("{above}\nservers.z = {{ addr = \"h:1\", check = {own} }}");
        backend(&lines).servers[1].options.check.clone()
    };
    let above = "check = { type = \"http\", path = \"/p\", inter = \"7s\", fastinter = \"1s\", port = 81 }";
    let own = check(above, "{ inter = \"3s\" }").unwrap();
    assert_eq!((own.inter, own.fastinter, own.downinter, own.port), (seconds(3), seconds(1), seconds(3), Some(81)));
    assert!(matches!(own.kind, CheckKind::Http(http) if http.path == "/p"));
    let own = check(above, "{ type = \"tcp\" }").unwrap();
    assert_eq!((own.kind, own.inter), (CheckKind::Tcp, seconds(7)), "the path is left behind");
    assert_eq!(check(above, "true").unwrap().inter, seconds(7));
    assert_eq!(check(above, "false"), None);
    assert_eq!(check("check = false", "true"), Some(Check::default()));
    assert_eq!(check("check = false", "{ fall = 9 }").unwrap().fall, Fall::new(9));
    assert_eq!(check("timeout.check = \"5s\"", "{ fall = 9 }").unwrap().timeout, seconds(5));
}

#[test]
fn a_port_may_be_the_one_that_the_client_came_to() {
    for (text, addr, shift) in [
        ("10.0.0.1:80", "10.0.0.1:80", None),
        ("10.0.0.1", "10.0.0.1:0", Some(0)),
        ("[::1]", "[::1]:0", Some(0)),
        ("10.0.0.1:+1000", "10.0.0.1:0", Some(1000)),
        ("[::1]:-7", "[::1]:0", Some(-7)),
        ("app-1.example:+5", "app-1.example:0", Some(5)),
        ("unix@/run/x:+5", "unix@/run/x:+5", None),
    ] {
        let server = backend(&format!("check.port = 81\nservers.z = \"{text}\"")).servers.remove(1);
        assert_eq!((server.addr.to_string(), server.port_shift), (addr.to_owned(), shift), "{text}");
    }
    assert_eq!(shifted(80, 1000), 1080);
    assert_eq!((shifted(5, -6), shifted(65535, 1)), (65535, 0), "as in HAProxy");
}

#[test]
fn minconn_alone_is_maxconn_and_fullconn_is_a_tenth_of_what_comes() {
    let backend_of = |frontend: &str, own: &str| {
        let text = format!(
            "[frontend.f]\nbind = \":1\"\nbackend = \"b\"\n{frontend}\n[backend.b]\nservers.a = {{ addr = \"h:1\", {own} }}\n"
        );
        parse("f", &text).unwrap().backends.remove(0)
    };
    let limits = |backend: &Backend| (backend.servers[0].options.minconn, backend.servers[0].maxconn);
    let backend = backend_of("maxconn = 500", "minconn = 3, maxconn = 9");
    assert_eq!((limits(&backend), backend.fullconn), ((Some(3), Some(9)), Some(50)));
    assert_eq!(limits(&backend_of("", "minconn = 3")), (Some(3), Some(3)));
    assert_eq!(limits(&backend_of("", "minconn = 3, maxconn = 2")), (Some(3), Some(3)));
    assert_eq!(backend_of("maxconn = 500", "maxconn = 9").fullconn, None);
}

#[test]
fn a_server_that_follows_another_one_has_no_checks() {
    let options = |lines: &str| {
        let servers = backend(lines).servers;
        ServerOptions::clone(&servers.iter().find(|server| server.name == "z").unwrap().options)
    };
    let follows = options("check.inter = \"9s\"\nservers.z = { addr = \"h:1\", track = \"a\" }");
    assert_eq!((follows.check, follows.track.unwrap().to_string()), (None, "b/a".to_owned()));
    let chain =
        "servers.z = { addr = \"h:1\", track = \"b/y\", check = false }\nservers.y = { addr = \"h:1\", track = \"a\" }";
    assert_eq!(options(chain).track.unwrap().to_string(), "b/y");
}

#[test]
fn a_servers_agent_has_the_keys_of_its_backends() {
    let agent = |above: &str, own: &str| {
        backend(&format!("{above}\nservers.z = {{ addr = \"h:1\", {own} }}")).servers[1].options.agent.clone()
    };
    let above = "agent = { port = 9, inter = \"5s\", send = \"x\\n\" }";
    let own = agent(above, "agent = { addr = \"::1\", inter = \"1s\" }").unwrap();
    assert_eq!((own.port, own.inter, &*own.send, own.addr), (9, seconds(1), "x\n", Some("::1".parse().unwrap())));
    assert_eq!(agent(above, "weight = 1"), backend(above).options.agent);
    assert_eq!(agent(above, "agent = false"), None);
    assert_eq!(agent("", "weight = 1"), None);
}

#[test]
fn a_backend_may_have_no_servers_where_that_is_said() {
    let text = "[frontend.f]\nbind = \":1\"\nbackend = \"b\"\n[backend.b]\nservers = {}\n";
    assert!(parse("f", text).unwrap().backends[0].is_empty());
    let header = text.replace("\nservers = {}", ".servers]").replace("[backend.b]", "[backend.b");
    let said = parse("f", &header).unwrap_err().to_string();
    assert!(said.contains("or write `servers = {}` to close its sessions"), "{said}");
}

#[test]
fn discovery_needs_no_servers_and_brings_etcd() {
    let text = "[etcd]\nendpoints = \"https://e.example:2379\"\nguard_delay = \"0\"\n\
                [frontend.f]\nbind = [\"[::]:0\", \"[::]:0\"]\nbackend = \"b\"\n\
                [backend.b]\ndiscovery = { etcd = \"/app/servers/\" }\n";
    let config = parse("lb.toml", text).unwrap();
    let etcd = config.etcd.unwrap();
    assert_eq!((etcd.endpoints, etcd.guard_delay), (vec!["https://e.example:2379".to_owned()], Duration::ZERO));
    assert_eq!(config.backends[0].discovery.as_deref(), Some("/app/servers/"));
    assert_eq!(config.frontends[0].bind.len(), 2, "port 0 may be asked for more than once");
}

#[test]
fn a_log_goes_where_it_is_sent() {
    for (text, target) in [
        ("stdout", LogPlace::Stdout),
        ("stderr", LogPlace::Stderr),
        ("fd@1", LogPlace::Stdout),
        ("fd@7", LogPlace::Descriptor(7)),
        ("/dev/log", LogPlace::SyslogUnix("/dev/log".into())),
        ("127.0.0.1:514", LogPlace::SyslogUdp("127.0.0.1:514".parse().unwrap())),
    ] {
        let sample = SAMPLE.replace("target = \"stdout\"", &format!("target = \"{text}\""));
        assert_eq!(parse("lb.toml", &sample).unwrap().global.log.settings.targets, [LogTarget::new(target)]);
    }
}

#[test]
fn a_frontend_has_the_log_of_the_process_but_for_what_it_says() {
    let text = "[global.log]\ntag = \"x\"\ndontlognull = true\nformat = \"%ci  %{+Q}s\"\n\
                target = [\"stderr\", { to = \"127.0.0.1:5\", facility = \"local7\", level = \"notice\", \
                min_level = \"err\", length = 512, format = \"rfc5424\", tag = \"y\" }]\n\
                [frontend.f]\nbind = \":1\"\nbackend = \"b\"\nlog = { dontlognull = false, asap = true }\n\
                [frontend.g]\nbind = \":2\"\nbackend = \"b\"\n[backend.b]\nservers.a = \"h:1\"\n";
    let config = parse("lb.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let of_process = &config.global.log.settings;
    assert_eq!(config.frontends[1].log, *of_process);
    let own = &config.frontends[0].log;
    assert_eq!((own.dontlognull, own.asap, own.tag.as_str()), (false, true, "x"));
    assert_eq!((&own.format, &own.targets), (&of_process.format, &of_process.targets));
    assert!(of_process.dontlognull && !of_process.asap);
    let [stderr, udp] = &own.targets[..] else { panic!("two targets") };
    assert_eq!((&stderr.to, stderr.form), (&LogPlace::Stderr, LogForm::Raw));
    assert_eq!((udp.facility, udp.level, udp.min_level, udp.length), (23, 5, 3, Some(512)));
    assert_eq!((udp.form, udp.tag.as_deref()), (LogForm::Rfc5424, Some("y")));
}
