//! The grammar of haproxy.cfg beside HAProxy 2.6: the same files are accepted and refused, for the same lines and with
//! the same sentences, and quotes, escapes, variables and conditions come out the same. `.notice` makes both show a
//! word.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::haproxy::Haproxy;
use crate::support::lb::{BINARY, Lb};
use crate::support::port::Port;

#[test]
fn files_are_read_as_haproxy_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let differ: Vec<_> = CASES.iter().filter_map(|case| difference(dir.path(), &within_global(case))).collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    let differ: Vec<_> = WHOLE.iter().filter_map(|text| difference(dir.path(), text)).collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn pieces_in_any_order_are_read_as_haproxy_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::new();
    let seed = random.get_seed();
    let mut differ = Vec::new();
    for case in 0..PIECES_CASES {
        let (start, pieces, end) =
            if case % 2 == 0 { (".notice ", WORDS, "") } else { (".if ", CONDITIONS, "\n.endif") };
        let count = random.usize(0..12);
        let line: String = (0..count).map(|_| pieces[random.usize(0..pieces.len())]).collect();
        let text = within_global(&format!("{start}{line}\n.notice here{end}"));
        differ.extend(difference(dir.path(), &text));
    }
    assert!(differ.is_empty(), "{} differ with seed {seed}:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn a_directory_is_read_in_the_order_of_haproxy() {
    let dir = tempfile::tempdir().unwrap();
    let within = |name: &str| dir.path().join(name);
    for name in ["b.cfg", "B.cfg", "_.cfg", "10.cfg", "9.cfg", ".hidden.cfg", "x.txt", "x.CFG", "é.cfg"] {
        fs::write(within(name), format!("global\n .notice {name}\n")).unwrap();
    }
    fs::write(within("z.cfg"), REST).unwrap();
    fs::create_dir(within("dir.cfg")).unwrap();
    std::os::unix::fs::symlink("b.cfg", within("c.cfg")).unwrap();
    let (theirs, ours) = (Told::by_haproxy(&["-f"], dir.path()), Told::by_lb(dir.path()));
    assert_eq!(ours.notices.len(), 7);
    assert_eq!(ours, theirs);
}

fn within_global(lines: &str) -> String {
    format!("global\n{lines}\n{REST}")
}

/// `None`: both say the same of this text.
fn difference(dir: &Path, text: &str) -> Option<String> {
    let file = dir.join("f.cfg");
    fs::write(&file, text).unwrap();
    let (theirs, ours) = (Told::by_haproxy(&["-f"], &file), Told::by_lb(&file));
    let text = text.strip_suffix(REST).unwrap_or(text);
    (!ours.is_like(&theirs)).then(|| format!("{text:?}\nHAProxy: {theirs:?}\nlb:      {ours:?}\n"))
}

#[test]
fn names_and_addresses_are_those_of_haproxy() {
    let variables = ["HOST=127.0.0.1", "NUMBER=8"];
    let port = Port::reserve();
    let text =
        format!("{NAMES} bind \"${{HOST}}:{}\" name two\\ words\n default_backend 10.0.0.1\n", port.addr().port());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.cfg");
    fs::write(&file, &text).unwrap();
    let haproxy = Haproxy::whole(port, &text, &[&["env"][..], &variables].concat());
    let states = haproxy.command("show servers state");
    let fields = states.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()) && line.len() > 1);
    let theirs: BTreeSet<_> = fields
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|fields| format!("{} {} {}:{}", fields[1], fields[3], fields[4], fields[18]))
        .collect();
    let stat = haproxy.command("show stat -1 1 -1");
    let front = stat.lines().find_map(|line| Some(line.split_once(",FRONTEND,")?.0)).unwrap();
    drop(haproxy);
    let mut options = Lb::options().flags(&["-f", file.to_str().unwrap()]);
    for (name, value) in variables.map(|variable| variable.split_once('=').unwrap()) {
        options = options.env(name, Path::new(value));
    }
    let lb = options.start();
    let status = lb.status();
    let ours: BTreeSet<_> = status
        .servers("10.0.0.1")
        .into_iter()
        .map(|name| format!("10.0.0.1 {name} {}", status.server(&format!("10.0.0.1/{name}")).text("addr")))
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 6);
    assert_eq!(status.only_frontend(), front);
}

