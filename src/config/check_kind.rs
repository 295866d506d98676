//! `type` of a check, and the keys that belong to one type only.

use super::external_check::ExternalCheck;
use super::http_check::HttpCheck;
use super::protocol_check;
use super::script::{self, ScriptStep};
use super::section::Section;

#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    Tcp,
    Http(Box<HttpCheck>),
    /// A script of the file, or the one of a protocol.
    Script(Vec<ScriptStep>),
    External(ExternalCheck),
}

impl CheckKind {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let kind = match section.value("type") {
            Some(value) => value.word(&TYPES)?,
            None => Type::Tcp,
        };
        for (types, keys) in KEYS_OF_TYPES.iter().filter(|(types, _)| !types.contains(&kind)) {
            let names: Vec<_> = TYPES.iter().filter(|(_, one)| types.contains(one)).map(|(name, _)| *name).collect();
            let name = names.join("\" or \"");
            for value in keys.iter().filter_map(|key| section.value(key)) {
                value.wrong_key(format!("belongs to another type of check; write `type = \"{name}\"` beside it"));
            }
        }
        let user = || section.filled_text("user", "lb");
        Some(match kind {
            Type::Tcp => Self::Tcp,
            Type::Http => Self::Http(Box::new(HttpCheck::read(section))),
            Type::Script => {
                let steps = section.required("steps", "[{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]");
                Self::Script(steps.map_or_else(Vec::new, |value| script::read(&value, &section.path("steps"))))
            }
            Type::Mysql => Self::Script(protocol_check::mysql(user())),
            Type::Pgsql => Self::Script(protocol_check::pgsql(user().unwrap_or("lb"))),
            Type::Redis => Self::Script(protocol_check::redis()),
            Type::Smtp => Self::Script(protocol_check::smtp(section.filled_text("hello", "HELO localhost"))),
            Type::Ldap => Self::Script(protocol_check::ldap()),
            Type::SslHello => Self::Script(protocol_check::ssl_hello()),
            Type::External => Self::External(ExternalCheck::read(section)?),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Tcp,
    Http,
    Script,
    Mysql,
    Pgsql,
    Redis,
    Smtp,
    Ldap,
    SslHello,
    External,
}

const TYPES: [(&str, Type); 10] = [
    ("tcp", Type::Tcp),
    ("http", Type::Http),
    ("script", Type::Script),
    ("mysql", Type::Mysql),
    ("pgsql", Type::Pgsql),
    ("redis", Type::Redis),
    ("smtp", Type::Smtp),
    ("ldap", Type::Ldap),
    ("ssl-hello", Type::SslHello),
    ("external", Type::External),
];

const KEYS_OF_TYPES: &[(&[Type], &[&str])] = &[
    (&[Type::Http], HttpCheck::KEYS),
    (&[Type::Script], &["steps"]),
    (&[Type::Mysql, Type::Pgsql], &["user"]),
    (&[Type::Smtp], &["hello"]),
    (&[Type::External], ExternalCheck::KEYS),
];
