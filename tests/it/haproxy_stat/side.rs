//! HAProxy or `lb`, with the file of the cases.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tempfile::TempDir;

use super::cases::{CASES, Servers};
use crate::support::client::HANG;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::port::Port;
use crate::support::wait::eventually_eq;

pub(super) struct Side {
    program: Program,
    /// Of the cases, in their order.
    ports: Vec<Port>,
}

enum Program {
    Haproxy(Haproxy),
    Lb { _lb: Lb, socket: PathBuf, _dir: TempDir },
}

pub(super) type Rows = Vec<(String, Vec<String>)>;

impl Side {
    pub(super) fn haproxy(servers: &Servers) -> Self {
        let (ports, ready) = (ports(), Port::reserve());
        let text = text(servers, &ports, &ready);
        Self { program: Program::Haproxy(Haproxy::whole(ready, &text, &[])), ports }
    }

    pub(super) fn lb(servers: &Servers) -> Self {
        let (ports, ready) = (ports(), Port::reserve());
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("haproxy.cfg"), dir.path().join("haproxy.sock"));
        let global = format!("global\n stats socket {} level admin\n", socket.display());
        std::fs::write(&file, global + &text(servers, &ports, &ready)).unwrap();
        let lb = Lb::start_with_flags(&["-f", file.to_str().unwrap()]);
        Self { program: Program::Lb { _lb: lb, socket, _dir: dir }, ports }
    }

    pub(super) fn addr(&self, case: &str) -> SocketAddr {
        let index = CASES.iter().position(|one| one.name == case).unwrap();
        self.ports[index].addr()
    }

    /// Whose address this is.
    pub(super) fn case(&self, addr: SocketAddr) -> &'static str {
        CASES[self.ports.iter().position(|port| port.addr() == addr).unwrap()].name
    }

    pub(super) fn ask(&self, command: &str) -> String {
        match &self.program {
            Program::Haproxy(haproxy) => haproxy.command(command),
            Program::Lb { socket, .. } => {
                let mut stream = UnixStream::connect(socket).unwrap();
                writeln!(stream, "{command}").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            }
        }
    }

    /// All rows of the cases: `proxy/row`, and the columns asked for.
    pub(super) fn rows(&self, columns: &[&str]) -> Rows {
        let stat = self.ask("show stat");
        let mut lines = stat.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap();
        let at =
            |column: &&str| names.iter().position(|name| name == column).unwrap_or_else(|| panic!("{column}: {stat}"));
        let at: Vec<_> = columns.iter().map(at).collect();
        let rows = lines.filter(|row| CASES.iter().any(|case| case.name == row[0]));
        rows.map(|row| (format!("{}/{}", row[0], row[1]), at.iter().map(|at| row[*at].to_owned()).collect())).collect()
    }

    /// Waits until a column of a row has this value.
    pub(super) fn wait(&self, proxy: &str, row: &str, column: &str, value: &str) {
        let read = || {
            let found = self.rows(&[column]).into_iter().find(|(name, _)| *name == format!("{proxy}/{row}"));
            found.map(|(_, values)| values.concat()).unwrap_or_default()
        };
        eventually_eq(HANG, value.to_owned(), read);
    }
}

fn ports() -> Vec<Port> {
    CASES.iter().map(|_| Port::reserve()).collect()
}

/// A `listen` for each case. One thread: HAProxy's maxima are not exact with more.
fn text(servers: &Servers, ports: &[Port], ready: &Port) -> String {
    let mut text = format!(
        "global\n maxconn 200\n nbthread 1\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n\
         listen ready\n bind {}\n",
        ready.addr()
    );
    for (case, port) in CASES.iter().zip(ports) {
        text += &format!("listen {}\n bind {} {}\n", case.name, port.addr(), case.bind);
        case.lines.iter().for_each(|line| text += &format!(" {}\n", servers.fill(line)));
    }
    text
}
