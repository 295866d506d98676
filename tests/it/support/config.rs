//! Configuration text for a test: one frontend `web` on a free port, one backend `app`, two worker threads, so that
//! results do not depend on the machine. A test adds the keys it is about as they stand in a file.

use super::origin::Origin;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    threads: u64,
    global: String,
    frontend: String,
    bind: String,
    backend: String,
    servers: String,
    rest: String,
}

impl Config {
    /// Checks run every 100 ms, so that a server's death and return show within a test's deadline.
    pub(crate) fn new() -> Self {
        Self::bare().backend(r#"check = { inter = "100ms", rise = 2, fall = 3 }"#)
    }

    /// With every default of the backend.
    pub(crate) fn bare() -> Self {
        let empty = String::new;
        let bind = r#"["127.0.0.1:0"]"#.to_owned();
        Self {
            threads: WORKERS,
            global: empty(),
            frontend: empty(),
            bind,
            backend: empty(),
            servers: empty(),
            rest: empty(),
        }
    }

    pub(crate) fn threads(self, threads: u64) -> Self {
        Self { threads, ..self }
    }

    pub(crate) fn global(self, line: &str) -> Self {
        Self { global: self.global + line + "\n", ..self }
    }

    pub(crate) fn frontend(self, line: &str) -> Self {
        Self { frontend: self.frontend + line + "\n", ..self }
    }

    /// Instead of a free port of 127.0.0.1.
    pub(crate) fn bind(self, list: &str) -> Self {
        Self { bind: list.to_owned(), ..self }
    }

    pub(crate) fn backend(self, line: &str) -> Self {
        Self { backend: self.backend + line + "\n", ..self }
    }

    /// A server by its address.
    pub(crate) fn server(self, name: &str, addr: impl std::fmt::Display) -> Self {
        Self { servers: format!("{}{name} = \"{addr}\"\n", self.servers), ..self }
    }

    /// A server with options: `weight = 2, backup = true`.
    pub(crate) fn server_with(self, name: &str, addr: impl std::fmt::Display, options: &str) -> Self {
        Self { servers: format!("{}{name} = {{ addr = \"{addr}\", {options} }}\n", self.servers), ..self }
    }

    /// `a`, `b`, `c`... in the order given.
    pub(crate) fn origins<'a>(self, origins: impl IntoIterator<Item = &'a Origin>) -> Self {
        let names = ('a'..='z').map(String::from);
        names.zip(origins).fold(self, |config, (name, origin)| config.server(&name, origin.server()))
    }

    /// Further tables.
    pub(crate) fn table(self, text: &str) -> Self {
        Self { rest: self.rest + text + "\n", ..self }
    }

    pub(crate) fn text(&self) -> String {
        let Self { threads, global, frontend, bind, backend, servers, rest } = self;
        format!(
            "[global]\nthreads = {threads}\n{global}\n\
             [frontend.web]\nbind = {bind}\nbackend = \"app\"\n{frontend}\n\
             [backend.app]\n{backend}\n\
             [backend.app.servers]\n{servers}\n{rest}"
        )
    }
}

/// Worker threads of a balancer under test.
pub(crate) const WORKERS: u64 = 2;
