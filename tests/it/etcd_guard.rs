//! Which losses of servers in etcd are held back, and which are not.

use std::time::{Duration, Instant};

use lb::internals::control::HoldReason;

use super::support::etcd::Etcd;
use super::support::followed::{Followed, Following};
use super::support::wait::{eventually, observe};

const SOON: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_secs(4);

fn five(delay: Duration) -> (Etcd, Followed) {
    let etcd = Etcd::start();
    for number in 1..=5 {
        etcd.put(&format!("/app/s{number}"), &format!("10.0.0.{number}:80"));
    }
    let mut following = Following::new(&[etcd.endpoint()]);
    following.etcd.guard_delay = delay;
    let app = following.start();
    app.wait_for(&["s1", "s2", "s3", "s4", "s5"], SOON);
    (etcd, app)
}

#[test]
fn all_keys_deleted_are_held_and_then_let_go() {
    let (etcd, app) = five(DELAY);
    let deleted = Instant::now();
    etcd.delete_prefix("/app/");
    eventually(SOON, "the hold", || (app.status().held.len() == 5).then_some(()));
    assert_eq!(app.now().len(), 5);
    // Additions are applied at once meanwhile.
    etcd.put("/app/s6", "10.0.0.6:80");
    app.wait_for(&["s1", "s2", "s3", "s4", "s5", "s6"], SOON);
    app.wait_for(&["s6"], DELAY + SOON);
    assert!(deleted.elapsed() > DELAY, "let go too soon");
    assert_eq!(app.status().holds_total, 5);
}

#[test]
fn most_keys_deleted_are_held_until_the_operator_accepts() {
    let (etcd, app) = five(Duration::from_secs(3600));
    // One by one: three at once would be held together.
    etcd.delete("/app/s1");
    app.wait_for(&["s2", "s3", "s4", "s5"], SOON);
    etcd.delete("/app/s2");
    app.wait_for(&["s3", "s4", "s5"], SOON);
    // The third makes it more than half.
    etcd.delete("/app/s3");
    eventually(SOON, "the hold", || (app.status().held.len() == 1).then_some(()));
    app.wait_for(&["s3", "s4", "s5"], SOON);
    assert_eq!(app.accept(), 1);
    app.wait_for(&["s4", "s5"], SOON);
}

#[test]
fn keys_that_come_back_end_the_hold() {
    let (etcd, app) = five(DELAY);
    etcd.delete_prefix("/app/s");
    eventually(SOON, "the hold", || (app.status().held.len() == 5).then_some(()));
    for number in 1..=5 {
        etcd.put(&format!("/app/s{number}"), &format!("10.0.0.{number}:80"));
    }
    eventually(SOON, "the end of the hold", || app.status().held.is_empty().then_some(()));
    observe(DELAY + Duration::from_secs(1));
    assert_eq!(app.now().len(), 5);
    assert!(app.sets().iter().skip(1).all(|(_, set)| set.len() == 5), "no server was ever away");
}

#[test]
fn a_hold_outlasts_an_etcd_that_is_away_at_its_end() {
    let (mut etcd, app) = five(DELAY);
    etcd.delete_prefix("/app/s");
    eventually(SOON, "the hold", || (app.status().held.len() == 5).then_some(()));
    etcd.kill();
    observe(DELAY + Duration::from_secs(1));
    assert_eq!(app.now().len(), 5);
    etcd.restart();
    app.wait_for(&[], Duration::from_secs(5));
}

#[test]
fn a_lease_that_ends_keeps_its_server_while_it_passes_its_checks() {
    let (etcd, app) = five(Duration::from_secs(3600));
    let lease = etcd.put_leased("/app/s6", "10.0.0.6:80", 3600);
    let other = etcd.put_leased("/app/s7", "10.0.0.7:80", 3600);
    eventually(SOON, "the new servers", || (app.now().len() == 7).then_some(()));
    etcd.revoke(lease);
    let held = eventually(SOON, "the hold", || app.status().held.first().cloned());
    assert_eq!((held.name.as_str(), held.why), ("s6", HoldReason::Lease));
    app.set_failing("s6", true);
    app.wait_for(&["s1", "s2", "s3", "s4", "s5", "s7"], SOON);
    // A server that fails its checks is removed with its lease.
    app.set_failing("s7", true);
    etcd.revoke(other);
    app.wait_for(&["s1", "s2", "s3", "s4", "s5"], SOON);
}

#[test]
fn held_servers_that_fail_their_checks_are_let_go() {
    let (etcd, app) = five(Duration::from_secs(3600));
    etcd.delete_prefix("/app/");
    eventually(SOON, "the hold", || (app.status().held.len() == 5).then_some(()));
    app.set_failing("s1", true);
    app.set_failing("s4", true);
    app.wait_for(&["s2", "s3", "s5"], SOON);
    assert_eq!(app.status().held.len(), 3);
}

#[test]
fn servers_that_said_they_drain_are_never_held_also_the_last() {
    let (etcd, app) = five(Duration::from_secs(3600));
    let drain = |number: u32| {
        let value = format!(r#"{{"addr":"10.0.0.{number}:80","drain":true}}"#);
        etcdctl_put(format!("/app/s{number}"), value)
    };
    etcd.transact((1..=5).map(drain).collect());
    etcd.transact((1..=4).map(|number| etcd_client::TxnOp::delete(format!("/app/s{number}"), None)).collect());
    app.wait_for(&["s5"], SOON);
    etcd.delete("/app/s5");
    app.wait_for(&[], SOON);
    assert_eq!(app.status().holds_total, 0);
}

fn etcdctl_put(key: String, value: String) -> etcd_client::TxnOp {
    etcd_client::TxnOp::put(key, value, None)
}

#[test]
fn a_leased_key_deleted_by_a_command_is_removed_at_once() {
    let (etcd, app) = five(Duration::from_secs(3600));
    etcd.put_leased("/app/s6", "10.0.0.6:80", 3600);
    eventually(SOON, "the new server", || (app.now().len() == 6).then_some(()));
    etcd.delete("/app/s6");
    app.wait_for(&["s1", "s2", "s3", "s4", "s5"], SOON);
    assert_eq!(app.status().holds_total, 0);
}
