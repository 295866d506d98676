//! What a shell, a service manager or a container runtime hands down is used or reset, and never tripped over: limits,
//! umask, directories, descriptors, the environment.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::lb::{BINARY, Lb, LbOptions};
use crate::support::origin::Origin;
use crate::support::proc;
use crate::support::process::Process;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn odd_limits_are_used() {
    each(&[
        &["prlimit", "--nofile=20:4096"],
        &["prlimit", "--nofile=100:100"],
        // SIGXFSZ ends a process that writes to a file.
        &["prlimit", "--fsize=0"],
        &["prlimit", "--core=0", "--stack=unlimited"],
        &["prlimit", "--as=2147483648"],
        &["nice", "-n", "19"],
        &["prlimit", "--sigpending=0", "--msgqueue=0", "--memlock=0"],
    ]);
}

#[test]
fn odd_places_are_endured() {
    each(&[
        &["sh", "-c", "umask 0777; exec \"$@\"", "sh"],
        &["sh", "-c", "umask 0; exec \"$@\"", "sh"],
        &["sh", "-c", "d=$(mktemp -d); cd $d; rmdir $d; exec \"$@\"", "sh"],
        &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /proc && mount -t tmpfs none /sys && exec \"$@\"",
            "sh",
        ],
        &["setsid", "--fork", "--wait"],
        &["setpriv", "--pdeathsig", "HUP", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"],
    ]);
}

#[test]
fn odd_environments_are_endured() {
    each(&[
        &["env", "-u", "NOTIFY_SOCKET_IS_SET_LATER", "WATCHDOG_USEC=garbage", "WATCHDOG_PID=-1"],
        &["env", "LISTEN_PID=1", "LISTEN_FDS=3", "LISTEN_FDNAMES=a:b:c"],
        &["env", "LISTEN_PID=garbage", "LISTEN_FDS=", "LISTEN_FDNAMES="],
        &["env", "LB_LOG=", "RUST_LOG=", "RUST_BACKTRACE=full", "TZ=Nowhere/Nothing", "LC_ALL=xx_YY.UTF-8"],
        &["env", "LB_LOG=garbage=,=", "COLUMNS=0", "TERM="],
        &["env", "LB_CONTROL_FD=7", "LB_CONFIG_FD=8"],
        &["env", "-i"],
    ]);
    for notify in ["", "garbage", "/nonexistent/socket", "@lb-nobody-listens-here", "@", "vsock:1:1"] {
        let set = format!("NOTIFY_SOCKET={notify}");
        each(&[&["env", &set]]);
    }
}

#[test]
fn descriptors_that_nobody_meant_to_hand_down_stay_out_of_the_engine() {
    let origin = Origin::named("a");
    let open = "for i in $(seq 20 90); do eval \"exec $i</dev/null\"; done; exec \"$@\"";
    let lb = options(&origin, &["bash", "-c", open, "bash"]).start();
    let engine = lb.engine();
    let count = || proc::descriptors(engine).iter().filter(|target| target.as_str() == "/dev/null").count();
    // Standard input alone.
    assert_eq!(count(), 1);
    assert_eq!(greeting(lb.addr("web")).unwrap(), "a");
}

#[test]
fn a_secret_that_the_own_group_may_read_is_used_and_one_that_others_may_read_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::named("a");
    let file = dir.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    for (mode, name, words) in [(0o440, "group", "trying again"), (0o444, "others", "can be read or changed by others")]
    {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["register", "--etcd", "http://127.0.0.1:1", "--key", "/app/a", "--username", "u"]);
        command.args(["--addr", &origin.addr().to_string(), "--password-file"]).arg(&file);
        let app = Process::start(name, dir.path(), &command);
        eventually(HANG, words, || app.stderr().contains(words).then_some(()));
        assert_eq!(app.stderr().contains("can be read"), name == "others", "{}", app.stderr());
    }
}

/// Serves under each of these commands, replaces an engine, upgrades and ends.
#[track_caller]
fn each(wrappers: &[&[&str]]) {
    std::thread::scope(|scope| {
        for wrapper in wrappers {
            scope.spawn(move || lives(wrapper));
        }
    });
}

fn lives(wrapper: &[&str]) {
    let origin = Origin::named("a");
    let mut lb = options(&origin, wrapper).launch();
    let socket = lb.socket();
    eventually(HANG, &format!("{wrapper:?} serves"), || {
        assert!(lb.is_running(), "{wrapper:?}: {}", lb.stderr());
        (socket.exists() && lb.command(&["status"]).status.success()).then_some(())
    });
    let addr = lb.addr("web");
    assert_eq!(greeting(addr).unwrap(), "a", "{wrapper:?}");
    let engine = lb.engine();
    let inner = lb.status().number("pid");
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, &format!("{wrapper:?}: another engine"), || {
        let output = lb.command(&["status", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success() && !text.contains(&format!("\"engine_pid\":{engine},"))).then_some(())
    });
    lb.command_ok(&["reload"]);
    let output = lb.command(&["upgrade", "--probation", "0s"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 7)), "{wrapper:?}: {words}");
    eventually_eq(HANG, "a".to_owned(), || greeting(addr).unwrap());
    let inner = i32::try_from(inner).unwrap();
    kill(Pid::from_raw(inner), Signal::SIGTERM).unwrap();
    assert!(lb.wait(HANG).success(), "{wrapper:?}");
    assert!(!lb.stderr().contains("panicked"), "{wrapper:?}: {}", lb.stderr());
}

fn options(origin: &Origin, wrapper: &[&str]) -> LbOptions {
    Lb::options().config(&Config::new().origins([origin])).env("LB_TEST", Path::new("1")).within(wrapper)
}
