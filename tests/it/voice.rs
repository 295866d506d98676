//! What the balancer says never harms what it does: its stderr, or all of its output, may be full, closed, without a reader
//! or unread.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, connect, greeting};
use crate::support::config::Config;
use crate::support::etcd::Etcd;
use crate::support::fifo::Fifo;
use crate::support::haproxy::Haproxy;
use crate::support::lb::{BINARY, Lb};
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::proc;
use crate::support::process::{Process, run};
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn a_stderr_on_a_full_disk_harms_nothing() {
    assert_unharmed_beside_haproxy("2>/dev/full");
    assert_unharmed_beside_haproxy(">/dev/full 2>&1");
}

#[test]
fn a_closed_stderr_harms_nothing() {
    assert_unharmed_beside_haproxy("2>&-");
    assert_unharmed_beside_haproxy("0<&- 1>&- 2>&-");
}

#[test]
fn a_stderr_without_a_reader_harms_nothing() {
    assert_unharmed_beside_haproxy("2> >(:)");
    assert_unharmed_beside_haproxy("> >(:) 2>&1");
}

#[test]
fn a_stderr_that_is_not_read_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = Fifo::full(dir.path());
    // HAProxy 2.6 hangs here once a server goes DOWN.
    Stage::new(&format!("2>{}", fifo.path())).assert_unharmed();
}

#[test]
fn output_that_is_not_read_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = Fifo::full(dir.path());
    Stage::new(&format!(">{0} 2>{0}", fifo.path())).assert_unharmed();
}

#[test]
fn messages_beyond_the_bound_are_counted_and_reported_once_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut fifo = Fifo::full(dir.path());
    let mut config = Config::new();
    for number in 0..1500 {
        config = config.server(&format!("not-there-{number}-{}", "x".repeat(45)), "127.0.0.1:1");
    }
    let script = script(&format!("2>{}", fifo.path()));
    let lb = Lb::options().config(&config).within(&["bash", "-c", &script, "bash"]).start();
    let lost = || lb.status().number("message_lines_lost");
    let counted = eventually(HANG, "lines are lost", || Some(lost()).filter(|lines| *lines > 100));
    assert!(lb.command_ok(&["status"]).contains("lines of messages lost"));
    let mut text = String::new();
    let reported = eventually(HANG, "the report", || {
        text += &fifo.read();
        let line = text.lines().find(|line| line.contains("of messages lost"))?;
        line.split(' ').nth(1)?.parse::<u64>().ok()
    });
    assert!(reported >= counted, "{reported} of {counted}");
    assert!(text.contains("server not-there-"), "what had room is there");
}

#[test]
fn lines_of_messages_are_lost_with_the_supervisors_program_and_reported_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut fifo = Fifo::full(dir.path());
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::new().origins([&origin]);
    let script = script(&format!("2>{}", fifo.path()));
    let lb = Lb::options().config(&config).within(&["bash", "-c", &script, "bash"]).start();
    let socket = lb.socket().display().to_string();
    let upgrade = ["upgrade", "--probation", "100ms", "--socket", &socket];
    assert!(redirected_lb(&format!("2>{}", fifo.path()), &upgrade).status.success(), "progress is not read either");
    let environment = format!("/proc/{}/environ", lb.pid());
    eventually(HANG, "the next program", || {
        String::from_utf8_lossy(&fs::read(&environment).unwrap()).contains("LB_LOST_LINES").then_some(())
    });
    eventually(HANG, "the report", || fifo.read().contains("of messages lost").then_some(()));
}

