//! The answer of `lb status --json`, read by the names of the documentation.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Status(Value);

/// One entry of the status: a frontend, a backend or a server.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Value);

impl Status {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("status is no JSON: {error}: {text}")))
    }

    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        Entry(self.0.clone()).number(key)
    }

    /// Whether an upgrade is under way.
    pub(crate) fn upgrading(&self) -> bool {
        !self.0["upgrade"].is_null()
    }

    #[track_caller]
    pub(crate) fn frontend(&self, name: &str) -> Entry {
        named(&self.0["frontends"], name)
    }

    /// The name of the only frontend.
    #[track_caller]
    pub(crate) fn only_frontend(&self) -> String {
        let frontends = self.0["frontends"].as_array().expect("a list of frontends");
        assert_eq!(frontends.len(), 1);
        Entry(frontends[0].clone()).text("name")
    }

    #[track_caller]
    pub(crate) fn backend(&self, name: &str) -> Entry {
        named(&self.0["backends"], name)
    }

    /// `backend/server`.
    #[track_caller]
    pub(crate) fn server(&self, path: &str) -> Entry {
        let (backend, server) = path.split_once('/').expect("written backend/server");
        named(&self.backend(backend).0["servers"], server)
    }

    /// Everything that only grows, by its place.
    pub(crate) fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        add_totals(&mut totals, "all", &self.0);
        for kind in ["frontends", "backends"] {
            for entry in self.0[kind].as_array().expect("a list") {
                let place = format!("{kind} {}", entry["name"]);
                add_totals(&mut totals, &place, entry);
                for server in entry["servers"].as_array().into_iter().flatten() {
                    add_totals(&mut totals, &format!("{place} {}", server["name"]), server);
                }
            }
        }
        totals
    }

    /// Names of the backend's servers, in order.
    #[track_caller]
    pub(crate) fn servers(&self, backend: &str) -> Vec<String> {
        let backend = self.backend(backend);
        let servers = backend.0["servers"].as_array().expect("a list of servers");
        servers.iter().map(|server| Entry(server.clone()).text("name")).collect()
    }

    /// Check results of all the backend's servers that are still remembered.
    pub(crate) fn check_results(&self, backend: &str) -> usize {
        let backend = self.backend(backend);
        let servers = backend.0["servers"].as_array().expect("a list of servers");
        servers.iter().filter_map(|server| server.pointer("/check/last")?.as_array()).map(Vec::len).sum()
    }

    /// Addresses the frontend is bound to (port 0 asked for a free one).
    #[track_caller]
    pub(crate) fn bound(&self, frontend: &str) -> Vec<SocketAddr> {
        let frontend = self.frontend(frontend);
        let binds = frontend.0["bind"].as_array().expect("a list of addresses");
        binds.iter().map(|bind| bind.as_str().unwrap().parse().unwrap()).collect()
    }
}

impl Entry {
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("no number `{key}` in {}", self.0))
    }

    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {}", self.0)).to_owned()
    }

    /// A field of a backend's discovery.
    pub(crate) fn discovery(&self, key: &str) -> Value {
        self.0["discovery"][key].clone()
    }

    /// A server's last check results, the newest first: (passed, cause, age in ms).
    #[track_caller]
    pub(crate) fn checks(&self) -> Vec<(bool, String, u64)> {
        let last = self.0.pointer("/check/last").and_then(Value::as_array).expect("a list of results");
        last.iter()
            .map(|result| {
                let result = Self(result.clone());
                (result.0["ok"] == true, result.text("cause"), result.number("age_ms"))
            })
            .collect()
    }

    /// A part of the entry, of any type.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }
}

fn add_totals(totals: &mut BTreeMap<String, u64>, place: &str, entry: &Value) {
    for key in [
        "sessions_total",
        "arrivals",
        "bytes_in",
        "bytes_out",
        "connects",
        "connect_errors",
        "retries",
        "redispatches",
        "picks",
        "failed",
        "client_aborts",
        "server_aborts",
        "sessions_max",
        "rate_max",
    ] {
        totals.extend(entry[key].as_u64().map(|total| (format!("{place} {key}"), total)));
    }
}

#[track_caller]
fn named(list: &Value, name: &str) -> Entry {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = entries.iter().find(|entry| entry["name"] == name);
    Entry(found.unwrap_or_else(|| panic!("no `{name}` in {list}")).clone())
}
