//! `lb run --bind ADDR --server [NAME=]ADDR`: a configuration without a file.

use std::collections::HashSet;

use super::problem::{Problem, Problems};
use super::words::{is_name, shown};
use super::{Address, Backend, Bind, Config, Entrance, Frontend, Global, MAX_SERVERS, Server, bind, circle};

/// One frontend and one backend, both named `lb`, with every default. Servers are named `s1`, `s2` … by their
/// position unless their flag differs.
///
/// # Errors
/// All problems at once; `file` is the flag, and there is no line.
pub(crate) fn from_flags(binds: &[String], servers: &[String]) -> Result<Config, Problems> {
    let mut flags = Flags::default();
    let binds = flags.binds(binds);
    let servers = flags.servers(servers);
    let (frontends, backends) = (vec![Frontend::new(NAME, binds, NAME)], vec![Backend::new(NAME, servers)]);
    for (target, entrance) in circle::written_circles(&Entrance::all(&frontends), &backends) {
        flags.wrong("--server", format!("`{}` {}", target.addr, entrance.reason()));
    }
    match Problems::from_list(flags.problems) {
        Some(problems) => Err(problems),
        None => Ok(Config {
            global: Global::default(),
            etcd: None,
            resolvers: Vec::new(),
            frontends,
            backends,
            order: Vec::new(),
        }),
    }
}

#[derive(Default)]
struct Flags {
    problems: Vec<Problem>,
}

impl Flags {
    fn binds(&mut self, texts: &[String]) -> Vec<Bind> {
        if texts.is_empty() {
            self.wrong("--bind", "is missing; write e.g. `--bind 127.0.0.1:8080`".to_owned());
        }
        let mut binds = Vec::new();
        for text in texts {
            match bind::parse(text) {
                Ok(places) if places.iter().any(|bind| is_given(&binds, bind)) => {
                    self.wrong("--bind", format!("`{}` is given twice; keep one of them", shown(text)));
                }
                Ok(places) => binds.extend(places),
                Err(error) => self.wrong("--bind", format!("`{}` {error}", shown(text))),
            }
        }
        binds
    }

    fn servers(&mut self, texts: &[String]) -> Vec<Server> {
        if texts.is_empty() {
            self.wrong("--server", "is missing; write e.g. `--server app1=10.0.0.1:8000`".to_owned());
        }
        if texts.len() > MAX_SERVERS {
            self.wrong("--server", format!("is given {} times; give at most {MAX_SERVERS}", texts.len()));
        }
        let mut names = HashSet::new();
        let mut servers = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let given = text.split_once('=').filter(|_| !text.starts_with("unix@"));
            let (name, addr) = match given {
                Some((name, addr)) => (name.to_owned(), addr),
                None => (format!("s{}", index + 1), text.as_str()),
            };
            let text = shown(text);
            if !is_name(&name) {
                let what = "has no name before `=`; write 1 to 128 letters, digits and `_` `.` `:` `-`";
                self.wrong("--server", format!("`{text}` {what}"));
            } else if !names.insert(name.clone()) {
                let what =
                    format!("is the second server named `{name}`; write another name, e.g. `--server NAME=ADDR`");
                self.wrong("--server", format!("`{text}` {what}"));
            }
            match addr.parse::<Address>() {
                Ok(addr) => servers.push(Server::new(name, addr)),
                Err(error) => {
                    self.wrong("--server", format!("`{text}` is no address of a server: {error}"));
                }
            }
        }
        servers
    }

    fn wrong(&mut self, flag: &str, message: String) {
        self.problems.push(Problem { file: flag.to_owned(), line: 0, column: 0, message, excerpt: String::new() });
    }
}

/// With port 0 the kernel finds a free one each time.
fn is_given(binds: &[Bind], bind: &Bind) -> bool {
    binds.contains(bind) && !matches!(bind, Bind::Address(addr) if addr.port() == 0)
}

const NAME: &str = "lb";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn complaints(binds: &[&str], servers: &[&str]) -> String {
        from_flags(&words(binds), &words(servers)).unwrap_err().to_string()
    }

    #[test]
    fn flags_make_one_frontend_and_one_backend() {
        let servers = words(&["127.0.0.1:9001", "b=app.internal:9002", "unix@/run/a=b"]);
        let config = from_flags(&words(&[":8080", "[::1]:0"]), &servers).unwrap();
        assert_eq!(config.frontends[0].name, "lb");
        assert_eq!(config.frontends[0].backend, config.backends[0].name);
        let bind: Vec<_> = config.frontends[0].bind.iter().map(ToString::to_string).collect();
        assert_eq!(bind, ["0.0.0.0:8080", "[::1]:0"]);
        let servers: Vec<_> =
            config.backends[0].servers.iter().map(|server| format!("{} {}", server.name, server.addr)).collect();
        assert_eq!(servers, ["s1 127.0.0.1:9001", "b app.internal:9002", "s3 unix@/run/a=b"]);
    }

    #[test]
    fn all_wrong_flags_are_told_at_once() {
        assert_eq!(
            complaints(&["localhost:80", ":80", "*:80"], &["a=1.2.3.4", "a=1.2.3.4:80", "=1.2.3.4:80", "x y=h:0"]),
            "--bind: `localhost:80` is no IP address and port; write e.g. \"127.0.0.1:80\" or \"[::1]:80\"\n\
             --bind: `*:80` is given twice; keep one of them\n\
             --server: `a=1.2.3.4` is no address of a server: has no port; write it as `1.2.3.4:PORT`\n\
             --server: `a=1.2.3.4:80` is the second server named `a`; write another name, e.g. `--server NAME=ADDR`\n\
             --server: `=1.2.3.4:80` has no name before `=`; write 1 to 128 letters, digits and `_` `.` `:` `-`\n\
             --server: `x y=h:0` has no name before `=`; write 1 to 128 letters, digits and `_` `.` `:` `-`\n\
             --server: `x y=h:0` is no address of a server: port `0` is not a number from 1 to 65535"
        );
    }

    #[test]
    fn no_flags_name_both() {
        assert_eq!(
            complaints(&[], &[]),
            "--bind: is missing; write e.g. `--bind 127.0.0.1:8080`\n\
             --server: is missing; write e.g. `--server app1=10.0.0.1:8000`"
        );
    }
}
