//! `haproxy_socket`: where tools made for HAProxy ask, and what each of these places lets them do.

use std::fmt;

use super::bind::{self, Bind};
use super::section::{Section, Shape, set};
use super::socket_access::SocketAccess;
use super::value::RawValue;

/// A place where HAProxy's commands are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaproxySocket {
    /// An address, a path or an abstract name.
    pub bind: Bind,
    /// Of a unix socket.
    pub access: SocketAccess,
    pub level: SocketLevel,
}

/// What the clients of a socket may do. Each level may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SocketLevel {
    /// Read what is not sensitive.
    User,
    /// Read everything, clear maxima.
    #[default]
    Operator,
    /// Change everything.
    Admin,
}

impl fmt::Display for SocketLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl HaproxySocket {
    pub(super) fn read_all(section: &Section<'_>) -> Vec<Self> {
        let Some(value) = section.value("haproxy_socket") else {
            return Vec::new();
        };
        let mut sockets: Vec<Self> = Vec::new();
        for one in value.list() {
            let Some(socket) = Self::read(&one) else { continue };
            if sockets.iter().any(|other| other.bind == socket.bind) {
                one.wrong("is there twice; keep one of them");
                continue;
            }
            sockets.push(socket);
        }
        if sockets.len() > MOST {
            value.wrong(format!("names more than {MOST} places; write at most {MOST}"));
        }
        sockets
    }

    fn read(value: &RawValue<'_>) -> Option<Self> {
        let example = "{ path = \"/run/lb/haproxy.sock\", level = \"admin\" }";
        let section = value.section("global.haproxy_socket".to_owned(), &Self::SHAPE, example)?;
        let bind = match (section.value("path"), section.value("addr")) {
            (Some(path), None) => at_path(&path)?,
            (None, Some(addr)) => at_address(&addr)?,
            (Some(_), Some(addr)) => {
                addr.wrong_key("stands beside `path`; write two sockets");
                return None;
            }
            (None, None) => {
                section.absent(format!(
                    "[{}] has no `path` or `addr`; write `path = \"/run/lb/haproxy.sock\"` or `addr = \"127.0.0.1:1999\"`",
                    section.name()
                ));
                return None;
            }
        };
        let mut level = SocketLevel::default();
        set(&mut level, section.word("level", &LEVELS));
        Some(Self { bind, access: SocketAccess::read(&section), level })
    }

    pub(super) fn takes_any_port(&self) -> bool {
        matches!(self.bind, Bind::Address(addr) if addr.port() == 0)
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["path", "addr", "mode", "user", "group", "level"],
        foreign: &[
            ("uid", "write `user`"),
            ("gid", "write `group`"),
            ("expose_fd", "leave it out: lb hands its sockets over by itself"),
        ],
    };
}

fn at_path(value: &RawValue<'_>) -> Option<Bind> {
    let path = value.text("/run/lb/haproxy.sock")?;
    match bind::parse(&format!("unix@{path}")) {
        Ok(mut binds) => binds.pop(),
        Err(error) => {
            value.wrong(error);
            None
        }
    }
}

fn at_address(value: &RawValue<'_>) -> Option<Bind> {
    let text = value.text("127.0.0.1:1999")?;
    let binds = match bind::parse(text) {
        Ok(binds) => binds,
        Err(error) => {
            value.wrong(error);
            return None;
        }
    };
    match &binds[..] {
        [Bind::Address(_) | Bind::Abstract(_) | Bind::Unix(_)] => binds.into_iter().next(),
        [_] => {
            value.wrong("cannot be used here; write an address and a port, such as \"127.0.0.1:1999\"");
            None
        }
        _ => {
            value.wrong("is a range of ports; write one");
            None
        }
    }
}

const LEVELS: [(&str, SocketLevel); 3] =
    [("operator", SocketLevel::Operator), ("user", SocketLevel::User), ("admin", SocketLevel::Admin)];

const MOST: usize = 16;
