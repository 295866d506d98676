//! Where the admin socket is: with little to have, and when its path is lost.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::process::{Process, run};
use crate::support::wait::eventually;

#[test]
fn without_a_place_for_it_the_daemon_serves_and_says_what_does_not_work() {
    let origin = Origin::named("a");
    let mut user = PlainUser::new(61_001, READ_ONLY);
    user.start(&origin, &[]);
    assert!(user.stderr().contains("no admin socket"), "{}", user.stderr());
    assert!(user.stderr().contains("`lb status`"), "{}", user.stderr());
    let output = user.command(&["status"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("no daemon answers"), "{words}");
    user.signal(Signal::SIGHUP);
    eventually(HANG, "reloaded", || user.stderr().contains("reloaded: 1").then_some(()));
    user.serves();
    user.ends();
}

#[test]
fn a_user_without_a_runtime_directory_has_a_place_of_its_own() {
    let origin = Origin::named("a");
    let mut user = PlainUser::new(61_002, NOTHING);
    let folder = PathBuf::from("/tmp/lb-61002");
    fs::remove_dir_all(&folder).ok();
    user.start(&origin, &[]);
    let facts = fs::metadata(&folder).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.uid()), (0o700, 61_002));
    let output = user.command(&["status"]);
    assert!(output.status.success(), "{output:?}");
    user.ends();
    assert!(!folder.join("lb.sock").exists());
    // A directory that another user has put there is not believed.
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    chown(&folder, Some(61_003), None).unwrap();
    user.start(&origin, &[]);
    assert!(user.stderr().contains("no admin socket") && !folder.join("lb.sock").exists(), "{}", user.stderr());
    user.ends();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_runtime_directory_that_is_not_there_is_passed_over() {
    let origin = Origin::named("a");
    let mut user = PlainUser::new(61_004, "export XDG_RUNTIME_DIR=/nonexistent/61004; exec \"$@\"");
    user.start(&origin, &[]);
    let output = user.command(&["status"]);
    assert!(output.status.success(), "{output:?}");
    user.ends();
    fs::remove_dir_all("/tmp/lb-61004").unwrap();
}

