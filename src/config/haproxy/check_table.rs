//! How the checks of a backend and of its servers are written: what all checked servers say alike stands once.

use super::fate::Fates;
use super::proxy::{Proxy, ServerLine};
use super::server_arguments::{CHECK_PROXY, CHECK_TLS, NO_PORT};
use super::setting::{Settings, duration, millis, quoted};

/// Moves what is said about checks to where TOML has it.
pub(super) fn settle(proxy: &Proxy, back: &mut Settings, servers: &mut [ServerLine], fates: &mut Fates) {
    for server in servers.iter_mut() {
        let flag = server.settings.remove("check");
        // The health of a tracked server is that of another.
        let checked = flag.is_some() && server.settings.get("track").is_none();
        if !checked {
            server.settings.retain(|setting| !setting.key.starts_with("check."));
            if server.settings.get("track").is_none() {
                server.settings.set("check", "false", server.at);
            }
            continue;
        }
        begins_with_proxy(server);
        begins_with_tls(server);
        let asks_elsewhere = server.settings.get("check.port").is_some() || proxy.check.asks_port();
        if server.settings.get(NO_PORT).is_some() && !asks_elsewhere {
            let reason =
                format!("proxy '{}': server '{}' has neither service port nor check port", proxy.name, server.name);
            fates.error(server.at, reason, "add `port N`, or leave out `check`");
        }
    }
    if servers.iter().all(|server| server.settings.says("check", "false")) {
        servers.iter_mut().for_each(|server| drop(server.settings.remove("check")));
        back.set("check", "false", proxy.at);
        return;
    }
    write_kind(proxy, back);
    errors_before_a_check(servers);
    let keys: Vec<&'static str> =
        servers.iter().flat_map(|server| server.settings.iter()).map(|setting| setting.key).collect();
    for key in keys.into_iter().filter(|key| key.starts_with("check.")) {
        hoist(key, back, servers);
    }
    bound_the_connect(back, servers);
}

/// HAProxy looks at live connects after ten errors in a row, lb after one.
fn errors_before_a_check(servers: &mut [ServerLine]) {
    for settings in servers.iter_mut().map(|server| &mut server.settings) {
        if let Some(at) =
            settings.get("observe").filter(|setting| setting.value == "\"layer4\"").map(|setting| setting.at)
        {
            settings.fill("error_limit", "10", at);
        }
    }
}

/// With `timeout check`, HAProxy bounds the connect by the lesser of `timeout connect` and the interval.
fn bound_the_connect(back: &mut Settings, servers: &[ServerLine]) {
    let ms = |settings: &Settings, key: &str| settings.get(key).and_then(|setting| millis(&setting.value));
    if let Some(at) = back.get("timeout.check").map(|setting| setting.at) {
        // Where they differ, the longest one, which fails no check that HAProxy would pass.
        let longest = || servers.iter().filter_map(|server| ms(&server.settings, "check.inter")).max();
        let inter = ms(back, "check.inter").or_else(longest).unwrap_or(2_000);
        let connect = ms(back, "timeout.connect").map_or(inter, |connect| connect.min(inter));
        back.set("check.connect_timeout", duration(connect), at);
    }
}

fn is_checked(server: &ServerLine) -> bool {
    !server.settings.says("check", "false") && server.settings.get("track").is_none()
}

fn hoist(key: &'static str, back: &mut Settings, servers: &mut [ServerLine]) {
    let mut checked = servers.iter().filter(|server| is_checked(server));
    let Some(first) = checked.next().and_then(|server| server.settings.get(key)).cloned() else {
        return;
    };
    if checked.all(|server| server.settings.says(key, &first.value)) {
        back.set(key, first.value, first.at);
        servers.iter_mut().for_each(|server| drop(server.settings.remove(key)));
    }
}

/// `check-send-proxy`: the header of the sessions, or the first version.
fn begins_with_proxy(server: &mut ServerLine) {
    if let Some(mark) = server.settings.get(CHECK_PROXY).cloned() {
        let version = server.settings.get("send_proxy").map_or_else(|| quoted("v1"), |setting| setting.value.clone());
        server.settings.set("check.send_proxy", version, mark.at);
    }
}

/// `check-ssl`: a TLS greeting is the only check that speaks TLS.
fn begins_with_tls(server: &mut ServerLine) {
    if let Some(mark) = server.settings.get(CHECK_TLS).cloned() {
        server.settings.set("check.type", quoted("ssl-hello"), mark.at);
    }
}

/// The kind of the backend's checks, and what belongs to it.
fn write_kind(proxy: &Proxy, back: &mut Settings) {
    let Some((kind, at)) = proxy.check.kind else {
        return;
    };
    if kind == "script" && proxy.check.steps.is_empty() {
        return;
    }
    back.set("check.type", quoted(kind), at);
    for setting in proxy.check.settings.iter().filter(|setting| belongs(kind, setting.key)) {
        back.set(setting.key, setting.value.clone(), setting.at);
    }
    if kind == "script" {
        let steps: Vec<_> = proxy.check.steps.iter().map(|(step, _)| step.as_str()).collect();
        let first = proxy.check.steps.first().map_or(at, |(_, at)| *at);
        back.set("check.steps", format!("[{}]", steps.join(", ")), first);
    }
}

fn belongs(kind: &str, key: &str) -> bool {
    match kind {
        "http" => !["check.user", "check.hello", "check.command", "check.env_path"].contains(&key),
        "mysql" | "pgsql" => key == "check.user",
        "smtp" => key == "check.hello",
        "external" => ["check.command", "check.env_path"].contains(&key),
        _ => false,
    }
}
