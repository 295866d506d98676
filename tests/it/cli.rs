//! The command line as scripts and people use it: exit codes, stdout and stderr.
//!
//! The admin socket here is served by the product's admin server with answers chosen by the test, so that every outcome
//! can be produced, also that of a failed upgrade.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lb::internals::ExitStatus;
use lb::internals::config::AdminState;
use lb::internals::control::{Answer, Conversations, Request, Status, serve, status};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::process::{Process, run};
use crate::support::wait::eventually;

/// A thread that answers on an admin socket.
struct AdminStub {
    dir: TempDir,
    _end: oneshot::Sender<()>,
}

impl AdminStub {
    fn start(answer: impl Fn(Request) -> Answer + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("lb.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            runtime.unwrap().block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let handler = move |request, _| std::future::ready(answer(request));
                tokio::select! {
                    _ = serve(listener, Conversations::default(), handler) => {}
                    _ = ended => {}
                }
            });
        });
        Self { dir, _end: end }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("lb.sock")
    }

    #[track_caller]
    fn run_lb(&self, args: &[&str]) -> CommandOutput {
        run_lb(args, Some(&self.socket()))
    }
}

#[derive(Debug)]
struct CommandOutput {
    code: i32,
    out: String,
    err: String,
}

fn command(args: &[&str], socket: Option<&Path>) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args);
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    command
}