#[test]
fn a_daemon_without_a_socket_serves_and_takes_signals() {
    let origin = Origin::named("a");
    let mut user = PlainUser::new(61_005, NOTHING);
    let config = user.dir.path().join("lb.toml");
    let bind = format!("[\"{}\"]", user.port.addr());
    fs::write(&config, Config::new().global("socket = false").bind(&bind).origins([&origin]).text()).unwrap();
    user.start_with(&["-f", config.to_str().unwrap()]);
    let output = user.command(&["status"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && words.contains("`socket = false`"), "{words}");
    assert!(!Path::new("/tmp/lb-61005").exists());
    user.signal(Signal::SIGHUP);
    eventually(HANG, "reloaded", || user.stderr().contains("reloaded: 1").then_some(()));
    user.ends();
}

#[test]
fn several_run_as_haproxy_and_each_has_a_socket() {
    let (first_origin, second_origin) = (Origin::named("one"), Origin::named("two"));
    let mut users = [&first_origin, &second_origin].map(|origin| {
        let mut user = PlainUser::new(61_006, NOTHING);
        user.program = "haproxy";
        symlink("lb", user.dir.path().join("haproxy")).unwrap();
        let site = format!("listen web\n mode tcp\n bind {}\n server a {}\n", user.port.addr(), origin.addr());
        fs::write(user.dir.path().join("haproxy.cfg"), site).unwrap();
        user
    });
    let folder = PathBuf::from("/tmp/lb-61006");
    fs::remove_dir_all(&folder).ok();
    for user in &mut users {
        // Of a pid file that an earlier boot has left.
        user.start_as_haproxy("-sf 4194304");
    }
    let [first, second] = &mut users;
    let pid = second.process.as_ref().unwrap().pid();
    let own = folder.join(format!("{pid}.sock"));
    assert!(second.stderr().contains(&format!("`lb status --socket {}`", own.display())), "{}", second.stderr());
    for (user, socket) in [(&*first, folder.join("lb.sock")), (&*second, own.clone())] {
        let output = user.command(&["status", "--json", "--socket", socket.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(&user.port.addr().to_string()), "{output:?}");
    }
    second.signal(Signal::SIGUSR2);
    eventually(HANG, "reloaded", || second.stderr().contains("reloaded").then_some(()));
    assert!(own.exists() && second.command(&["status", "--socket", own.to_str().unwrap()]).status.success());
    second.ends();
    assert!(!own.exists() && folder.join("lb.sock").exists());
    first.ends();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn hup_and_an_upgrade_make_a_lost_socket_again() {
    let origin = Origin::named("a");
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    let addr = lb.addr("web");
    let socket = lb.socket();
    fs::remove_file(&socket).unwrap();
    lb.signal(Signal::SIGHUP);
    eventually(HANG, "the socket", || socket.exists().then_some(()));
    lb.status();
    // What else is there stays, and is named.
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    lb.signal(Signal::SIGHUP);
    eventually(HANG, "words", || lb.stderr().contains("is no socket; remove it").then_some(()));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    fs::remove_file(&socket).unwrap();
    lb.signal(Signal::SIGUSR2);
    eventually(HANG, "the socket", || socket.exists().then_some(()));
    eventually(HANG, "the upgrade", || lb.stderr().contains("upgraded in").then_some(()));
    assert_eq!(lb.status().number("generation"), 2);
    assert_eq!(greeting(addr).unwrap(), "a");
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    assert!(!socket.exists());
}

#[test]
fn an_engine_is_replaced_although_its_socket_cannot_be_made_again() {
    let origin = Origin::named("a");
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let options = Lb::options().config(&Config::new().origins([&origin])).socket(folder.join("lb.sock"));
    let lb = options.start();
    let (addr, engine) = (lb.addr("web"), lb.engine());
    fs::remove_dir_all(place.path()).unwrap();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || lb.stderr().contains("serves again").then_some(()));
    assert_eq!(greeting(addr).unwrap(), "a");
    fs::create_dir(place.path()).unwrap();
    lb.signal(Signal::SIGHUP);
    eventually(HANG, "the socket", || folder.join("lb.sock").exists().then_some(()));
    lb.status();
}

/// `lb` as a user without privileges, below a script that takes things away from it.
struct PlainUser {
    uid: u32,
    script: &'static str,
    program: &'static str,
    port: Port,
    // Dropped in this order.
    process: Option<Process>,
    dir: TempDir,
}

impl PlainUser {
    fn new(uid: u32, script: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_of_binary(&dir.path().join("lb"));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self { uid, script, program: "lb", port: Port::reserve(), dir, process: None }
    }

    #[track_caller]
    fn start(&mut self, origin: &Origin, more: &[&str]) {
        let (bind, server) = (self.port.addr().to_string(), origin.addr().to_string());
        let mut args = vec!["--bind", &bind, "--server", &server];
        args.extend(more);
        self.start_with(&args);
    }

    #[track_caller]
    fn start_with(&mut self, args: &[&str]) {
        let mut command = self.wrapped();
        command.arg("run").args(args);
        self.process = Some(Process::start("lb", self.dir.path(), &command));
        self.serves();
    }

    /// Serves its haproxy.cfg.
    #[track_caller]
    fn start_as_haproxy(&mut self, more: &str) {
        let mut command = self.wrapped();
        command.arg("-f").arg(self.dir.path().join("haproxy.cfg")).args(more.split_whitespace());
        self.process = Some(Process::start("haproxy", self.dir.path(), &command));
        self.serves();
    }

    fn wrapped(&self) -> Command {
        let uid = self.uid.to_string();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", self.script, "sh"]);
        command.args(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--pdeathsig", "KILL", "--"]);
        command.arg(self.dir.path().join(self.program)).env_remove("XDG_RUNTIME_DIR").env_remove("NOTIFY_SOCKET");
        command
    }

    /// `lb ARGS...` of the same user, in the same circumstances.
    fn command(&self, args: &[&str]) -> Output {
        run(self.wrapped().args(args), HANG)
    }

    #[track_caller]
    fn serves(&mut self) {
        let addr: SocketAddr = self.port.addr();
        eventually(HANG, "served", || {
            let process = self.process.as_mut().unwrap();
            assert!(process.ended().is_none(), "{}", process.stderr());
            greeting(addr).ok()
        });
    }

    fn stderr(&self) -> String {
        self.process.as_ref().unwrap().stderr()
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    #[track_caller]
    fn ends(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.process.take().unwrap().wait(HANG).success());
    }
}

const NOTHING: &str = "exec \"$@\"";
const READ_ONLY: &str = "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && \
                         mount -t tmpfs -o ro,mode=755 none /run && exec \"$@\"";
