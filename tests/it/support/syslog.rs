//! A receiver of syslog datagrams.

use std::net::{SocketAddr, UdpSocket};

use super::client::HANG;

pub(crate) struct Syslog {
    pub(crate) socket: UdpSocket,
}

impl Syslog {
    pub(crate) fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self { socket }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The next line with this text in it.
    #[track_caller]
    pub(crate) fn line(&self, with: &str) -> String {
        let mut others = Vec::new();
        loop {
            let Some(text) = self.next() else { panic!("no line with {with:?}, but {others:#?}") };
            if text.contains(with) {
                return text;
            }
            others.push(text);
        }
    }

    /// The next lines about servers, with level and tag, without times. They are in the form "local".
    #[track_caller]
    pub(crate) fn changes(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let Some(text) = self.next() else { panic!("{count} lines are expected, here are {lines:#?}") };
            let (level, rest) = text.trim_end().split_once('>').unwrap();
            let (tag, sentence) = rest[16..].split_once(": ").unwrap();
            if !sentence.contains("erver") {
                continue;
            }
            let (before, after) = sentence.split_once("check duration: ").unwrap_or((sentence, ""));
            let after = after.split_once("ms").map_or("", |(_, after)| after);
            lines.push(format!("{level} {} {before}{after}", tag.split('[').next().unwrap()));
        }
        lines
    }

    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..size].to_vec()).unwrap().trim_end_matches('\n').to_owned())
    }
}