#[test]
fn a_service_manager_that_does_not_read_harms_nothing_and_gets_every_message_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(HANG)).unwrap();
    let origin = Origin::named("x");
    let config = Config::new().origins([&origin]);
    let mut lb = Lb::options().config(&config).env("NOTIFY_SOCKET", &path).launch();
    eventually(HANG, "it serves", || lb.command(&["status"]).status.success().then_some(()));
    // Two messages each; the kernel keeps eleven.
    (0..10).for_each(|_| lb.reload(&config));
    let engine = lb.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    wait_for_another_engine(&lb, engine);
    assert_serves(lb.addr("web"));
    lb.signal(Signal::SIGTERM);
    let mut buffer = [0; 4096];
    let mut ready = 0;
    loop {
        let length = manager.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        ready += text.lines().filter(|line| *line == "READY=1").count();
        if text.contains("STOPPING=1") {
            break;
        }
    }
    assert!(ready > 10, "{ready}");
    assert!(lb.wait(HANG).success());
}

#[test]
fn session_lines_for_a_full_disk_are_counted_and_none_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::named("x");
    let script = format!(
        "mount -t tmpfs -o size=64k lb {0} && head -c 60k /dev/zero >{0}/rest; exec \"$@\" >>{0}/out 2>>{0}/err",
        dir.path().display()
    );
    let within = ["unshare", "--mount", "bash", "-c", &script, "bash"];
    let lb = Lb::options().config(&Config::new().origins([&origin])).within(&within).start();
    let disk = Path::new("/proc").join(lb.pid().to_string()).join("root").join(dir.path().strip_prefix("/").unwrap());
    let addr = lb.addr("web");
    eventually(HANG, "lines are lost", || {
        (0..20).for_each(|_| drop(greeting(addr).unwrap()));
        (lb.status().number("log_lines_dropped") > 100).then_some(())
    });
    assert!(lb.command_ok(&["status"]).contains("lines dropped"));
    fs::remove_file(disk.join("rest")).unwrap();
    let read = |name: &str| fs::read_to_string(disk.join(name)).unwrap();
    eventually(HANG, "a report", || read("err").contains("session lines left out").then_some(()));
    let before = read("out").len();
    greeting(addr).unwrap();
    eventually(HANG, "a line again", || (read("out").len() > before).then_some(()));
    let torn = read("out").lines().filter(|line| line.split(' ').count() != 9).count();
    assert_eq!(torn, 0, "{}", read("out"));
}

#[test]
fn registration_continues_whatever_stderr_does_also_as_the_first_process() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = Fifo::full(dir.path());
    let etcd = Etcd::start();
    for (number, redirection) in ["2>/dev/full", &format!(">{0} 2>{0}", fifo.path())].into_iter().enumerate() {
        let key = format!("/app/{number}");
        let mut origin = Origin::stopped(Behaviour::Echo);
        let script = script(redirection);
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--", "bash", "-c", &script, "bash", BINARY]);
        command.args(["register", "--etcd", &etcd.endpoint(), "--key", &key, "--addr", &origin.server()]);
        command.args(["--drain", "0s", "--", "sleep", "1000"]);
        let mut register = Process::start("register", dir.path(), &command);
        origin.restart();
        eventually(HANG, "the key", || (etcd.all(&key).len() == 1).then_some(()));
        let first = eventually(HANG, "the first process", || proc::descendants(register.pid()).first().copied());
        kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
        eventually(HANG, "no key", || etcd.all(&key).is_empty().then_some(()));
        assert_eq!(register.wait(HANG).code(), Some(128 + 15));
    }
}

#[test]
fn a_command_ends_with_its_own_code_although_stderr_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = Fifo::full(dir.path());
    let file = dir.path().join("bad.toml");
    fs::write(&file, "[frontend.web]\n").unwrap();
    for redirection in ["2>/dev/full", "2>&-", &format!("2>{}", fifo.path())] {
        for (args, code) in [(&["check", "-f"], 2), (&["run", "-f"], 2), (&["status", "--socket"], 1)] {
            let output = redirected_lb(redirection, &[args[0], args[1], &file.display().to_string()]);
            assert_eq!(output.status.code(), Some(code), "{args:?} {redirection}");
        }
    }
}

