//! `[etcd]`: where discovered servers come from.

use std::path::PathBuf;
use std::time::Duration;

use super::Address;
use super::section::{Section, Shape, set};
use super::value::RawValue;

#[derive(Debug, Clone, PartialEq)]
pub struct Etcd {
    pub endpoints: Vec<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// How long a change that would take away most servers is held back. 0: never. Default 30 s.
    pub guard_delay: Duration,
}

impl Etcd {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let endpoints = section.required("endpoints", "[\"http://127.0.0.1:2379\"]");
        let endpoints = endpoints.map_or_else(Vec::new, |value| value.list());
        if let Some(value) = section.value("endpoints")
            && endpoints.is_empty()
        {
            value.wrong("names no endpoint; write [\"http://127.0.0.1:2379\"]");
        }
        let path = |key, example| section.value(key).and_then(|value| value.path(example));
        let mut etcd = Self {
            endpoints: endpoints.iter().filter_map(endpoint).collect(),
            username: section.filled_text("username", "lb").map(str::to_owned),
            password_file: path("password_file", "/etc/lb/etcd.password"),
            ca: path("ca", "/etc/lb/etcd-ca.pem"),
            cert: path("cert", "/etc/lb/etcd.pem"),
            key: path("key", "/etc/lb/etcd.key"),
            guard_delay: DEFAULT_GUARD_DELAY,
        };
        set(&mut etcd.guard_delay, section.delay("guard_delay"));
        for (one, other, example) in TOGETHER {
            if let (Some(value), None) = (section.value(one), section.value(other)) {
                value.wrong_key(format!("needs `{other}` beside it; write `{other} = \"{example}\"`"));
            }
        }
        if let Some(tls) = ["ca", "cert", "key"].into_iter().find(|key| section.value(key).is_some()) {
            for endpoint in &endpoints {
                if endpoint.plain_text().is_some_and(|text| text.starts_with(PLAIN)) {
                    endpoint.wrong(format!("is not encrypted, so `{tls}` has no use; write https://"));
                }
            }
        }
        etcd
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["endpoints", "username", "password_file", "ca", "cert", "key", "guard_delay"],
        foreign: &[
            ("password", "put it into a file and write `password_file = \"/etc/lb/etcd.password\"`"),
            ("user", "write `username`"),
            ("hosts", "write `endpoints`"),
            ("urls", "write `endpoints`"),
            ("cacert", "write `ca`"),
            ("prefix", "write `discovery = { etcd = \"/app/servers/\" }` in [backend.NAME]"),
        ],
    };
}

fn endpoint(value: &RawValue<'_>) -> Option<String> {
    let text = value.text("http://127.0.0.1:2379")?;
    let Some(host) = text.strip_prefix(PLAIN).or_else(|| text.strip_prefix(ENCRYPTED)) else {
        value.wrong("has no scheme; write it as \"http://HOST:2379\" or \"https://HOST:2379\"");
        return None;
    };
    match host.strip_suffix('/').unwrap_or(host).parse::<Address>() {
        Ok(Address::Ip(_) | Address::Host(..)) => Some(text.to_owned()),
        Ok(Address::Unix(_)) | Err(_) => {
            value.wrong("is no endpoint of etcd; write it as \"http://HOST:2379\"");
            None
        }
    }
}

const DEFAULT_GUARD_DELAY: Duration = Duration::from_secs(30);
const PLAIN: &str = "http://";
const ENCRYPTED: &str = "https://";

/// A key, the one it makes no sense without, and how that is written.
const TOGETHER: [(&str, &str, &str); 4] = [
    ("cert", "key", "/etc/lb/etcd.key"),
    ("key", "cert", "/etc/lb/etcd.pem"),
    ("username", "password_file", "/etc/lb/etcd.password"),
    ("password_file", "username", "lb"),
];
