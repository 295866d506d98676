//! HAProxy's server state file, version 1: what the operator had asked of each server before a restart. It is the
//! answer to `show servers state`, and scripts save it before a reload; so drain, maint and weights survive a move to
//! `lb`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::config::{AdminState, SlowFile, Weight};

/// The servers of a file by backend and name; of several lines about one the last holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerStates {
    servers: BTreeMap<(String, String), StateLine>,
    /// The first line that says nothing of a server, from 1.
    pub(crate) broken: Option<usize>,
}

/// What a file says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateLine {
    /// Where the server was.
    pub(crate) addr: Option<SocketAddr>,
    admin: u32,
    weight: Weight,
    configured_weight: Weight,
}

/// Why a file says nothing at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatesError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is no regular file")]
    Irregular,
    #[error("it is no text")]
    Binary,
    #[error("it does not begin with the line `1`, as `show servers state` does")]
    Version,
}

impl ServerStates {
    pub(crate) fn load(path: &Path) -> Result<Self, StatesError> {
        let file = SlowFile::open(path)?;
        if !file.file().metadata()?.is_file() {
            return Err(StatesError::Irregular);
        }
        let text = String::from_utf8(file.read(MAX_FILE)?).map_err(|_| StatesError::Binary)?;
        Self::parse(&text)
    }

    /// Lines that cannot be understood are left out.
    fn parse(text: &str) -> Result<Self, StatesError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, version)| version.trim_end() != "1") {
            return Err(StatesError::Version);
        }
        let mut states = Self::default();
        for (number, line) in lines {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            if fields.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            match StateLine::read(&fields) {
                Some((name, state)) => _ = states.servers.insert(name, state),
                None => _ = states.broken.get_or_insert(number),
            }
        }
        Ok(states)
    }

    /// Backend, server, and what is said of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &StateLine)> {
        self.servers.iter().map(|((backend, server), state)| (backend.as_str(), server.as_str(), state))
    }
}

impl StateLine {
    /// The names of backend and server, and the rest. HAProxy 1.6 wrote 17 fields, later versions more at the end.
    fn read(fields: &[&str]) -> Option<((String, String), Self)> {
        let field = |index: usize| fields.get(index).copied();
        let weight = |index: usize| field(index)?.parse().ok().and_then(Weight::new);
        // The last field that every version has.
        field(LAST_FIELD)?;
        let port = field(PORT).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        let ip = field(ADDR)?.parse::<IpAddr>().ok();
        let state = Self {
            addr: ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port)),
            admin: field(ADMIN)?.parse().ok()?,
            weight: weight(USER_WEIGHT)?,
            configured_weight: weight(INITIAL_WEIGHT)?,
        };
        Some(((field(BACKEND)?.to_owned(), field(SERVER)?.to_owned()), state))
    }

    /// The administration that the server begins with. What the configuration said then counts no more than what it
    /// says now (`disabled`); what the operator said does.
    pub(crate) fn admin(&self, disabled: bool) -> AdminState {
        let has = |bit: u32| self.admin & bit != 0;
        match (has(FORCED_MAINT), has(CONFIGURED_MAINT)) {
            (true, false) => AdminState::Maint,
            (true, true) => AdminState::configured(disabled),
            // `disabled` was written since.
            (false, false) if disabled => AdminState::Maint,
            _ if has(FORCED_DRAIN) => AdminState::Drain,
            _ => AdminState::Ready,
        }
    }

    /// The weight that the operator gave at run time. `None`: none, or the configuration has another one now than then.
    pub(crate) fn weight(&self, configured: Weight) -> Option<Weight> {
        let is_given = self.weight != self.configured_weight && self.configured_weight == configured;
        is_given.then_some(self.weight)
    }
}

// Fields, from 0.
const BACKEND: usize = 1;
const SERVER: usize = 3;
const ADDR: usize = 4;
const ADMIN: usize = 6;
const USER_WEIGHT: usize = 7;
const INITIAL_WEIGHT: usize = 8;
const LAST_FIELD: usize = 16;
const PORT: usize = 18;

// Bits of the administration. Those that a tracked server or a name without an address sets are found out anew.
const FORCED_MAINT: u32 = 1;
const CONFIGURED_MAINT: u32 = 4;
const FORCED_DRAIN: u32 = 8;

