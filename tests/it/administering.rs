//! Commands that change servers: several at once, by patterns, waiting for what they bring about.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{HANG, established};
use crate::support::config::Config;
use crate::support::lb::{BINARY, Lb};
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::run;
use crate::support::wait::{eventually_eq, observe};

#[test]
fn several_servers_change_at_once_and_the_answer_says_what_has() {
    let origins = [(); 3].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins(&origins).table(&format!(
        "[frontend.other]\nbind = \"127.0.0.1:0\"\nbackend = \"other\"\n[backend.other.servers]\na = \"{}\"",
        origins[0].addr()
    )));
    let states = || ["app/a", "app/b", "app/c", "other/a"].map(|path| lb.status().server(path).text("status"));
    let answer = json_of(&lb.command(&["server", "maint", "app/[ab]", "app/c", "*/a", "--json"]));
    assert_eq!(states(), ["MAINT", "UP", "MAINT", "MAINT"], "the rest is done though one name means nothing");
    assert_eq!(answer["changed"], true);
    assert_eq!(answer["servers"], json!(["app/c", "app/a", "other/a"]));
    assert_eq!(answer["warnings"].as_array().unwrap().len(), 1, "{answer}");
    let again = json_of(&lb.command(&["server", "maint", "*/a", "--json"]));
    assert_eq!((&again["changed"], &again["message"]), (&json!(false), &json!("app/a is MAINT\nother/a is MAINT")));
    lb.command_ok(&["server", "ready", "*/*"]);
    eventually_eq(HANG, ["UP"; 4].map(str::to_owned), states);
    assert_eq!(lb.command_ok(&["server", "weight", "app/a", "app/b", "9"]), "app/a has weight 9\napp/b has weight 9\n");
    for (args, said) in [
        (&["server", "drain", "nope/*"][..], "no server is nope/*"),
        (&["server", "drain", "app/z"], "no server z in backend app; there are: a, b, c"),
        (&["server", "weight", "nope/a", "3"], "no backend nope; there are: app, other"),
    ] {
        let output = lb.command(args);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && words.contains(said), "{args:?}: {words}");
    }
    for args in [&["reload", "--json"][..], &["counters", "clear", "--json"]] {
        let answer = json_of(&lb.command(args));
        assert!(answer["changed"] == true && answer["message"].is_string(), "{answer}");
    }
}

#[test]
fn a_drain_can_be_waited_for() {
    let (_origin, lb, addr) = Lb::echoing("");
    let first = established(addr);
    let mut second = established(addr);
    let output = lb.command(&["server", "drain", "app/a", "--wait", "300ms", "--json"]);
    assert_eq!(output.status.code(), Some(7));
    let answer = json_of(&output);
    assert_eq!((&answer["changed"], &answer["left"]), (&json!(true), &json!(2)), "{answer}");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("app/a has 2 sessions after 300ms"), "{words}");
    drop(first);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| lb.command(&["server", "maint", "app/a", "--wait", "20s", "--json"]));
        observe(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        second.write_all(b"x").unwrap();
        second.read_exact(&mut [0]).unwrap();
        drop(second);
        let output = waiting.join().unwrap();
        assert_eq!((output.status.code(), &json_of(&output)["left"]), (Some(0), &json!(0)), "{output:?}");
    });
}

#[test]
fn a_state_can_be_waited_for() {
    let mut origin = Origin::stopped(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let wait = |args: &[&str]| lb.command(&[&["wait", "app/a"], args].concat()).status.code();
    assert_eq!(wait(&["--down"]), Some(0));
    let watch = Stopwatch::start();
    let output = lb.command(&["wait", "app/a", "--up", "--timeout", "300ms", "--json"]);
    assert!(watch.by_the_clock() >= Duration::from_millis(300));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && words.contains("app/a is DOWN after 300ms"), "{output:?}");
    assert_eq!(json_of(&output)["met"], false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&["--up", "--timeout", "20s"]));
        origin.restart();
        assert_eq!(waiting.join().unwrap(), Some(0));
    });
    // One that is to come is waited for; one that is to go has to be there.
    let new = |condition| lb.command(&["wait", "app/new", condition, "--timeout", "100ms"]).status.code();
    assert_eq!((new("--up"), new("--empty")), (Some(3), Some(2)));
}

#[test]
fn a_wait_outlasts_an_upgrade() {
    let (_origin, lb, addr) = Lb::echoing("");
    let session = established(addr);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| lb.command(&["wait", "app/*", "--empty", "--timeout", "20s"]));
        lb.command_ok(&["upgrade", "--probation", "50ms"]);
        assert!(!waiting.is_finished());
        drop(session);
        assert_eq!(waiting.join().unwrap().status.code(), Some(0));
    });
}

#[test]
fn the_environment_names_the_socket_and_stop_stops() {
    let (_origin, mut lb, addr) = Lb::echoing("");
    let mut session = established(addr);
    let ask = |socket: &Path, args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).env("LB_SOCKET", socket);
        run(&command, HANG)
    };
    assert!(ask(&lb.socket(), &["status"]).status.success());
    let wrong = ask(Path::new("/nowhere/lb.sock"), &["status"]);
    assert!(wrong.status.code() == Some(1) && String::from_utf8_lossy(&wrong.stderr).contains("/nowhere/lb.sock"));
    let output = ask(&lb.socket(), &["stop", "--json"]);
    assert_eq!(json_of(&output)["changed"], true, "{output:?}");
    lb.wait_for_notice("STOPPING=1");
    session.write_all(b"x").unwrap();
    session.read_exact(&mut [0]).unwrap();
    assert!(lb.is_running());
    drop(session);
    assert!(lb.wait(HANG).success());
}

#[test]
fn a_shell_completes_the_names_of_the_running_daemon() {
    let origins = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins(&origins));
    let _session = established(lb.addr("web"));
    let complete = |words: &str| {
        let script = format!(
            "source <(lb completions bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             COMP_TYPE=9; _clap_complete_lb lb \"${{COMP_WORDS[$COMP_CWORD]}}\" ''; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut command = Command::new("bash");
        let path = format!("{}:/usr/bin:/bin", Path::new(BINARY).parent().unwrap().display());
        command.args(["-c", &script]).env("PATH", path).env("LB_SOCKET", lb.socket());
        let output = run(&command, HANG);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("lb server drain app/"), ["app/a", "app/b"]);
    assert_eq!(complete("lb server accept a"), ["app"]);
    assert_eq!(complete("lb serv"), ["server"]);
    let ids = complete("lb session kill 0x");
    assert!(ids.len() == 1 && ids[0].starts_with("0x"), "{ids:?}");
    assert_eq!(complete("lb --socket /nowhere/lb.sock server drain app/"), Vec::<String>::new());
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
