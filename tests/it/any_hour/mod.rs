//! The hour that no test names: traffic of several kinds and an upgrade every five seconds, while what surrounds the
//! balancer fails in turn and together. Five minutes, or thirty in the long form.
//!
//! A failure is explained when it overlaps a trouble that costs sessions by nature: the engine that carried it was killed
//! or stopped, or the server was killed. A refused connection is never explained.

mod ledger;
mod size;
mod stage;
mod traffic;
mod troubles;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use self::ledger::Ledger;
use self::size::Sizes;
use self::stage::Stage;
use self::traffic::Traffic;
use self::troubles::Troubles;
use crate::support::figure::figure;
use crate::support::limits::amount;
use crate::support::wait::observe;

/// From one upgrade to the next.
const SLOT: Duration = Duration::from_secs(5);

#[test]
fn any_hour_of_troubles_leaves_no_failure_unexplained() {
    let span = amount(Duration::from_secs(300), Duration::from_secs(1800));
    let seed = std::env::var("LB_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    figure("any hour: seed (LB_TEST_SEED)", seed);
    let ledger = Ledger::default();
    let mut stage = Stage::start();
    let traffic = Traffic::start(&stage, &ledger);
    let mut troubles = Troubles::new(seed, &ledger);
    let mut sizes = Sizes::default();
    let begun = Instant::now();
    while begun.elapsed() < span {
        let slot = Instant::now();
        let upgrade = stage.begin_upgrade(&ledger);
        troubles.next(&mut stage);
        upgrade.join().unwrap();
        observe(SLOT.saturating_sub(slot.elapsed()));
        sizes.take(&stage);
    }
    troubles.end(&mut stage);
    stage.assert_calm();
    traffic.finish();
    sizes.assert_flat();
    ledger.assert_explained();
    stage.lb.signal(Signal::SIGTERM);
    assert!(stage.lb.wait(Duration::from_secs(30)).success());
    figure("any hour: bytes of stderr that were read", stage.words.taken());
}