/// What a program says of a configuration.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    accepts: bool,
    /// Of `.notice` and `.warning`, in order.
    notices: Vec<String>,
    /// The number of the line and HAProxy's sentence.
    errors: BTreeSet<String>,
}

impl Told {
    /// As HAProxy; where it gives up, up to there.
    fn is_like(&self, theirs: &Self) -> bool {
        let gives_up = theirs.errors.iter().any(|error| GIVES_UP.iter().any(|what| error.contains(what)));
        if !gives_up {
            return self == theirs;
        }
        let fallout = |error: &&String| theirs.errors.len() > 1 && error.contains("non-terminated");
        let mut first = theirs.errors.iter().filter(|error| !fallout(error));
        !self.accepts
            && self.notices.starts_with(&theirs.notices)
            && first.all(|error| self.errors.contains(error) || error.contains(ONLY_THERE))
    }

    fn by_haproxy(flags: &[&str], path: &Path) -> Self {
        let output = run(Command::new("haproxy").arg("-c").args(flags).arg(path));
        let mut told = Self { accepts: output.status.success(), notices: Vec::new(), errors: BTreeSet::new() };
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            let Some((level, rest)) = line.split_once(" parsing [") else { continue };
            let Some((at, what)) = rest.split_once(']') else { continue };
            let number = at.rsplit(':').next().unwrap();
            let what = what.trim_start_matches([' ', ':']).trim_end_matches(['.', ':']);
            if !level.contains("ALERT") {
                told.notices.extend(what.strip_prefix('\'').map(|text| escaped(text.trim_end_matches('\''))));
            } else {
                told.errors.insert(sentence(number, what));
            }
        }
        told
    }

    fn by_lb(path: &Path) -> Self {
        let output = run(Command::new(BINARY).arg("check").arg("-f").arg(path));
        let said = [output.stdout, output.stderr].concat();
        let mut told = Self { accepts: output.status.success(), notices: Vec::new(), errors: BTreeSet::new() };
        for line in String::from_utf8_lossy(&said).lines() {
            let Some((at, rest)) = line.split_once(": ") else { continue };
            let number = at.rsplit(':').nth(1).unwrap_or_default();
            if let Some(notice) = rest.strip_prefix("notice: '") {
                told.notices.push(notice.trim_end_matches('\'').to_owned());
            } else if let Some(error) = rest.strip_prefix("error: ") {
                told.errors.insert(sentence(number, error.split("; ").next().unwrap()));
            }
        }
        told
    }
}

/// Without what only one of the two adds.
fn sentence(number: &str, what: &str) -> String {
    let ends = [". Use quotes", ", position", ": the file begins", "; use quotes"];
    let end = ends.iter().filter_map(|end| what.find(end)).min().unwrap_or(what.len());
    format!("{number}: {}", what[..end].replace("\\u{feff}", "\u{feff}").replace(" '", "'"))
}

/// As lb shows what a terminal would obey.
fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn run(command: &mut Command) -> Output {
    command.env_clear().envs([("X", "abc"), ("LIST", " a  b"), ("EMPTY", ""), ("PATH", "/usr/sbin:/usr/bin")]);
    command.output().unwrap()
}

/// A backslash at the end of a condition; lb has the sentence of what is missing behind it.
const ONLY_THERE: &str = "failed to parse'\\'";

/// After these HAProxy reads no more of the file.
const GIVES_UP: [&str; 5] = ["'.if'", "'.elif'", "'.else'", "'.endif'", ": 'no'"];

const REST: &str = "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
                    frontend f\n bind 127.0.0.1:7001\n default_backend b\nbackend b\n server s 127.0.0.1:7002\n";

