//! Writes a configuration down, for the test that reads it again.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

/// The text form of a configuration, every key spelt out.
pub(super) fn written(config: &Config) -> String {
    let mut out = Text(String::new(), "\n");
    let global = &config.global;
    let Global { maxconn, threads, socket, state_dir, hard_stop_after, watchdog, external_checks, log, .. } = global;
    out.header("global");
    out.maybe("maxconn", maxconn.map(|n| n.to_string()));
    out.maybe("threads", threads.map(|n| n.to_string()));
    match socket {
        SocketPlace::Usual => {}
        SocketPlace::Path(path) => out.key("socket", quoted(path.to_str().unwrap())),
        SocketPlace::Nowhere => out.key("socket", false),
    }
    out.maybe("state_dir", state_dir.as_ref().map(|path| quoted(path.to_str().unwrap())));
    out.maybe("hard_stop_after", hard_stop_after.map(duration));
    out.key("watchdog", duration(*watchdog));
    out.key("external_checks", external_checks);
    let sockets: Vec<_> = global.haproxy_sockets.iter().map(haproxy_socket).collect();
    out.key("haproxy_socket", format!("[{}]", sockets.join(", ")));
    out.key("haproxy_socket_timeout", duration(global.haproxy_socket_timeout));
    out.header("global.log");
    out.log("", &log.settings);
    out.key("rate", log.rate);
    match &log.changes.targets {
        none if none.is_empty() => out.key("changes", false),
        all if *all == log.settings.targets => out.key("changes", true),
        // Those but stdout.
        _ => {}
    }
    if let Some(etcd) = &config.etcd {
        out.header("etcd");
        out.key("endpoints", format!("{:?}", etcd.endpoints));
        out.maybe("username", etcd.username.as_deref().map(quoted));
        for (key, path) in
            [("password_file", &etcd.password_file), ("ca", &etcd.ca), ("cert", &etcd.cert), ("key", &etcd.key)]
        {
            out.maybe(key, path.as_ref().map(|path| quoted(path.to_str().unwrap())));
        }
        out.key("guard_delay", duration(etcd.guard_delay));
    }
    for resolvers in &config.resolvers {
        out.header(&format!("resolvers.{}", quoted(&resolvers.name)));
        let nameservers: Vec<_> = resolvers.nameservers.iter().map(ToString::to_string).collect();
        out.key("nameservers", format!("{nameservers:?}"));
        out.key("retries", resolvers.retries);
        out.key("timeout_resolve", duration(resolvers.timeout_resolve));
        out.key("timeout_retry", duration(resolvers.timeout_retry));
    }
    for frontend in &config.frontends {
        out.header(&format!("frontend.{}", quoted(&frontend.name)));
        let bind: Vec<_> = frontend.bind.iter().map(bind_entry).collect();
        out.key("bind", format!("[{}]", bind.join(", ")));
        out.key("backend", quoted(&frontend.backend));
        out.maybe("maxconn", frontend.maxconn.map(|n| n.to_string()));
        out.maybe("rate_limit", frontend.rate_limit.map(|n| n.to_string()));
        out.key("reuse_port", frontend.reuse_port);
        if frontend.log != log.settings {
            out.log("log.", &frontend.log);
        }
        let FrontendTimeouts { client, client_fin, tunnel } = frontend.timeout;
        out.maybe("timeout.client", client.map(|limit| duration(limit.unwrap_or_default())));
        out.maybe("timeout.client_fin", client_fin.map(duration));
        out.maybe("timeout.tunnel", tunnel.map(duration));
    }
    for backend in &config.backends {
        out.backend(backend);
        if backend.log != log.changes {
            let targets: Vec<_> = backend.log.targets.iter().map(log_target).collect();
            match targets.as_slice() {
                [] => out.key("log.changes", false),
                targets => out.key("log.target", format!("[{}]", targets.join(", "))),
            }
        }
    }
    out.0
}

