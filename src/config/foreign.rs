//! What a text is: TOML, an haproxy.cfg, or the configuration of something else, which gets one sentence instead of an
//! error a line.

use super::haproxy::is_haproxy;

/// What a configuration is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// If with mistakes.
    Toml,
    /// Its first word says so, or that of a later line where none is TOML.
    Haproxy,
    /// Where it shows, and what to do.
    Foreign(usize, String),
}

impl Form {
    pub(super) fn of(text: &str) -> Self {
        let haproxy = lines(text).next().is_some_and(|(_, first)| is_haproxy(first));
        match foreign(text) {
            _ if haproxy && !is_mostly_toml(text) => Self::Haproxy,
            Some((at, what)) => Self::Foreign(at, what),
            // Its first word may be mistyped.
            None if !has_toml(text) && lines(text).any(|(_, line)| is_haproxy(line)) => Self::Haproxy,
            None => Self::Toml,
        }
    }

    /// As `of`, where an haproxy.cfg is expected: what is not plainly TOML is one.
    pub(super) fn of_expected(text: &str) -> Self {
        let toml = lines(text).next().is_some_and(|(_, first)| is_toml(first)) || is_mostly_toml(text);
        if toml { Self::of(text) } else { Self::Haproxy }
    }
}

fn foreign(text: &str) -> Option<(usize, String)> {
    if let Some(at) = text.find('\0') {
        return Some((at, "this has NUL characters, as UTF-16 has; save the file as UTF-8 text".to_owned()));
    }
    let (at, first) = lines(text).next()?;
    let what = if is_json(first) {
        "JSON"
    } else if first.starts_with('<') {
        "XML"
    } else if first.starts_with("---") || first.starts_with("%YAML") {
        "YAML"
    } else if is_toml(first) || is_mostly_toml(text) {
        return None;
    } else if is_nginx(first) || lines(text).nth(1).is_some_and(|(_, second)| second == "{") {
        "an nginx.conf"
    } else if is_yaml(first) {
        "YAML"
    } else {
        return None;
    };
    let remedy =
        "write e.g. `[frontend.web]` and below it `bind = \"0.0.0.0:80\"`; docs/configuration.md has every key";
    Some((at, format!("this looks like {what}, and lb reads TOML; {remedy}")))
}

/// What is neither empty nor a comment, with its offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let placed = text.split_inclusive('\n').map(move |line| {
        let start = at + (line.len() - line.trim_start_matches(is_space).len());
        at += line.len();
        (start, line.trim_matches(is_space))
    });
    placed.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// White space, or the mark that some editors put before the first line.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// A header, or a key with its `=`.
fn is_toml(line: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default().trim_end();
    let is_header = code.starts_with('[') && code.ends_with(']') && !code.contains(',') && !code.contains(['{', ':']);
    let key = line.split('=').next().filter(|key| key.len() < line.len()).unwrap_or_default().trim_end();
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_-.\"'".contains(c);
    is_header || (!key.is_empty() && key.chars().all(is_key))
}

fn has_toml(text: &str) -> bool {
    lines(text).any(|(_, line)| is_toml(line))
}

/// What follows a first line that is no TOML: in another format at most a few lines pass for it.
fn is_mostly_toml(text: &str) -> bool {
    let others = || lines(text).skip(1).filter(|(_, line)| !["{", "}"].contains(line));
    let toml = others().filter(|(_, line)| is_toml(line)).count();
    toml > 0 && toml * 2 >= others().count()
}

fn is_json(first: &str) -> bool {
    first.starts_with('{') || first == "[" || first.starts_with("[{")
}

fn is_nginx(first: &str) -> bool {
    let code = first.split('#').next().unwrap_or_default().trim_end();
    code.ends_with(['{', ';']) || code.ends_with("{}")
}

fn is_yaml(first: &str) -> bool {
    let key = first.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
    first.starts_with("- ") || key.is_some_and(|(key, _)| !key.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_recognised_at_their_first_line() {
        let table = [
            ("frontend:\n  web:\n    bind: \"0.0.0.0:80\"\n", 0, "YAML"),
            ("---\na: 1\n", 0, "YAML"),
            ("{\"frontend\": {}}", 0, "JSON"),
            ("\u{feff}{\n  \"a\": [\n    \"x\"\n  ]\n}\n", 3, "JSON"),
            ("worker_processes auto;\nevents {}\n", 0, "nginx.conf"),
            ("stream {\n  upstream a { server 10.0.0.1:80; }\n}\n", 0, "nginx.conf"),
            ("http\n{\n  server\n  {\n  }\n}\n", 0, "nginx.conf"),
            ("%YAML 1.2\n---\na=b\n", 0, "YAML"),
            ("frontend:\n  args:\n    - x\n    a=b\n", 0, "YAML"),
            ("<?xml version=\"1.0\"?>\n<lb>\n  a=b\n</lb>\n", 0, "XML"),
            ("[\0f\0", 1, "UTF-16"),
        ];
        for (text, at, what) in table {
            let Form::Foreign(place, message) = Form::of(text) else { panic!("{text:?}") };
            assert!(place == at && message.contains(what), "{text:?}: {place} {message}");
        }
    }

    #[test]
    fn an_haproxy_cfg_begins_with_the_word_of_a_section() {
        for text in [
            "# c\n\nglobal\n    maxconn 5\n",
            "frontend web\n    bind *:80\n    http-request set-header X a=b\n",
            "defaults # c\n mode tcp\n",
            "listen a 0.0.0.0\r\n  mode tcp\r\n",
            "listen 10.0.0.1:80\n",
            "global\n  maxconn 5\n  setenv A b\n  a=b\n",
            "\u{feff}global\n",
            "\"global\"\n",
            ".if defined(X)\nglobal\n.endif\n",
            "global\n maxconn\0 5\n",
            "fcgi-app x\n",
        ] {
            assert_eq!(Form::of(text), Form::Haproxy, "{text:?}");
        }
    }

    #[test]
    fn a_mistyped_first_word_makes_no_toml_of_an_haproxy_cfg() {
        let text = "globl\n maxconn 10\nlisten x\n bind :80\n server a h:81\n";
        assert_eq!(Form::of(text), Form::Haproxy);
        let alone = "frontends x\n bind 127.0.0.1:80\n";
        assert_eq!((Form::of(alone), Form::of_expected(alone)), (Form::Toml, Form::Haproxy));
        for text in ["", "# c\n", "---\na: 1\n", "{}\n"] {
            assert_eq!(Form::of_expected(text), Form::Haproxy, "{text:?}");
        }
        for text in ["[frontend.f]\nbind = \":80\"\n", "# c\nfrontend.f.bind = 1\n", "frontend web\nbind = \":80\"\n"] {
            assert_eq!(Form::of_expected(text), Form::Toml, "{text:?}");
        }
        let nginx = "server {\n listen 80;\n}\n";
        assert!(matches!(Form::of(nginx), Form::Foreign(..)));
    }

    #[test]
    fn toml_with_mistakes_is_none_of_them() {
        for text in [
            "",
            "# only words\n",
            "[frontend web]\nbind \":80\"\n",
            "global\nthreads = 2\n",
            "frontend web\nbind = \":80\"\nbackend = \"b\"\n",
            "frontend.f.bind = \":80\"\n",
            "frontend.f = {\n bind = \":80\"\n}\n",
            "[global] # c\n",
            "nonsense\n",
        ] {
            assert_eq!(Form::of(text), Form::Toml, "{text:?}");
        }
    }
}
