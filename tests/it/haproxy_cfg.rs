//! An haproxy.cfg instead of TOML: it is checked, converted and run as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::{HANG, greeting};
use crate::support::lb::{BINARY, Lb, lb};
use crate::support::origin::Origin;
use crate::support::wait::eventually_eq;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/haproxy_cfg").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `lb COMMAND FILE…` with the environment of the samples.
fn ask(words: &[&str], file: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.args(words).arg(file).env("PORT", "7101").env("HOST", "127.0.0.1");
    command.output().unwrap()
}

#[test]
fn a_check_tells_the_fate_of_each_line() {
    let fine = ask(&["check"], &sample("s02-sql-three-nodes.cfg"));
    assert!(fine.status.success(), "{fine:?}");
    assert!(text(&fine.stdout).ends_with("fine: 1 frontend, 1 backend, 3 servers; 14 lines ok\n"), "{fine:?}");
    let wrong = ask(&["check", "-f"], &sample("e01-errors.cfg"));
    assert_eq!((wrong.status.code(), text(&wrong.stdout).as_str()), (Some(2), ""));
    let said = text(&wrong.stderr);
    let words =
        "e01-errors.cfg:3:5: error: unknown keyword 'maxcon' in 'global' section; did you mean 'maxconn' maybe ?";
    assert!(said.contains(words) && said.contains("e01-errors.cfg:23:11: error: "), "{said}");
}

#[test]
fn a_check_answers_in_json() {
    let refused = ask(&["check", "--json"], &sample("h01-distribution-sample-left-in.cfg"));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((refused.status.code(), &answer["usable"], &answer["counts"]), (Some(2), &false.into(), &Value::Null));
    let lines = answer["lines"].as_array().unwrap();
    let rule = lines.iter().find(|line| line["verdict"] == "refused").unwrap();
    assert!(rule["line"] == 36 && rule["reason"].as_str().unwrap().contains("use_backend static"), "{rule}");
    let skipped = ask(&["check", "--json", "--skip-refused"], &sample("h01-distribution-sample-left-in.cfg"));
    let answer: Value = serde_json::from_slice(&skipped.stdout).unwrap();
    assert_eq!((skipped.status.code(), &answer["usable"]), (Some(0), &true.into()));
    assert_eq!(answer["counts"]["frontends"], 1);
}

#[test]
fn what_is_converted_means_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["s01-seed-http-redispatch.cfg", "s04-pg-leader-by-http-check.cfg", "s13-mqtt-leastconn.cfg"] {
        let converted = ask(&["convert"], &sample(name));
        assert!(converted.status.success(), "{converted:?}");
        let file = dir.path().join("lb.toml");
        fs::write(&file, &converted.stdout).unwrap();
        let check = lb(&["check", file.to_str().unwrap()]);
        let counts = |out: &[u8]| text(out).lines().last().unwrap().split("fine: ").last().unwrap().to_owned();
        let before = counts(&ask(&["check"], &sample(name)).stdout);
        let after = counts(&check.stdout);
        assert!(before.starts_with(&after) && !after.is_empty(), "{name}: {before} {after}");
    }
    let toml = dir.path().join("lb.toml");
    let again = ask(&["convert"], &toml);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("this is no haproxy.cfg"), "{again:?}");
}

/// A balancer that runs this cfg, in which `@PORT@` is the port of the frontend.
struct Running {
    lb: Lb,
    dir: TempDir,
}

impl Running {
    fn start(cfg: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, cfg).unwrap();
        let lb = Lb::start_with_flags(&[&["-f", file.to_str().unwrap()], flags].concat());
        Self { lb, dir }
    }

    fn rewrite(&self, cfg: &str) {
        fs::write(self.dir.path().join("haproxy.cfg"), cfg).unwrap();
    }
}

fn cfg(servers: &[&Origin], more: &str) -> String {
    let lines = (1..).zip(servers).map(|(number, server)| format!(" server s{number} {} check\n", server.addr()));
    let lines: String = lines.collect();
    format!(
        "defaults\n timeout connect 1s\n timeout client 5s\n timeout server 5s\nlisten web\n bind 127.0.0.1:0\n{more}{lines}"
    )
}

