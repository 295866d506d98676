//! The variables that `"${NAME}"` stands for: those of the process, those that HAProxy sets, and those that the lines
//! of `global` have set so far.

use std::collections::BTreeMap;
use std::{env, fs};

/// Variables by name; of several of one name the first holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

/// Why a line that sets variables does not; HAProxy's sentences.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unset {
    #[error("'{0}' expects a name and a value.")]
    NoValue(String),
    #[error("'{0}' expects at least one variable name.")]
    NoName(String),
    #[error("'{0}' failed on variable '{1}' : Invalid argument.")]
    Name(String, String),
}

impl Environment {
    #[cfg(test)]
    pub(crate) fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self { variables: variables.into_iter().map(owned).collect() }
    }

    /// What a process that reads these files finds.
    pub(crate) fn of_process(files: &[&str]) -> Self {
        let lossy = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        let mut environment = Self { variables: env::vars_os().map(lossy).collect() };
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        environment.set("HAPROXY_LOCALPEER", host.trim_end());
        environment.set("HAPROXY_CFGFILES", &files.join(";"));
        environment
            .set("HAPROXY_BRANCH", HAPROXY_VERSION.rsplit_once('.').map_or(HAPROXY_VERSION, |(branch, _)| branch));
        environment.set("HAPROXY_TCP_LOG_FMT", TCP_LOG_FORMAT);
        // lb is a supervisor and its engine, as HAProxy's master and its worker are.
        environment.set("HAPROXY_MWORKER", "1");
        environment
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// A variable as HAProxy replaces it in an address, in quotes or not: `$NAME` or `${NAME}`.
    pub(crate) fn in_address(&self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (inside, braces) = part.strip_prefix('{').map_or((part, false), |inside| (inside, true));
            let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
            let (name, rest) = inside.split_at(end);
            expanded.push_str(self.get(name).unwrap_or_default());
            expanded.push_str(rest.strip_prefix('}').filter(|_| braces).unwrap_or(rest));
        }
        expanded
    }

    /// Does what a line of `global` says. `None`: its first word is none of those that set variables.
    pub(super) fn obey(&mut self, words: &[&str]) -> Option<Result<(), Unset>> {
        let (word, rest) = words.split_first()?;
        let at = |index: usize| rest.get(index).copied().unwrap_or_default();
        let names = rest.split(|name| name.is_empty()).next().unwrap_or_default();
        let wrong = |name: &str| Err(Unset::Name((*word).to_owned(), name.to_owned()));
        Some(match *word {
            "setenv" | "presetenv" if at(1).is_empty() => Err(Unset::NoValue((*word).to_owned())),
            "setenv" | "presetenv" if at(0).is_empty() || at(0).contains('=') => wrong(at(0)),
            "presetenv" if self.get(at(0)).is_some() => Ok(()),
            "setenv" | "presetenv" => {
                self.set(at(0), at(1));
                Ok(())
            }
            "unsetenv" if names.is_empty() => Err(Unset::NoName((*word).to_owned())),
            "unsetenv" => {
                names.iter().take_while(|name| !name.contains('=')).for_each(|name| drop(self.variables.remove(*name)));
                names.iter().find(|name| name.contains('=')).map_or(Ok(()), |name| wrong(name))
            }
            "resetenv" => {
                // `.FILE` and its like are no variables of the process.
                self.variables.retain(|name, _| name.starts_with('.') || names.contains(&name.as_str()));
                Ok(())
            }
            _ => return None,
        })
    }
}

/// The HAProxy whose words these are.
pub(crate) const HAPROXY_VERSION: &str = "2.8.0";

/// What `option tcplog` logs.
const TCP_LOG_FORMAT: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_in_addresses() {
        let environment = Environment::new([("HOST", "::1"), ("PORT", "80")]);
        let table = [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[$HOST]:$PORT", "[::1]:80"),
            ("${HOST}:${PORT}1", "::1:801"),
            ("$PORTS-$PORT", "-80"),
            ("${PORT", "80"),
            ("a$", "a"),
            ("$PORT}", "80}"),
        ];
        for (text, expanded) in table {
            assert_eq!(environment.in_address(text), expanded, "{text}");
        }
    }

    #[test]
    fn lines_of_global_set_variables() {
        let mut environment = Environment::new([("A", "1"), ("B", "2"), ("C", "3")]);
        let mut obey = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            environment.obey(&words).map(|done| done.map_err(|error| error.to_string()))
        };
        let refused = |text: &str| Some(Err(text.to_owned()));
        assert_eq!(obey("setenv A 9 8"), Some(Ok(())));
        assert_eq!(obey("presetenv A 7"), Some(Ok(())));
        assert_eq!(obey("presetenv D 4"), Some(Ok(())));
        assert_eq!(obey("unsetenv B X"), Some(Ok(())));
        assert_eq!(obey("setenv A"), refused("'setenv' expects a name and a value."));
        assert_eq!(obey("presetenv"), refused("'presetenv' expects a name and a value."));
        assert_eq!(obey("unsetenv"), refused("'unsetenv' expects at least one variable name."));
        assert_eq!(obey("unsetenv A=1"), refused("'unsetenv' failed on variable 'A=1' : Invalid argument."));
        assert_eq!(obey("setenv A=1 2"), refused("'setenv' failed on variable 'A=1' : Invalid argument."));
        assert_eq!(obey("maxconn 5"), None);
        let get = |name| environment.get(name).map(str::to_owned);
        assert_eq!(["A", "B", "C", "D"].map(get), [Some("9".to_owned()), None, Some("3".into()), Some("4".into())]);
        assert_eq!(environment.obey(&["resetenv", "C", "X"]), Some(Ok(())));
        assert_eq!(environment.variables.len(), 1);
    }

    #[test]
    fn what_haproxy_sets_is_there() {
        let environment = Environment::of_process(&["a.cfg", "b.cfg"]);
        assert_eq!(environment.get("HAPROXY_CFGFILES"), Some("a.cfg;b.cfg"));
        assert!(!environment.get("HAPROXY_LOCALPEER").unwrap().contains('\n'));
        assert!(environment.get("PATH").is_some());
    }
}