#[test]
fn a_report_longer_than_the_queue_of_messages_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    let lines = (0..3000).map(|number| format!("wrong{number}-{} = 1\n", "x".repeat(100))).collect::<String>();
    fs::write(&file, format!("[global]\n{lines}")).unwrap();
    let output = redirected_lb("", &["check", "-f", &file.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.len() > 300 * 1024 && text.contains("wrong2999") && !text.contains("lost"), "{}", text.len());
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for args in [&["--help"][..], &["--version"], &["completions", "bash"]] {
        let output = redirected_lb(">/dev/full", args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("lb: cannot write to stdout: No space left on device"), "{text}");
    }
}

/// A balancer with this redirection of a shell, and its only server.
struct Stage {
    origin: Origin,
    config: Config,
    lb: Lb,
    within: [String; 4],
}

#[track_caller]
fn assert_unharmed_beside_haproxy(redirection: &str) {
    let stage = Stage::new(redirection);
    stage.assert_haproxy_unharmed();
    stage.assert_unharmed();
}

impl Stage {
    #[track_caller]
    fn new(redirection: &str) -> Self {
        let origin = Origin::named("x");
        let config = Config::new().origins([&origin]);
        let script = script(redirection);
        let within = ["bash", "-c", &script, "bash"];
        let lb = Lb::options().config(&config).within(&within).start();
        Self { origin, config, lb, within: within.map(str::to_owned) }
    }

    /// A server of HAProxy goes DOWN, which it reports on stderr, and UP.
    #[track_caller]
    fn assert_haproxy_unharmed(&self) {
        let mut origin = Origin::named("x");
        let within = self.within.each_ref().map(String::as_str);
        let haproxy = Haproxy::balance_within(&within, &[origin.addr()], "", "inter 100");
        assert!(is_served(haproxy.addr()));
        origin.stop();
        eventually(HANG, "DOWN at HAProxy", || (!is_served(haproxy.addr())).then_some(()));
        origin.restart();
        eventually(HANG, "UP at HAProxy", || is_served(haproxy.addr()).then_some(()));
    }

    /// Everything works: traffic, checks, commands, a new engine, the end.
    #[track_caller]
    fn assert_unharmed(mut self) {
        let addr = self.lb.addr("web");
        assert_serves(addr);
        self.origin.stop();
        eventually_eq(HANG, "DOWN".to_owned(), || self.server());
        self.origin.restart();
        eventually_eq(HANG, "UP".to_owned(), || self.server());
        self.lb.reload(&self.config.clone().server("b", self.origin.server()));
        assert_serves(addr);
        self.lb.command_ok(&["upgrade", "--probation", "100ms"]);
        assert_serves(addr);
        let engine = self.lb.engine();
        kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
        wait_for_another_engine(&self.lb, engine);
        assert_serves(addr);
        let watch = Stopwatch::start();
        self.lb.signal(Signal::SIGTERM);
        assert!(self.lb.wait(HANG).success());
        assert!(watch.elapsed() < Duration::from_secs(8), "{watch:?}");
    }

    fn server(&self) -> String {
        self.lb.status().server("app/a").text("status")
    }
}

#[track_caller]
fn wait_for_another_engine(lb: &Lb, engine: i32) {
    eventually(HANG, "a new engine", || {
        let output = lb.command(&["status", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success() && !text.contains(&format!("\"engine_pid\":{engine},"))).then_some(())
    });
}

#[track_caller]
fn assert_serves(addr: SocketAddr) {
    for _ in 0..20 {
        assert_eq!(greeting(addr).unwrap(), "x");
    }
    drop(TcpStream::connect(addr).unwrap());
}

/// HAProxy may give up a client that closes its direction at once.
fn is_served(addr: SocketAddr) -> bool {
    connect(addr).is_ok_and(|mut stream| stream.read_exact(&mut [0]).is_ok())
}

/// For a shell: runs its arguments with this redirection.
fn script(redirection: &str) -> String {
    format!("exec \"$@\" {redirection}")
}

fn redirected_lb(redirection: &str, args: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", &script(redirection), "bash", BINARY]).args(args);
    run(&command, HANG)
}