#[test]
fn it_is_run_reloaded_and_upgraded_as_it_is() {
    let servers = ["a", "b"].map(Origin::named);
    let running = Running::start(&cfg(&[&servers[0]], ""), &[]);
    assert_eq!(greeting(running.lb.addr("web")).unwrap(), "a");
    running.rewrite(&cfg(&[&servers[1]], " mode http\n"));
    running.lb.command_ok(&["reload"]);
    eventually_eq(HANG, "b".to_owned(), || greeting(running.lb.addr("web")).unwrap());
    let notice = "haproxy.cfg:7:2: notice: mode http";
    eventually_eq(HANG, 1, || running.lb.stderr().matches(notice).count());
    running.lb.command_ok(&["reload"]);
    running.lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(greeting(running.lb.addr("web")).unwrap(), "b");
    assert_eq!(running.lb.stderr().matches(notice).count(), 1, "{}", running.lb.stderr());
}

#[test]
fn refused_sections_are_left_out_where_that_is_asked_for() {
    let server = Origin::named("a");
    let refused = format!(
        "{}frontend old\n mode http\n bind 127.0.0.1:0\n use_backend web if {{ path_beg /a }}\n",
        cfg(&[&server], "")
    );
    let running = Running::start(&refused, &["--skip-refused"]);
    assert_eq!(greeting(running.lb.addr("web")).unwrap(), "a");
    assert!(!running.lb.command_ok(&["status", "--json"]).contains("\"old\""));
    let out = ask(&["run", "-f"], &running.dir.path().join("haproxy.cfg"));
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("haproxy.cfg:11:2: refused: ") && said.contains("`--skip-refused` runs the others"),
        "{said}"
    );
}

/// The sample with one server behind all its names, and frontends on free ports.
fn localised(name: &str, server: &Origin) -> String {
    let mut text = String::new();
    for line in fs::read_to_string(sample(name)).unwrap().lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        text += &match words.as_slice() {
            ["bind", ..] => " bind 127.0.0.1:0".to_owned(),
            ["server", name, _, rest @ ..] => format!(" server {name} {} {}", server.addr(), rest.join(" ")),
            ["log", "/dev/log", rest @ ..] => format!(" log 127.0.0.1:9 {}", rest.join(" ")),
            _ => line.to_owned(),
        };
        text.push('\n');
    }
    text
}

#[test]
fn files_as_people_write_them_serve() {
    let server = Origin::named("a");
    for (name, frontends) in [
        ("s01-seed-http-redispatch.cfg", &["web"][..]),
        ("s02-sql-three-nodes.cfg", &["sql"]),
        ("s06-cluster-api-and-ingress.cfg", &["api-6443", "machine-config-22623", "ingress-443", "ingress-80"]),
        ("s07-no-global-no-timeouts.cfg", &["api-front"]),
        ("s13-mqtt-leastconn.cfg", &["mqtt"]),
    ] {
        let running = Running::start(&localised(name, &server), &[]);
        let status = running.lb.status();
        for frontend in frontends {
            assert_eq!(greeting(status.bound(frontend)[0]).unwrap(), "a", "{name}: {frontend}");
        }
    }
}

#[test]
fn several_files_and_directories_are_one_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("1.cfg", "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n");
    write("2.cfg", "listen web\n bind 127.0.0.1:8080\n server a 127.0.0.1:80\n");
    write("lb.toml", "[global]\n");
    let path = |name: &str| dir.path().join(name).display().to_string();
    for files in [&[dir.path().display().to_string()][..], &[path("1.cfg"), path("2.cfg")]] {
        let words: Vec<_> = ["check"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let checked = lb(&words);
        let said = text(&checked.stdout);
        assert!(said.ends_with(": fine: 1 frontend, 1 backend, 1 server; 7 lines ok\n"), "{said}{checked:?}");
    }
    let mixed = lb(&["check", &path("1.cfg"), &path("lb.toml")]);
    assert_eq!(mixed.status.code(), Some(2));
    assert!(text(&mixed.stderr).contains("lb.toml:1:1: this is no haproxy.cfg, and only those are read together"));
}
