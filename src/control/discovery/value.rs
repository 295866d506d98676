//! One key of a source: its name and its value, made a server.
//!
//! A value is `host:port`, as it is written for HAProxy through confd, the same as a JSON text, or a JSON object with
//! `addr`, `weight`, `maxconn`, `backup` and `drain`. What is written by others is never trusted: everything has a
//! bound, and a unix socket is refused, since the writer of a key must not reach the sockets of this machine.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::{Address, AddressError, Weight};

/// The servers of one backend by name.
pub type Servers = BTreeMap<String, Discovered>;

/// A server as a source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Discovered {
    pub addr: Address,
    /// 0–256; 0: no new sessions.
    pub weight: Weight,
    /// Sessions at once. `None`: no limit (also written 0, as in HAProxy).
    pub maxconn: Option<u32>,
    /// Used only when no other server is usable.
    pub backup: bool,
    /// It is about to leave: no new sessions, and its departure is never held.
    pub drain: bool,
}

/// Why a key is no server name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("the key ends with the prefix: there is no server name")]
    Empty,
    #[error("the server name has more than {MAX_NAME} characters")]
    TooLong,
    #[error("`{0}` cannot be in a server name: letters, digits and `_.:-` can")]
    BadCharacter(String),
    #[error("the key is not UTF-8")]
    NotText,
}

/// Why a value is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("the value is not UTF-8")]
    NotText,
    #[error("the value has more than {MAX_VALUE} bytes")]
    TooLong,
    #[error("the value is empty")]
    Empty,
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("a unix socket can only be named in the configuration file")]
    Unix,
    #[error("not JSON: {0}")]
    Json(String),
    #[error("`addr` is missing")]
    NoAddr,
    #[error("`{field}` must be {wanted}")]
    BadField { field: &'static str, wanted: &'static str },
}

impl Discovered {
    /// A server with every default.
    pub fn new(addr: Address) -> Self {
        Self { addr, weight: Weight::default(), maxconn: None, backup: false, drain: false }
    }

    /// Reads a value; also returns how many JSON fields were not understood and therefore ignored.
    pub fn parse(value: &[u8]) -> Result<(Self, usize), ValueError> {
        if value.len() > MAX_VALUE {
            return Err(ValueError::TooLong);
        }
        let text = std::str::from_utf8(value).map_err(|_| ValueError::NotText)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(ValueError::Empty);
        }
        if text.starts_with('{') {
            return parse_json(text);
        }
        if text.starts_with('"') {
            let text: String = serde_json::from_str(text).map_err(|error| ValueError::Json(error.to_string()))?;
            return Ok((Self::new(parse_addr(text.trim())?), 0));
        }
        Ok((Self::new(parse_addr(text)?), 0))
    }
}

/// The server name in `key`, which is known to begin with the prefix of `prefix_len` bytes.
pub(super) fn name_of(key: &[u8], prefix_len: usize) -> Result<String, NameError> {
    let rest = key.get(prefix_len..).unwrap_or_default();
    let name = std::str::from_utf8(rest).map_err(|_| NameError::NotText)?;
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    match name.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(NameError::BadCharacter(c.escape_debug().to_string())),
        None => Ok(name.to_owned()),
    }
}

fn parse_addr(text: &str) -> Result<Address, ValueError> {
    match text.parse()? {
        Address::Unix(_) => Err(ValueError::Unix),
        addr => Ok(addr),
    }
}

fn parse_json(text: &str) -> Result<(Discovered, usize), ValueError> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| ValueError::Json(error.to_string()))?;
    let mut addr = None;
    let mut server = Discovered::new(Address::Host(String::new(), 0));
    let mut ignored = 0;
    for (field, value) in &object {
        match field.as_str() {
            "addr" | "weight" | "maxconn" | "backup" | "drain" if is_not_given(value) => {}
            "addr" => addr = Some(parse_addr(text_of(value)?.trim())?),
            "weight" => server.weight = weight_of(value)?,
            "maxconn" => server.maxconn = maxconn_of(value)?,
            "backup" => server.backup = flag_of("backup", value)?,
            "drain" => server.drain = flag_of("drain", value)?,
            _ => ignored += 1,
        }
    }
    server.addr = addr.ok_or(ValueError::NoAddr)?;
    Ok((server, ignored))
}

fn text_of(value: &Value) -> Result<&str, ValueError> {
    value.as_str().ok_or(ValueError::BadField { field: "addr", wanted: "a text like \"10.0.0.1:8000\"" })
}

/// As tools write an optional field that has no value.
fn is_not_given(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A whole number, also as `5.0` and `"5"`, which some languages make of it.
fn number_of(value: &Value) -> Option<u64> {
    let whole = |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
    let text = || value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|number| number as u64)).or_else(text)
}

fn weight_of(value: &Value) -> Result<Weight, ValueError> {
    number_of(value)
        .and_then(|weight| u16::try_from(weight).ok())
        .and_then(Weight::new)
        .ok_or(ValueError::BadField { field: "weight", wanted: "a whole number from 0 to 256" })
}

fn maxconn_of(value: &Value) -> Result<Option<u32>, ValueError> {
    let limit = number_of(value).and_then(|limit| u32::try_from(limit).ok());
    let limit =
        limit.ok_or(ValueError::BadField { field: "maxconn", wanted: "a whole number from 0 to 4294967295" })?;
    Ok((limit > 0).then_some(limit))
}

fn flag_of(field: &'static str, value: &Value) -> Result<bool, ValueError> {
    let text = || value.as_str().and_then(|text| text.trim().parse().ok());
    let number = || number_of(value).filter(|number| *number <= 1).map(|number| number == 1);
    value.as_bool().or_else(text).or_else(number).ok_or(ValueError::BadField { field, wanted: "true or false" })
}

