//! One follower of a real etcd that is killed, frozen, compacted, restored and emptied.

use std::time::Duration;

use super::support::etcd::Etcd;
use super::support::figure::figure;
use super::support::followed::Following;
use super::support::machine::Stopwatch;
use super::support::wait::{eventually, observe};

/// Deadline once etcd is back.
const RECOVERY: Duration = Duration::from_secs(5);

/// Deadline for what happens at once.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn puts_and_deletes_are_followed_at_once() {
    let etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    etcd.put("/other/z", "10.0.0.9:80");
    let app = Following::new(&[etcd.endpoint()]).start();
    app.wait_for(&["a"], SOON);
    etcd.put("/app/b", r#"{"addr":"10.0.0.2:80","weight":3,"zone":"x"}"#);
    app.wait_for(&["a", "b"], SOON);
    etcd.put("/app/b", "nonsense");
    etcd.put("/app/c", "10.0.0.3:80");
    app.wait_for(&["a", "b", "c"], SOON);
    assert_eq!(app.now()["b"], "10.0.0.2:80");
    let status = app.status();
    assert_eq!((status.counters.bad_values, status.counters.ignored_fields), (1, 1));
    assert_eq!(status.bad[0].key, "/app/b");
    etcd.delete("/app/a");
    app.wait_for(&["b", "c"], SOON);
}

#[test]
fn a_killed_etcd_changes_nothing_and_is_followed_again_when_it_is_back() {
    let mut etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    let app = Following::new(&[etcd.endpoint()]).start();
    app.wait_for(&["a"], SOON);
    for round in 0..3 {
        etcd.kill();
        eventually(RECOVERY, "the loss noticed", || app.status().error);
        observe(Duration::from_secs(2));
        assert_eq!(app.now().len(), 1 + round);
        etcd.restart();
        let name = format!("b{round}");
        etcd.put(&format!("/app/{name}"), "10.0.0.2:80");
        eventually(RECOVERY, "the new server", || app.now().contains_key(&name).then_some(()));
    }
    assert_eq!(app.status().error, None);
}

#[test]
fn a_frozen_etcd_is_noticed_in_ten_seconds_and_followed_again_when_it_thaws() {
    let etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    let app = Following::new(&[etcd.endpoint()]).start();
    app.wait_for(&["a"], SOON);
    etcd.freeze();
    let begun = Stopwatch::start();
    eventually(Duration::from_secs(10), "the silence noticed", || app.status().error);
    figure("a frozen etcd is noticed after (ms)", begun.elapsed().as_millis());
    observe(Duration::from_secs(30).saturating_sub(begun.elapsed()));
    etcd.thaw();
    etcd.put("/app/b", "10.0.0.2:80");
    figure("a thawed etcd is followed after (ms)", app.wait_for(&["a", "b"], RECOVERY).as_millis());
}

#[test]
fn what_was_compacted_away_is_listed() {
    let mut etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    etcd.put("/app/b", "10.0.0.2:80");
    let app = Following::new(&[etcd.endpoint()]).start();
    app.wait_for(&["a", "b"], SOON);
    etcd.kill();
    eventually(RECOVERY, "the loss noticed", || app.status().error);
    etcd.on_another_port(|etcd| {
        etcd.delete("/app/a");
        etcd.put("/app/c", "10.0.0.3:80");
        let revision = etcd.put("/app/b", "10.0.0.4:80");
        etcd.compact(revision);
    });
    etcd.restart();
    app.wait_for(&["b", "c"], RECOVERY);
    assert_eq!(app.now()["b"], "10.0.0.4:80");
}

#[test]
fn an_etcd_restored_from_an_older_snapshot_is_followed() {
    for token in ["etcd-cluster", "another-cluster"] {
        let mut etcd = Etcd::start();
        etcd.put("/app/a", "10.0.0.1:80");
        let snapshot = etcd.snapshot();
        for number in 0..20 {
            etcd.put("/app/b", &format!("10.0.0.2:{}", 1000 + number));
        }
        let app = Following::new(&[etcd.endpoint()]).start();
        app.wait_for(&["a", "b"], SOON);
        etcd.restore(&snapshot, token);
        app.wait_for(&["a"], RECOVERY);
        // The follower watches from there, not from a revision far ahead.
        etcd.put("/app/c", "10.0.0.3:80");
        app.wait_for(&["a", "c"], SOON);
    }
}

#[test]
fn a_restore_that_grew_past_our_revision_is_found_by_listing_soon_after() {
    let mut etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    let snapshot = etcd.snapshot();
    etcd.put("/app/b", "10.0.0.2:80");
    let app = Following::new(&[etcd.endpoint()]).start();
    app.wait_for(&["a", "b"], SOON);
    etcd.kill();
    eventually(RECOVERY, "the loss noticed", || app.status().error);
    etcd.restore_stopped(&snapshot, "etcd-cluster");
    etcd.on_another_port(|etcd| {
        for number in 0..20 {
            etcd.put("/app/c", &format!("10.0.0.3:{}", 1000 + number));
        }
    });
    etcd.restart();
    app.wait_for(&["a", "c"], RECOVERY + Duration::from_secs(11));
}
