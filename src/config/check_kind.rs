//! `type` of a check, and the keys that belong to one type only.

use super::script::{self, ScriptStep};
use super::section::Section;
use super::status;

#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    Tcp,
    Http {
        /// Default `GET`.
        method: String,
        /// Default `/`.
        path: String,
        /// Host header. `None`: the server's address.
        host: Option<String>,
        /// Expected status codes, inclusive ranges. Default 200–399, as HAProxy.
        status: Vec<(u16, u16)>,
    },
    Script(Vec<ScriptStep>),
}

impl CheckKind {
    pub(super) fn has(kind: &str) -> bool {
        TYPES.iter().any(|(name, _)| *name == kind)
    }

    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let kind = match section.value("type") {
            Some(value) => value.word(&TYPES)?,
            None => Type::Tcp,
        };
        for (of, name, keys) in KEYS_OF_TYPES {
            if *of != kind {
                for value in keys.iter().filter_map(|key| section.value(key)) {
                    value.wrong_key(format!("belongs to another type of check; write `type = \"{name}\"` beside it"));
                }
            }
        }
        match kind {
            Type::Tcp => Some(Self::Tcp),
            Type::Http => Some(Self::read_http(section)),
            Type::Script => {
                let steps = section.required("steps", "[{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]");
                Some(Self::Script(steps.map_or_else(Vec::new, |value| script::read(&value, &section.path("steps")))))
            }
        }
    }

    fn read_http(section: &Section<'_>) -> Self {
        let word = |key: &str, example: &str, fits: fn(&str) -> bool| {
            let value = section.value(key)?;
            let text = value.filled_text(example)?;
            if !fits(text) {
                value.wrong(format!("cannot stand in an HTTP request; write e.g. \"{example}\""));
                return None;
            }
            Some(text.to_owned())
        };
        let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        Self::Http {
            method: word("method", "GET", |text| text.bytes().all(|b| b.is_ascii_uppercase()))
                .unwrap_or_else(|| "GET".to_owned()),
            path: word("path", "/ping", |text| text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()))
                .unwrap_or_else(|| "/".to_owned()),
            host: word("host", "www.example.org", visible),
            status: section.value("status").map_or_else(|| vec![status::DEFAULT], |value| status::read(&value)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Tcp,
    Http,
    Script,
}

const TYPES: [(&str, Type); 3] = [("tcp", Type::Tcp), ("http", Type::Http), ("script", Type::Script)];

const KEYS_OF_TYPES: &[(Type, &str, &[&str])] =
    &[(Type::Http, "http", &["method", "path", "host", "status"]), (Type::Script, "script", &["steps"])];