/// A line of 200 bytes for each server of many backends is far below.
const MAX_FILE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'s>(states: &'s ServerStates, server: &str) -> &'s StateLine {
        states.iter().find(|(_, name, _)| *name == server).unwrap().2
    }

    fn states(lines: &str) -> ServerStates {
        ServerStates::parse(&format!("1\n# be_id be_name srv_id srv_name …\n{lines}\n")).unwrap()
    }

    #[test]
    fn lines_of_haproxy_2_6_are_understood() {
        let states = states(
            "3 app 1 drain 127.0.0.1 2 8 1 1 6 1 0 2 0 0 0 0 - 7402 - 0 0 - - 0\n\
             3 app 2 v6 2001:db8::1 0 1 20 7 5 1 0 0 0 0 0 0 h.example 80 - 0 0 - - 0\n\
             3 app 3 unix - 2 0 0 5 10 1 0 2 0 0 0 0 - 0 - 0 0 - - 0\n",
        );
        let all: Vec<_> = states.iter().map(|(backend, server, state)| (backend, server, state.addr)).collect();
        let addr = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            all,
            [("app", "drain", addr("127.0.0.1:7402")), ("app", "unix", None), ("app", "v6", addr("[2001:db8::1]:80"))]
        );
        assert_eq!(states.broken, None);
        let weight =
            |server: &str, configured| of(&states, server).weight(Weight::new(configured).unwrap()).map(Weight::get);
        assert_eq!(
            [weight("drain", 1), weight("v6", 7), weight("v6", 8), weight("unix", 5)],
            [None, Some(20), None, Some(0)]
        );
    }

    /// As HAProxy 2.6 answers for each, but that it keeps one DOWN that is not `disabled` any more and not checked.
    #[test]
    fn what_the_operator_said_holds_and_what_the_configuration_said_does_not() {
        use AdminState::{Drain, Maint, Ready};
        let table = [
            (0, false, Ready),
            (0, true, Maint),
            (1, false, Maint),
            (1, true, Maint),
            (4, false, Ready),
            (4, true, Ready),
            (5, false, Ready),
            (5, true, Maint),
            (8, false, Drain),
            (8, true, Maint),
            (12, false, Drain),
            (12, true, Drain),
            (2 | 16 | 32 | 64, false, Ready),
        ];
        for (admin, disabled, expected) in table {
            let line = format!("3 b 1 s 127.0.0.1 2 {admin} 1 1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0");
            let states = states(&line);
            assert_eq!(of(&states, "s").admin(disabled), expected, "{admin} {disabled}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused_and_a_broken_line_left_out() {
        for text in ["", "2\n", "be_id\n", "\n1\n", "{}"] {
            assert!(matches!(ServerStates::parse(text), Err(StatesError::Version)), "{text}");
        }
        let good = "3 b 1 s 127.0.0.1 2 8 1 1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0";
        for bad in [
            "3 b 1 s",
            "3 b 1 s 127.0.0.1 2 x 1 1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0",
            "3 b 1 s 127.0.0.1 2 0 300 1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0",
            "3 b 1 s 127.0.0.1 2 0 1 -1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0",
        ] {
            let states = states(&format!("{bad}\n{good}"));
            assert_eq!((states.broken, states.iter().count()), (Some(3), 1), "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ServerStates::load(dir.path()), Err(StatesError::Irregular | StatesError::Read(_))));
        assert!(matches!(ServerStates::load(Path::new("/dev/zero")), Err(StatesError::Irregular)));
        assert!(matches!(ServerStates::load(&dir.path().join("no")), Err(StatesError::Read(_))));
        std::fs::write(dir.path().join("binary"), b"1\n\xff\n").unwrap();
        assert!(matches!(ServerStates::load(&dir.path().join("binary")), Err(StatesError::Binary)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in proptest::arbitrary::any::<String>(), fields in "[0-9a-z. -]{0,200}") {
            _ = ServerStates::parse(&text);
            let states = ServerStates::parse(&format!("1\n{fields}\n{text}"));
            proptest::prop_assert!(states.is_ok());
        }
    }
}
