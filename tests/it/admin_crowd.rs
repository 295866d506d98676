//! Clients of the admin socket that ask for nothing make room for those that do.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::limits::raise_descriptors;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};

#[test]
fn five_hundred_idle_clients_lock_no_operator_out_and_cut_no_upgrade() {
    raise_descriptors();
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| lb.command_ok(&["upgrade", "--probation", "2s"]));
        // It connects anew for as long as the test lasts: the oldest ones are closed meanwhile.
        scope.spawn(|| {
            let mut crowd = std::collections::VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                crowd.push_back(UnixStream::connect(lb.socket()).unwrap());
                if crowd.len() > 500 {
                    crowd.pop_front();
                }
            }
        });
        for _ in 0..3 {
            let watch = Stopwatch::start();
            lb.command_ok(&["status"]);
            assert!(watch.elapsed() < Duration::from_secs(10), "{watch:?}");
        }
        let said = upgrade.join().unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(said.contains("upgraded"), "{said}");
    });
}
