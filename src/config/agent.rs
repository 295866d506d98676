//! `agent`: a program beside a server that says how the server is.

use std::net::IpAddr;
use std::time::Duration;

use super::section::{Shape, set};
use super::value::RawValue;

/// How the agent of a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub port: u16,
    /// Asked instead of the server's own address.
    pub addr: Option<IpAddr>,
    /// From one question to the next, and at most for one answer. Default 2 s.
    pub inter: Duration,
    /// Sent before the answer is read. Default: nothing.
    pub send: String,
}

impl Agent {
    /// `own` is what a server says, `above` what its backend says for all of them. `None`: it has none.
    pub(super) fn layered(own: Option<RawValue<'_>>, above: Option<RawValue<'_>>, path: &str) -> Option<Self> {
        let value = own.or(above)?;
        if value.plain_flag() == Some(false) {
            return None;
        }
        let section = value.section(path.to_owned(), &Self::SHAPE, "agent = { port = 9999 }` or `agent = false")?;
        let above = above.filter(RawValue::is_table).and_then(|above| above.names(String::new(), ""));
        let table = above.map(|above| section.over(&above, |_| true));
        let layered = table.as_ref().map(|table| section.with(table));
        let section = layered.as_ref().unwrap_or(&section);
        let port = section.required("port", "9999").and_then(|value| value.number(1..=65535));
        let mut inter = Duration::from_secs(2);
        set(&mut inter, section.duration("inter", "write a time such as \"2s\", or `agent = false`"));
        let addr = section.value("addr").and_then(|value| addr(&value));
        let send = section.filled_text("send", "state\\n").unwrap_or_default().to_owned();
        Some(Self { port: port?, addr, inter, send })
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["port", "addr", "inter", "send"],
        foreign: &[("agent_port", "write `port`"), ("agent_inter", "write `inter`"), ("agent_send", "write `send`")],
    };
}

fn addr(value: &RawValue<'_>) -> Option<IpAddr> {
    let addr = value.text("10.0.0.1")?.parse();
    addr.map_err(|_| value.wrong("is no IP address; write e.g. \"10.0.0.1\", and its port as `port = 9999`")).ok()
}
