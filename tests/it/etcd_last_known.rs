//! The last known good servers: written on a change, used when etcd is away, set aside when the file is damaged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lb::internals::control::AppliedFrom;
use lb::internals::control::Saved;

use super::support::etcd::Etcd;
use super::support::followed::Following;
use super::support::wait::eventually;

const SOON: Duration = Duration::from_secs(5);
const RECOVERY: Duration = Duration::from_secs(5);

#[test]
fn a_start_without_etcd_uses_the_last_known_servers() {
    let dir = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    etcd.put("/app/b", "10.0.0.2:80");
    let mut following = Following::new(&[etcd.endpoint()]);
    following.state_dir = Some(dir.path().to_owned());
    let app = following.clone().start();
    app.wait_for(&["a", "b"], SOON);
    let saved = || Saved::load(dir.path(), "app").unwrap().map_or(0, |saved| saved.servers.len());
    eventually(SOON, "the set on the disk", || (saved() == 2).then_some(()));
    drop(app);
    etcd.kill();
    let app = following.clone().start();
    // Before any other attempt.
    assert_eq!(app.now().len(), 2);
    assert_eq!(app.status().source, AppliedFrom::File);
    eventually(SOON, "the error", || app.status().error);
    etcd.restart();
    etcd.delete("/app/b");
    app.wait_for(&["a"], RECOVERY);
    assert_eq!(app.status().source, AppliedFrom::Etcd);
    eventually(SOON, "the set on the disk", || (saved() == 1).then_some(()));
    // A set handed over takes precedence over the file.
    let handed = app.saved();
    drop(app);
    fs::remove_file(dir.path().join("app.servers")).unwrap();
    following.resume = handed;
    etcd.kill();
    assert_eq!(following.start().now().len(), 1);
}

#[test]
fn the_guard_measures_the_first_listing_against_the_last_known_servers() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    let mut following = Following::new(&[etcd.endpoint()]);
    following.state_dir = Some(dir.path().to_owned());
    following.etcd.guard_delay = Duration::from_secs(3600);
    let app = following.clone().start();
    app.wait_for(&["a"], SOON);
    eventually(SOON, "the set on the disk", || Saved::load(dir.path(), "app").unwrap());
    drop(app);
    etcd.delete_prefix("/app/");
    let app = following.start();
    eventually(SOON, "the hold", || (app.status().held.len() == 1).then_some(()));
    assert_eq!(app.now().len(), 1);
}

#[test]
fn a_damaged_file_and_one_of_another_prefix_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.servers");
    let mut following = Following::new(&["http://127.0.0.1:1".to_owned()]);
    following.state_dir = Some(dir.path().to_owned());
    fs::write(&path, "lb-servers 1 00000000\n{}").unwrap();
    assert!(following.clone().start().now().is_empty());
    assert!(!path.exists() && dir.path().join("app.damaged").exists());
    let server = ("a".to_owned(), lb::internals::control::Discovered::new("10.0.0.1:80".parse().unwrap()), 0);
    Saved::new("/other/", 1, 1, 1, vec![server]).save(dir.path(), "app").unwrap();
    assert!(following.start().now().is_empty());
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_have_no_effect() {
    let disk = SmallDisk::new();
    let etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    let mut following = Following::new(&[etcd.endpoint()]);
    following.state_dir = Some(disk.path().to_owned());
    let app = following.start();
    app.wait_for(&["a"], SOON);
    let saved = || Saved::load(disk.path(), "app").unwrap().map_or(0, |saved| saved.servers.len());
    eventually(SOON, "the set on the disk", || (saved() == 1).then_some(()));
    disk.fill();
    etcd.put("/app/b", "10.0.0.2:80");
    app.wait_for(&["a", "b"], SOON);
    disk.remount("ro");
    etcd.put("/app/c", "10.0.0.3:80");
    app.wait_for(&["a", "b", "c"], SOON);
    // The old set is whole.
    assert_eq!(saved(), 1);
    disk.remount("rw");
    disk.empty();
    etcd.put("/app/d", "10.0.0.4:80");
    eventually(SOON, "the set on the disk", || (saved() == 4).then_some(()));
}

/// A file system of a few pages. Needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        mount(&["-t", "tmpfs", "-o", "size=16k,mode=0700", "none"], disk.path());
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        assert!(fs::write(self.path().join("filler"), [0; 1 << 16]).is_err());
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }

    fn remount(&self, how: &str) {
        mount(&["-o", &format!("remount,{how}")], self.path());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}

#[track_caller]
fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "mount {arguments:?} (needs root)");
}