/// Lines of `global`.
const CASES: &[&str] = &[
    " .notice a",
    "\t.notice\ta\t",
    " .notice a # b",
    " .notice a#b",
    " .notice a\\#b",
    " .notice a\\ b\\\\c",
    " .notice a\\qb\\1",
    " .notice a\\",
    " .notice a\\x41\\x7eb",
    " .notice a\\xc3\\xa9",
    " .notice a\\x00b",
    " .notice é",
    " .notice \"a b\"",
    " .notice \"a 'b\\\" # c\"",
    " .notice 'a \"b\\n $X # c'",
    " .notice a\"b c\"'d e'f",
    " .notice a\\'b\\\"c",
    " .notice \"\"",
    " .notice \"\" b",
    " .notice $X${X}",
    " .notice a\\$X",
    " .notice \"a$X.${X}b\"",
    " .notice \"a\\$X\"",
    " .notice \"a$NO.b\"",
    " .notice \"${NO-d e}${X-d}${EMPTY-d}\"",
    " .notice \"${NO-d\"e}\"",
    " .notice \"${NO-}\"",
    " .notice \"${LIST[*]}\"",
    " .notice \"${X[*]}\"",
    " .notice \"${NO[*]-c}\"",
    " .notice \"${.LINE} $.SECTION\"",
    " .notice a\r",
    " .notice a\rb",
    " .notice a b",
    " .notice",
    " .warning \"w x\"",
    " .diag d",
    " .alert \"no\"",
    " \"\" foo",
    " .notice \"a",
    " .notice 'a",
    " .notice \"a\rb\"",
    " .notice \"${X",
    " .notice \"${X-b",
    " .notice é \"${X-b",
    " .notice \"$1\"",
    " .notice \"${}\"",
    " .notice \"${.FOO}\"",
    " .notice \"a$\"",
    " .notice a\\x4",
    " .notice a\\xzz",
    " .notice \"${X[0]}\"",
    " .notice \"${X[*}\"",
    " .notice 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5",
    " .notice 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 ",
    " setenv A b\n .notice \"$A\"",
    " setenv A \"b c\" d\n .notice \"$A\"",
    " presetenv X b\n presetenv B c\n .notice \"$X$B\"",
    " unsetenv X NO\n .notice \"$X.\"",
    " setenv A b\n resetenv X\n .notice \"$A.$X\"",
    " setenv A",
    " setenv",
    " presetenv A",
    " unsetenv",
    " unsetenv A=B",
    " setenv A=B y",
    " setenv \"\" y",
    "defaults\n.notice \"$HAPROXY_LOCALPEER\"",
    " .foo",
    " .",
    ".if 1\n .notice y\n.else\n .notice n\n.endif",
    ".if 0\n .notice y\n.else\n .notice n\n.endif",
    ".if\n .notice y\n.else\n .notice n\n.endif",
    ".if 0\n .notice a\n.elif 1\n .notice b\n.elif 1\n .notice c\n.else\n .notice d\n.endif",
    ".if 1\n.if 0\n .notice a\n.else\n .notice b\n.endif\n.else\n.if 1\n .notice c\n.endif\n.endif",
    ".if defined(X) && streq(\"$X\",abc)\n .notice y\n.endif",
    ".if \"defined(X) && streq($X,abc)\"\n .notice y\n.endif",
    ".if defined(EMPTY)&&!defined(NO)\n .notice y\n.endif",
    ".if 0 || defined(X) && 0\n .notice y\n.else\n .notice n\n.endif",
    ".if (0 || defined(X)) && !(0||0)\n .notice y\n.else\n .notice n\n.endif",
    ".if streq(\\\"a,b\\\",a\\\\,b)\n .notice y\n.else\n .notice n\n.endif",
    ".if streq(a b,a)\n .notice y\n.else\n .notice n\n.endif",
    ".if streq( a,a)\n .notice y\n.else\n .notice n\n.endif",
    ".if strneq(a,b)\n .notice y\n.else\n .notice n\n.endif",
    ".if streq(,)\n .notice y\n.else\n .notice n\n.endif",
    ".if !!0x10\n .notice y\n.else\n .notice n\n.endif",
    ".if -0\n .notice y\n.else\n .notice n\n.endif",
    ".if version_atleast(2.4)\n .notice y\n.else\n .notice n\n.endif",
    ".if version_before(2.4)\n .notice y\n.else\n .notice n\n.endif",
    ".if version_atleast(9.1-dev3)\n .notice y\n.else\n .notice n\n.endif",
    ".if version_atleast(foo)\n .notice y\n.else\n .notice n\n.endif",
    ".if feature(EPOLL)\n .notice y\n.else\n .notice n\n.endif",
    ".if feature(EPO)\n .notice y\n.else\n .notice n\n.endif",
    ".if 0\n .alert x\n .foo\n.if bad(\n.endif\n.endif",
    ".if 1\n.elif bad(\n.endif",
    ".if 0\n \"\n.endif",
    ".if 1 1\n.endif",
    ".if foo\n.endif",
    ".if streq(a)\n.endif",
    ".if streq(a,b,c)\n.endif",
    ".if streq\n.endif",
    ".if defined(X\n.endif",
    ".if (1\n.endif",
    ".if ()\n.endif",
    ".if 1 &&\n.endif",
    ".if 1 && && 0\n.endif",
    ".if !\n.endif",
    ".if 1\n",
    ".else",
    ".elif 1",
    ".endif",
    ".if 0\n.else\n.else\n.endif",
    ".if 0\n.else\n.elif 1\n.endif",
    ".if 0\n.else x\n.endif",
    ".if 0\n.endif x",
    "[a]",
    "[a] # b",
    "[a] b",
];