#[track_caller]
fn run_lb(args: &[&str], socket: Option<&Path>) -> CommandOutput {
    let output = run(&command(args, socket), Duration::from_secs(20));
    CommandOutput {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn some_status() -> Status {
    let server = status::ServerReport {
        name: "app1".into(),
        addr: "127.0.0.1:9001".into(),
        status: status::ServerStatus::Down,
        ..status::ServerReport::default()
    };
    let backend =
        status::BackendReport { name: "app".into(), servers: vec![server], ..status::BackendReport::default() };
    Status { pid: 7, backends: vec![backend], ..Status::default() }
}

fn answer_status(request: Request) -> Answer {
    match request {
        Request::ServerList => Answer::value(&some_status().backends),
        _ => Answer::value(&some_status()),
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_message() {
    let commands: [&[&str]; 6] = [
        &[],
        &["fly"],
        &["server", "drain", "app"],
        &["run", "--bind", "127.0.0.1:0"],
        &["run", "-f", "/x.toml", "--bind", "127.0.0.1:0", "--server", "127.0.0.1:1"],
        &["upgrade", "--probation", "soon"],
    ];
    for args in commands {
        let output = run_lb(args, None);
        assert_eq!(output.code, 2, "{args:?}: {output:?}");
        assert!(output.err.starts_with("lb: ") && output.out.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn help_and_completions_are_answers() {
    for args in [&["--help"][..], &["run", "--help"], &["--version"], &["completions", "bash"]] {
        let output = run_lb(args, None);
        assert_eq!((output.code, output.err.as_str()), (0, ""), "{args:?}");
        assert!(output.out.contains("lb"), "{args:?}: {output:?}");
    }
}

#[test]
fn without_a_running_lb_commands_end_with_1_and_name_the_socket_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lb.sock");
    for args in [&["status"][..], &["server", "list"], &["reload"], &["upgrade"], &["status", "--watch"]] {
        let output = run_lb(args, Some(&socket));
        assert_eq!(output.code, 1, "{args:?}: {output:?}");
        assert!(output.err.starts_with("lb: no daemon answers"), "{output:?}");
        assert!(output.err.contains(socket.to_str().unwrap()) && output.err.contains("--socket"), "{output:?}");
    }
}

#[test]
fn each_command_sends_its_request() {
    let stub = AdminStub::start(|request| Answer::done(format!("{request:?}")));
    let set = |state| Request::SetServer { backend: "app".into(), server: "a/1".into(), state };
    let table: [(&[&str], Request); 7] = [
        (&["server", "ready", "app/a/1"], set(AdminState::Ready)),
        (&["server", "drain", "app/a/1"], set(AdminState::Drain)),
        (&["server", "maint", "app/a/1"], set(AdminState::Maint)),
        (
            &["server", "weight", "app/a", "7"],
            Request::SetWeight { backend: "app".into(), server: "a".into(), weight: 7 },
        ),
        (&["server", "accept", "app"], Request::Accept { backend: "app".into() }),
        (&["reload"], Request::Reload),
        (
            &["upgrade", "--binary", "/bin/lb", "--probation", "1500ms"],
            Request::Upgrade { binary: Some("/bin/lb".into()), probation_ms: Some(1500) },
        ),
    ];
    for (args, request) in table {
        let output = stub.run_lb(args);
        assert_eq!((output.code, output.out), (0, format!("{request:?}\n")), "{args:?}");
    }
}

#[test]
fn a_refusal_is_printed_on_stderr_and_ends_with_its_code() {
    use ExitStatus::{BadInput, Busy, Failed, Incompatible, RolledBack, SessionsLeft, UpgradeFailed};
    for status in [Failed, BadInput, UpgradeFailed, Incompatible, Busy, RolledBack, SessionsLeft] {
        let stub = AdminStub::start(move |_| Answer::failed(status, "it is so\nline two"));
        let output = stub.run_lb(&["upgrade"]);
        assert_eq!(output.code, i32::from(status.code()));
        assert_eq!((output.out.as_str(), output.err.as_str()), ("", "lb: it is so\nline two\n"));
    }
}

#[test]
fn status_is_a_table_for_people_and_json_for_programs() {
    let stub = AdminStub::start(answer_status);
    let people = stub.run_lb(&["status"]);
    assert!(people.out.contains("app/app1") && people.out.contains("DOWN"), "{people:?}");
    assert!(!people.out.contains('\x1b'), "colour towards a file: {people:?}");
    let programs = stub.run_lb(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Status>(&programs.out).unwrap(), some_status());
    let list = stub.run_lb(&["server", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!(
        (&list[0]["backend"], &list[0]["name"], &list[0]["status"]),
        (&"app".into(), &"app1".into(), &"DOWN".into())
    );
}

#[test]
fn a_closed_stdout_is_no_error() {
    let stub = AdminStub::start(answer_status);
    let commands: [&[&str]; 4] =
        [&["status"], &["status", "--json"], &["status", "--json", "--watch"], &["server", "list"]];
    for args in commands {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = command(args, Some(&stub.socket())).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn watching_ends_with_ctrl_c() {
    let stub = AdminStub::start(answer_status);
    let dir = tempfile::tempdir().unwrap();
    let watch = command(&["status", "--watch", "--json"], Some(&stub.socket()));
    let mut watch = Process::start("watch", dir.path(), &watch);
    eventually(Duration::from_secs(10), "a second line", || (watch.stdout().lines().count() >= 2).then_some(()));
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn check_reports_errors_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    let check = || run_lb(&["check", "-f", file.to_str().unwrap()], None);
    let missing = check();
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.starts_with("lb: ") && missing.err.contains("lb.toml"), "{missing:?}");
    let right = "[frontend.web]\nbind = [\"127.0.0.1:0\"]\nbackend = \"app\"\n[backend.app]\n\
        [backend.app.servers]\na = \"127.0.0.1:1\"\n";
    std::fs::write(&file, right).unwrap();
    let output = check();
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    std::fs::write(&file, right.replace("backend = ", "blance = 1\nbackend = ")).unwrap();
    let output = check();
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.err.contains("lb.toml:3:1") && output.err.contains("blance"), "{output:?}");
}

#[test]
fn each_mistake_of_a_file_is_one_sentence_with_its_place_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let haproxy = "global\n    maxconn 5\nfrontend web\n    bind *:80\n    default_backend app\n";
    let toml = |backend: &str| format!("[frontend.f]\nbind = \":0\"\nbackend = \"b\"\n[backend.b]\n{backend}\n");
    // Errors, and what each must name.
    let table = [
        (haproxy.to_owned(), vec!["5:5: error: Proxy 'web': unable to find required default_backend: 'app'"]),
        ("frontend:\n  web:\n    bind: \":80\"\n".to_owned(), vec!["1:1: this looks like YAML"]),
        ("{\n  \"frontend\": {}\n}\n".to_owned(), vec!["1:1: this looks like JSON"]),
        ("events {}\nstream {\n  server { listen 80; }\n}\n".to_owned(), vec!["1:1: this looks like an nginx.conf"]),
        (
            toml("timeout.connect = 5000\nservers.a = \"h:1\""),
            vec!["5:19: `connect = 5000`", "write \"5000ms\" or \"5s\""],
        ),
        (
            toml("retries = 3,\nbalance = “first”\nservers.a = { addr = \":80\", weight = \"50%\", backup = \"no\" }"),
            vec![
                "5:12: there is a `,`",
                "6:11: `“first”` has typographic",
                "has no host",
                "is a percentage",
                "`backup = false`",
            ],
        ),
        (
            toml("servers.a = \"[fe80::1]:80\""),
            vec!["5:13: `a = \"[fe80::1]:80\"`", "names no interface; write it as `[fe80::1%"],
        ),
        (toml("servers.a = \"[fe80::1%no]:80\""), vec!["names the interface `no`, which this machine does not have"]),
    ];
    let file = dir.path().join("lb.toml");
    for (text, expected) in table {
        std::fs::write(&file, &text).unwrap();
        let output = run_lb(&["check", "-f", file.to_str().unwrap()], None);
        assert_eq!(output.code, 2, "{text}{output:?}");
        let errors = output.err.lines().filter(|line| line.contains("lb.toml:") && !line.starts_with("lb: ")).count();
        let places =
            expected.iter().filter(|part| part.contains(": ") && part.starts_with(|c: char| c.is_ascii_digit()));
        assert!(errors >= places.count().max(1) && errors <= expected.len(), "{text}{}", output.err);
        expected.iter().for_each(|part| assert!(output.err.contains(part), "{part}: {}", output.err));
    }
    for (args, remedy) in [
        (&["server", "weight", "app/a", "50%"][..], "a weight is no percentage; write a whole number from 0 to 256"),
        (&["server", "weight", "app/a", "-1"], "write a whole number from 0 to 256"),
        (&["upgrade", "--probation", "5000"], "write \"5000ms\" or \"5s\""),
    ] {
        let output = run_lb(args, None);
        assert!(output.code == 2 && output.err.contains(remedy), "{args:?}: {output:?}");
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_lb");
