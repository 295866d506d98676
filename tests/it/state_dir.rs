//! `state_dir`: believed only where no other user can change it, made where it is missing, written until it holds.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::etcd::Etcd;
use crate::support::lb::{Lb, LbOptions};
use crate::support::wait::eventually;

#[test]
fn a_directory_that_others_can_change_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    for (mode, owner, words) in [(0o777, 0, "chmod go-w"), (0o1777, 0, "chmod go-w"), (0o755, 65534, "belongs to uid")]
    {
        fs::set_permissions(&state, Permissions::from_mode(mode)).unwrap();
        chown(&state, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner))).unwrap();
        refused(&state, words);
    }
    chown(&state, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).unwrap();
    symlink(&state, dir.path().join("link")).unwrap();
    refused(&dir.path().join("link"), "symbolic link");
    refused(&dir.path().join("none/below"), "install -d");
}

#[test]
fn a_missing_directory_is_made_and_a_reload_refuses_a_bad_one() {
    let lb = with_state(Path::new("@DIR@/state"), "http://127.0.0.1:1").start();
    assert_eq!(fs::metadata(lb.dir().join("state")).unwrap().mode() & 0o777, 0o700);
    let open = lb.dir().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    lb.write_config(&text(&open, "http://127.0.0.1:1"));
    let output = lb.command(&["reload"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && words.contains("chmod go-w"), "{words}");
}

#[test]
fn a_planted_file_is_refused_at_once_and_what_it_leads_to_stays() {
    type Plant = fn(&Path);
    let plants: [(Plant, &str); 3] = [
        (|path| mkfifo(path, Mode::S_IRWXU).unwrap(), "not a regular file"),
        (|path| symlink("victim", path).unwrap(), "symbolic link"),
        (|path| File::create(path).unwrap().set_len(3 << 30).unwrap(), "more than"),
    ];
    let etcd = Etcd::start();
    etcd.put("/app/a", "127.0.0.1:9");
    for (plant, words) in plants {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("victim"), "precious").unwrap();
        plant(&dir.path().join("app.servers"));
        let lb = with_state(dir.path(), &etcd.endpoint()).start();
        assert!(lb.stderr().contains(words), "{words}: {}", lb.stderr());
        eventually(HANG, "a set in its place", || saved(dir.path()).contains("127.0.0.1:9").then_some(()));
        assert_eq!(fs::read_to_string(dir.path().join("victim")).unwrap(), "precious");
        let status = fs::read_to_string(format!("/proc/{}/status", lb.engine())).unwrap();
        let peak: u64 = status.split_once("VmHWM:").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < 200 << 10, "{peak} kB");
    }
}

#[test]
fn a_failed_save_is_said_once_and_tried_again_until_it_holds() {
    let disk = tempfile::tempdir().unwrap();
    mount(&["-t", "tmpfs", "-o", "size=16k,mode=0700", "none"], disk.path());
    let _mounted = Mounted(disk.path());
    fs::write(disk.path().join("filler"), [0; 1 << 16]).unwrap_err();
    let etcd = Etcd::start();
    etcd.put("/app/a", "127.0.0.1:9");
    let lb = with_state(disk.path(), &etcd.endpoint()).start();
    let said = || lb.stderr().matches("cannot write").count();
    eventually(HANG, "the failure", || (said() > 0).then_some(()));
    fs::remove_file(disk.path().join("filler")).unwrap();
    eventually(HANG, "the set on the disk", || saved(disk.path()).contains("127.0.0.1:9").then_some(()));
    eventually(HANG, "that it holds", || lb.stderr().contains("saved again").then_some(()));
    assert_eq!(said(), 1, "{}", lb.stderr());
}

#[track_caller]
fn refused(state: &Path, words: &str) {
    let mut lb = with_state(state, "http://127.0.0.1:1").launch();
    let status = lb.wait(HANG);
    assert!(status.code() == Some(1) && lb.stderr().contains(words), "{status}, no `{words}`: {}", lb.stderr());
}

fn with_state(state: &Path, endpoint: &str) -> LbOptions {
    Lb::options().text(&text(state, endpoint))
}

fn text(state: &Path, endpoint: &str) -> String {
    let config = Config::new().global(&format!("state_dir = \"{}\"", state.display()));
    let config = config.backend("discovery = { etcd = \"/app/\" }");
    config.table(&format!("[etcd]\nendpoints = [\"{endpoint}\"]")).text()
}

fn saved(state: &Path) -> String {
    let path = state.join("app.servers");
    // A fifo would wait.
    let regular = fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_file() && facts.len() < 1 << 20);
    if regular { fs::read_to_string(path).unwrap() } else { String::new() }
}

/// A mounted file system; needs root.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[track_caller]
fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "mount {arguments:?} (needs root)");
}