/// Files as a whole.
const WHOLE: &[&str] = &[
    "\u{feff}global\n",
    "global\n maxconn 10",
    "global\n maxconn 10\n # x",
    "global\n .notice a\0b\n .notice c\n",
    ".if 0\n.endif\n maxconn 10\nglobal\n",
];

const PIECES_CASES: usize = 200;

/// What words are made of.
const WORDS: &[&str] = &[
    "a",
    "b",
    " ",
    "\t",
    "\"",
    "'",
    "\\",
    "\\\"",
    "\\x",
    "41",
    "#",
    "$",
    "${",
    "}",
    "X",
    "NO",
    "LIST",
    "[*]",
    "-",
    ".",
    "LINE",
    "\r",
    "\x0b",
    "é",
    "${X}",
    "\"${LIST[*]}\"",
    "\"${NO-",
    "\\ ",
    "\\$",
    "1",
];

/// What conditions are made of.
const CONDITIONS: &[&str] = &[
    "(",
    ")",
    "!",
    "&&",
    "||",
    " ",
    ",",
    "1",
    "0",
    "-",
    "+",
    "0x",
    "08",
    "\\\"",
    "\\'",
    "\\\\",
    "defined(",
    "defined(X)",
    "streq(",
    "streq(a,a)",
    "strneq(",
    "feature(EPOLL)",
    "version_atleast(",
    "2.4",
    "X",
    "\"$X\"",
    "a",
    "\"",
    "1 && ",
    "0 || ",
];

/// Six servers, and the beginning of a frontend.
const NAMES: &str = "global\n maxconn 100\n setenv OWN 127.0.0.2\ndefaults\n mode tcp\n timeout connect 1s\n\
    timeout client 1s\n timeout server 1s\nbackend '10.0.0.1'\n server s\\x31 \"${HOST}\":81\n\
    server \"${NAME-s2}\" ${HOST}:82 # a comment\n \"server\" s\"3\" $HOST:${NUMBER}3\n server s4 \"$OWN:84\"\n\
    .if streq(\"$HOST\",127.0.0.1)\nserver if 127.0.0.1:85\n.else\nserver else 127.0.0.1:86\n.endif\n\
    server \"s6\" \"${ADDR[*]-127.0.0.1:87 weight 3}\"\nfrontend \"web-1.a:b_c\"\n";