/// The text so far, and what stands behind each key.
struct Text(String, &'static str);

impl Text {
    fn header(&mut self, name: &str) {
        writeln!(self.0, "[{name}]").unwrap();
    }

    fn key(&mut self, key: &str, value: impl std::fmt::Display) {
        write!(self.0, "{key} = {value}{}", self.1).unwrap();
    }

    fn access(&mut self, access: &SocketAccess) {
        self.maybe("mode", access.mode.map(|mode| quoted(&format!("{mode:04o}"))));
        self.maybe("user", access.user.as_deref().map(quoted));
        self.maybe("group", access.group.as_deref().map(quoted));
    }

    fn maybe(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn log(&mut self, before: &str, log: &LogSettings) {
        let mut key = |name: &str, value: String| self.key(&format!("{before}{name}"), value);
        key("sessions", log.sessions.to_string());
        key("dontlognull", log.dontlognull.to_string());
        key("dontlog_normal", log.dontlog_normal.to_string());
        key("asap", log.asap.to_string());
        key("separate_errors", log.separate_errors.to_string());
        key("tag", quoted(&log.tag));
        key("format", quoted(log.format.as_ref().map_or(log::USUAL, |format| format.text())));
        let targets: Vec<_> = log.targets.iter().map(log_target).collect();
        key("target", format!("[{}]", targets.join(", ")));
    }

    fn backend(&mut self, backend: &Backend) {
        self.header(&format!("backend.{}", quoted(&backend.name)));
        self.key("balance", quoted(&backend.balance.to_string()));
        if let Balance::Random { draws } = backend.balance {
            self.key("random_draws", draws);
        }
        self.maybe("fullconn", backend.fullconn.map(|n| n.to_string()));
        self.key("retries", backend.retry.retries);
        self.key("redispatch", backend.retry.redispatch);
        self.key("replay", quoted(&backend.retry.replay.to_string()));
        self.key("maxqueue", backend.maxqueue);
        self.key("allbackups", backend.allbackups);
        self.options(&backend.options);
        self.key("keepalive", duration(backend.liveness.keepalive.unwrap_or_default()));
        self.key("user_timeout", duration(backend.liveness.user_timeout.unwrap_or_default()));
        let states = backend.server_state_file.as_ref().map(|path| quoted(path.to_str().unwrap()));
        self.maybe("server_state_file", states);
        self.maybe("discovery.etcd", backend.discovery.as_deref().map(quoted));
        let timeout = &backend.timeout;
        self.key("timeout.connect", duration(timeout.connect));
        self.key("timeout.queue", duration(timeout.queue));
        self.key("timeout.client", duration(timeout.client.unwrap_or_default()));
        self.key("timeout.server", duration(timeout.server.unwrap_or_default()));
        self.maybe("timeout.tunnel", timeout.tunnel.map(duration));
        self.maybe("timeout.client_fin", timeout.client_fin.map(duration));
        self.maybe("timeout.server_fin", timeout.server_fin.map(duration));
        for server in &backend.servers {
            let mut own = Self(String::new(), ", ");
            if server.options != backend.options {
                own.options(&server.options);
            }
            let maxconn = server.maxconn.map(|n| format!("maxconn = {n}, ")).unwrap_or_default();
            let value = format!(
                "{{ addr = {}, weight = {}, {maxconn}backup = {}, {}disabled = {} }}",
                quoted(&server.addr.to_string()),
                server.weight,
                server.backup,
                own.0,
                server.disabled
            );
            self.key(&format!("servers.{}", quoted(&server.name)), value);
        }
    }

    fn options(&mut self, options: &ServerOptions) {
        self.key("observe", quoted(if options.observe { "layer4" } else { "none" }));
        let cut = if options.shutdown_sessions_when_down { "shutdown-sessions" } else { "none" };
        self.key("on_marked_down", quoted(cut));
        self.key("slowstart", duration(options.slowstart));
        self.key("send_proxy", proxy_word(options.send_proxy));
        self.key("error_limit", options.error_limit);
        self.key(
            "on_error",
            quoted(match options.on_error {
                OnError::FastInter => "fastinter",
                OnError::FailCheck => "fail-check",
                OnError::SuddenDeath => "sudden-death",
                OnError::MarkDown => "mark-down",
            }),
        );
        let cut = if options.shutdown_backups_when_up { "shutdown-backup-sessions" } else { "none" };
        self.key("on_marked_up", quoted(cut));
        match &options.agent {
            None => self.key("agent", false),
            Some(agent) => {
                self.key("agent.port", agent.port);
                self.maybe("agent.addr", agent.addr.map(|addr| quoted(&addr.to_string())));
                self.key("agent.inter", duration(agent.inter));
                self.maybe("agent.send", Some(&agent.send).filter(|send| !send.is_empty()).map(|send| quoted(send)));
            }
        }
        self.maybe("track", options.track.as_ref().map(|track| quoted(&track.to_string())));
        self.maybe("source", options.source.map(|addr| quoted(&addr.to_string())));
        self.maybe("resolvers", options.resolve.resolvers.as_deref().map(quoted));
        let prefer = options.resolve.prefer.map(|family| if family == Family::V4 { "ipv4" } else { "ipv6" });
        self.maybe("resolve_prefer", prefer.map(quoted));
        self.maybe("minconn", options.minconn.map(|n| n.to_string()));
        match &options.check {
            None => self.key("check", false),
            Some(check) => self.check(check),
        }
    }

    fn check(&mut self, check: &Check) {
        self.key("check.inter", duration(check.inter));
        self.key("check.fastinter", duration(check.fastinter));
        self.key("check.downinter", duration(check.downinter));
        self.key("check.rise", check.rise.get());
        self.key("check.fall", check.fall.get());
        self.key("check.timeout", duration(check.timeout));
        self.maybe("check.connect_timeout", check.connect_timeout.map(duration));
        self.maybe("check.port", check.port.map(|n| n.to_string()));
        self.maybe("check.addr", check.addr.map(|addr| quoted(&addr.to_string())));
        self.key("check.send_proxy", proxy_word(check.send_proxy));
        self.key(
            "check.init_state",
            quoted(match check.init_state {
                InitState::Up => "up",
                InitState::FullyUp => "fully-up",
                InitState::Down => "down",
                InitState::FullyDown => "fully-down",
            }),
        );
        match &check.kind {
            CheckKind::Tcp => self.key("check.type", quoted("tcp")),
            CheckKind::Http(http) => {
                self.key("check.type", quoted("http"));
                self.key("check.method", quoted(&http.method));
                self.key("check.path", quoted(&http.path));
                self.maybe("check.host", http.host.as_deref().map(quoted));
                let StatusRule::Among(status) = &http.status else { unreachable!("no other one is made") };
                let status: Vec<_> = status.iter().map(|(least, most)| format!("{least}-{most}")).collect();
                self.key("check.status", quoted(&status.join(",")));
            }
            CheckKind::External(_) => unreachable!("none is made"),
            CheckKind::Script(steps) => {
                self.key("check.type", quoted("script"));
                let steps: Vec<_> = steps.iter().map(step).collect();
                self.key("check.steps", format!("[{}]", steps.join(", ")));
            }
        }
    }
}

fn log_target(target: &LogTarget) -> String {
    let mut out = Text(String::new(), ", ");
    out.key(
        "to",
        quoted(&match &target.to {
            LogPlace::Stdout => "stdout".to_owned(),
            LogPlace::Stderr => "stderr".to_owned(),
            LogPlace::Descriptor(number) => format!("fd@{number}"),
            LogPlace::SyslogUnix(path) => path.display().to_string(),
            LogPlace::SyslogUdp(addr) => addr.to_string(),
        }),
    );
    let level = |level: u8| quoted(log_target::LEVELS[usize::from(level)].0);
    out.key("facility", quoted(log_target::FACILITIES[usize::from(target.facility)].0));
    out.key("level", level(target.level));
    out.key("min_level", level(target.min_level));
    out.maybe("length", target.length.map(|n| n.to_string()));
    let form = log_target::FORMS.iter().find(|(_, form)| *form == target.form).unwrap();
    out.key("format", quoted(form.0));
    out.maybe("tag", target.tag.as_deref().map(quoted));
    format!("{{ {} }}", out.0.trim_end_matches(", "))
}

fn bind_entry(entry: &BindEntry) -> String {
    let mut out = Text(String::new(), ", ");
    out.key("addr", quoted(&entry.bind.to_string()));
    out.maybe("interface", entry.interface.as_deref().map(quoted));
    out.maybe("name", entry.name.as_deref().map(quoted));
    out.key("accept_proxy", entry.accept_proxy);
    out.key("defer_accept", entry.defer_accept);
    out.key("v4v6", entry.v4v6);
    out.key("backlog", entry.backlog);
    out.maybe("maxconn", entry.maxconn.map(|n| n.to_string()));
    out.key("tfo", entry.tfo);
    out.maybe("user_timeout", entry.user_timeout.map(duration));
    out.access(&entry.access);
    format!("{{ {} }}", out.0.trim_end_matches(", "))
}

fn haproxy_socket(socket: &HaproxySocket) -> String {
    let mut out = Text(String::new(), ", ");
    match &socket.bind {
        Bind::Unix(path) => out.key("path", quoted(path.to_str().unwrap())),
        other => out.key("addr", quoted(&other.to_string())),
    }
    out.access(&socket.access);
    out.key("level", quoted(&socket.level.to_string()));
    format!("{{ {} }}", out.0.trim_end_matches(", "))
}

fn step(step: &ScriptStep) -> String {
    let text = |bytes: &[u8]| quoted(std::str::from_utf8(bytes).unwrap());
    let action = match &step.action {
        ScriptAction::Connect(None) => "connect = true".to_owned(),
        ScriptAction::Connect(Some(port)) => format!("connect = true, port = {port}"),
        ScriptAction::Send(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("send_hex = \"{hex}\"")
        }
        ScriptAction::Expect(answer) => {
            let said = |key: &str, text: &Option<String>| {
                text.as_ref().map(|text| format!(", {key} = {}", quoted(text))).unwrap_or_default()
            };
            let not = if answer.expectation.unwanted { "_not" } else { "" };
            let pattern = match &answer.expectation.pattern {
                Pattern::Bytes(bytes) => format!("expect{not} = {}", text(bytes)),
                Pattern::Regex(regex) => format!("expect{not}_regex = {}", quoted(regex.as_str())),
                Pattern::HexRegex(regex) => format!("expect{not}_hex_regex = {}", quoted(regex.as_str())),
            };
            let (error, success) = (said("on_error", &answer.on_error), said("on_success", &answer.on_success));
            format!("{pattern}, min_recv = {}{error}{success}", answer.min_recv)
        }
    };
    let comment = step.comment.as_ref().map(|text| format!(", comment = {}", quoted(text))).unwrap_or_default();
    format!("{{ {action}{comment} }}")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn duration(duration: Duration) -> String {
    if duration.is_zero() { quoted("0") } else { quoted(&humantime::format_duration(duration).to_string()) }
}

fn proxy_word(version: Option<ProxyVersion>) -> String {
    quoted(match version {
        None => "none",
        Some(ProxyVersion::V1) => "v1",
        Some(ProxyVersion::V2) => "v2",
    })
}
