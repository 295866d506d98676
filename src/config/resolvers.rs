//! `[resolvers.NAME]`: name servers that are asked instead of those of the machine.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::section::{Section, Shape, set};
use super::value::RawValue;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    pub name: String,
    /// Asked in this order; empty: those of the machine.
    pub nameservers: Vec<SocketAddr>,
    /// Questions to each of them, until it answers. Default 3.
    pub retries: usize,
    /// From one look-up of a name to the next. Default 1 s.
    pub timeout_resolve: Duration,
    /// For one question. Default 1 s.
    pub timeout_retry: Duration,
}

impl Resolvers {
    pub(super) fn read(name: &str, section: &Section<'_>) -> Self {
        let list = section.value("nameservers").map(|value| value.list());
        let nameservers = list.iter().flatten().filter_map(nameserver).collect();
        let second = Duration::from_secs(1);
        let mut resolvers =
            Self { name: name.to_owned(), nameservers, retries: 3, timeout_resolve: second, timeout_retry: second };
        set(&mut resolvers.retries, section.number("retries", 1..=100));
        set(&mut resolvers.timeout_resolve, section.duration("timeout_resolve", "write a time such as \"1s\""));
        set(&mut resolvers.timeout_retry, section.duration("timeout_retry", "write a time such as \"1s\""));
        resolvers
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["nameservers", "retries", "timeout_resolve", "timeout_retry"],
        foreign: &[
            ("nameserver", "write `nameservers = [\"127.0.0.11:53\"]`"),
            ("resolve_retries", "write `retries`"),
            ("parse_resolv_conf", "leave `nameservers` out, which are then those of /etc/resolv.conf"),
            ("hold_valid", HOLD),
            ("hold_obsolete", HOLD),
            ("hold_other", HOLD),
            ("hold_refused", HOLD),
            ("hold_nx", HOLD),
            ("hold_timeout", HOLD),
        ],
    };
}

fn nameserver(value: &RawValue<'_>) -> Option<SocketAddr> {
    let text = value.text("127.0.0.11:53")?;
    let ip = text.parse().map(|ip: IpAddr| (ip, 53).into());
    let addr = ip.or_else(|_| text.parse()).ok();
    if addr.is_none() {
        value.wrong("is no address of a name server; write e.g. \"127.0.0.11:53\"");
    }
    addr
}

const HOLD: &str = "leave it out: an address stays until the name has another one";