/// The longest server name.
const MAX_NAME: usize = 128;

/// The longest value in bytes: a server takes about a hundred; a watch message may carry 4 MiB in all.
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(value: &str) -> Discovered {
        Discovered::parse(value.as_bytes()).unwrap().0
    }

    fn reason(value: &str) -> String {
        Discovered::parse(value.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn plain_values_are_host_and_port() {
        assert_eq!(ok("172.17.0.5:8000").addr.to_string(), "172.17.0.5:8000");
        assert_eq!(ok("  app1:8000\n").addr.to_string(), "app1:8000");
        assert_eq!(ok("[::1]:80").addr.to_string(), "[::1]:80");
    }

    #[test]
    fn json_values_give_every_field() {
        let server = ok(r#" {"addr":"10.0.0.1:80","weight":5,"maxconn":7,"backup":true,"drain":true} "#);
        assert_eq!((server.weight.get(), server.maxconn, server.backup, server.drain), (5, Some(7), true, true));
        assert_eq!(ok(r#"{"addr":"10.0.0.1:80","maxconn":0}"#).maxconn, None);
        assert_eq!(ok(r#"{"addr":"10.0.0.1:80"}"#).weight.get(), 1);
    }

    #[test]
    fn values_are_taken_as_other_tools_write_them() {
        let plain = ok("10.0.0.1:80");
        for value in [
            "\u{feff}10.0.0.1:80\r\n",
            r#"{"addr":"10.0.0.1:80","weight":null,"maxconn":null,"backup":null,"drain":null}"#,
            r#"{"addr":" 10.0.0.1:80\n","weight":"","maxconn":"","backup":"","drain":""}"#,
            r#"{"addr":"10.0.0.1:80","weight":"1","maxconn":"0","backup":"false"}"#,
            r#"{"addr":"10.0.0.1:80","weight":1.0,"maxconn":0.0}"#,
            r#"{"addr":"10.0.0.1:80","backup":0,"drain":"0"}"#,
            " \"10.0.0.1:80\"\n",
        ] {
            assert_eq!(ok(value), plain, "{value}");
        }
        assert!(ok(r#"{"addr":"10.0.0.1:80","backup":1}"#).backup);
        assert_eq!(ok(r#"{"addr":"10.0.0.1:80","weight":"7","maxconn":100.0}"#).weight.get(), 7);
    }

    #[test]
    fn unknown_json_fields_are_ignored_and_counted() {
        let value = br#"{"addr":"10.0.0.1:80","zone":"a","weight":2,"x":{"y":[1]}}"#;
        let (server, ignored) = Discovered::parse(value).unwrap();
        assert_eq!((server.weight.get(), ignored), (2, 2));
    }

    #[test]
    fn bad_values_say_why() {
        let table = [
            ("", "empty"),
            ("app1", "no port"),
            ("app1:0", "not a number from 1 to 65535"),
            ("300.1.1.1:80", "neither"),
            ("unix@/run/docker.sock", "unix socket"),
            (r#"{"addr":"unix@/run/docker.sock"}"#, "unix socket"),
            (r#"{"weight":1}"#, "`addr` is missing"),
            (r#"{"addr":null}"#, "`addr` is missing"),
            (r#"{"addr":1}"#, "`addr` must be"),
            (r#"{"addr":"a:1","weight":"many"}"#, "`weight` must be"),
            (r#"{"addr":"a:1","weight":[]}"#, "`weight` must be"),
            (r#"{"addr":"a:1","weight":257}"#, "`weight` must be"),
            (r#"{"addr":"a:1","weight":-1}"#, "`weight` must be"),
            (r#"{"addr":"a:1","weight":1.5}"#, "`weight` must be"),
            (r#"{"addr":"a:1","backup":"yes"}"#, "`backup` must be"),
            (r#"{"addr":"a:1","backup":2}"#, "`backup` must be"),
            ("\"unix@/run/docker.sock\"", "unix socket"),
            ("\"10.0.0.1:80", "not JSON"),
            (r#"{"addr":"a:1","drain":"soon"}"#, "`drain` must be"),
            (r#"{"addr":"a:1","#, "not JSON"),
        ];
        for (value, expected) in table {
            let reason = reason(value);
            assert!(reason.contains(expected), "{value}: {reason}");
        }
        assert_eq!(Discovered::parse(&[0xff]).unwrap_err(), ValueError::NotText);
        assert_eq!(Discovered::parse(&[b'a'; MAX_VALUE + 1]).unwrap_err(), ValueError::TooLong);
        // Deep nesting ends in an error, not in a stack overflow.
        let deep = format!("{{\"x\":{}", "[".repeat(4000));
        assert!(reason(&deep).contains("not JSON"));
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(name_of(b"/p/app-1.a:b_C", 3).unwrap(), "app-1.a:b_C");
        assert_eq!(name_of(b"/p/", 3), Err(NameError::Empty));
        assert_eq!(name_of(b"/p/a/b", 3), Err(NameError::BadCharacter("/".into())));
        assert_eq!(name_of(b"/p/a\n", 3), Err(NameError::BadCharacter("\\n".into())));
        assert_eq!(name_of(b"/p/\xff", 3), Err(NameError::NotText));
        let long = [b"/p/".as_slice(), &[b'a'; 129]].concat();
        assert_eq!(name_of(&long, 3), Err(NameError::TooLong));
        assert!(name_of(&long[..131], 3).is_ok());
    }
}
