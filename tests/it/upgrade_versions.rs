//! Upgrades between two real binaries whose hand-off features have different versions: features without a common
//! version are left out, sessions stay where they are, and no connection is refused or cut.

use std::path::Path;
use std::process::Output;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::knocker::Knocker;
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::origin::{Behaviour, Origin};
use crate::support::other_build::copy_of_other_build;
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::wait::eventually;

#[test]
fn features_without_a_common_version_are_left_out_in_either_direction() {
    let dir = tempfile::tempdir().unwrap();
    let (this, other) = (dir.path().join("this"), dir.path().join("other"));
    copy_of_binary(&this);
    copy_of_other_build(&other);
    upgrade_between(&this, &other);
    upgrade_between(&other, &this);
}

fn upgrade_between(old: &Path, new: &Path) {
    let origins = [Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo)];
    let lb = Lb::options().config(&Config::new().origins(&origins)).binary(old).start();
    let addr = lb.addr("web");
    lb.command_ok(&["server", "drain", "app/b"]);
    let clients = Knocker::start(addr, 4);
    let older = PingPong::start(addr, 8);
    older.run_for(1000);
    let before = lb.status().frontend("web").number("sessions_total");

    let output = upgrade(&lb, new);
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    // Connections of the clients in progress may be among those that stay.
    let left = number_before(&report, " left to drain");
    assert!((8..=12).contains(&left), "{report}");
    assert_eq!(number_before(&report, " sessions moved"), 0, "{report}");
    assert!(report.contains("(the new binary takes no sessions from this one)"), "{report}");
    let log = lb.stderr();
    assert!(log.contains("both engines speak health 1, discovery 1, places 1\n"), "{log}");
    // Health, with a common version, is preserved; counters start anew.
    assert_eq!(lb.status().server("app/b").text("status"), "DRAIN");
    let newer = PingPong::start(addr, 8);
    older.run_for(200);
    let knocks = clients.finish();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
    let counted = lb.status().frontend("web").number("sessions_total");
    assert!(
        (8..=knocks.served + 16 - before).contains(&counted),
        "{counted} counted of {} and 16, {before} of them before",
        knocks.served
    );

    // Between two of the new ones sessions move again, while the oldest engine still drains.
    let output = upgrade(&lb, new);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(number_before(&report, " sessions moved"), 8, "{report}");
    older.run_for(200);
    newer.run_for(200);
    older.finish().assert_unharmed();
    newer.finish().assert_unharmed();
    eventually(HANG, "one engine", || (proc::descendants(lb.pid()).len() == 1).then_some(()));
    assert_eq!(lb.status().number("generation"), 3);
}

#[track_caller]
fn upgrade(lb: &Lb, binary: &Path) -> Output {
    let binary = binary.to_str().unwrap();
    lb.command(&["upgrade", "--binary", binary, "--probation", "300ms"])
}

/// The number in front of these words.
#[track_caller]
fn number_before(text: &str, words: &str) -> u64 {
    let before = text.split(words).next().unwrap_or_default();
    let number = before.rsplit(' ').next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number before {words:?} in {text}"))
}
