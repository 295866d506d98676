//! Upgrades between the first release as it landed and this source, back and forth under load: no request fails, no
//! session is cut, and the sessions move in either direction.

use std::path::Path;

use crate::support::ab::Ab;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::limits::{alone, amount};
use crate::support::origin::{Behaviour, Origin};
use crate::support::other_build::copy_of_old_build;
use crate::support::ping_pong::PingPong;

#[test]
fn sessions_move_from_the_first_release_and_back() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    copy_of_old_build(&old);
    copy_of_binary(&new);
    let (echo, http) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Http(100)));
    let http_table = format!(
        "[frontend.http]\nbind = [\"127.0.0.1:0\"]\nbackend = \"http\"\n\
         [backend.http]\n[backend.http.servers]\na = \"{}\"\n",
        http.server()
    );
    let lb = Lb::options().config(&Config::new().origins([&echo]).table(&http_table)).binary(&old).start();
    let sessions = PingPong::start(lb.addr("web"), SESSIONS);
    let mut ab = Ab::start(lb.addr("http"), amount(5_000, 200_000), 8, &[]);
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    while forth.len() < 3 || ab.is_running() {
        forth.push(upgrade(&lb, &new));
        sessions.run_for(SESSIONS);
        back.push(upgrade(&lb, &old));
        sessions.run_for(SESSIONS);
    }
    let report = ab.finish();
    figure("version skew: ab beside upgrades from the first release and back", &report);
    report.assert_flawless();
    let sessions = sessions.finish();
    sessions.assert_unharmed();
    figure("version skew: sessions moved from the first release", format!("{forth:?}"));
    figure("version skew: sessions moved back to it", format!("{back:?}"));
    figure("version skew: longest pause of a session", format!("{:?}", sessions.slowest));
    assert!(forth.iter().chain(&back).all(|moved| *moved >= SESSIONS), "{forth:?} {back:?}");
    let log = lb.stderr();
    let agreed = log.lines().filter(|line| line.contains("both engines speak")).count();
    assert_eq!(agreed, forth.len() + back.len(), "{log}");
}

/// After which no session is left behind. Returns how many were moved.
#[track_caller]
fn upgrade(lb: &Lb, binary: &Path) -> u64 {
    let output = lb.command(&["upgrade", "--binary", binary.to_str().unwrap(), "--probation", "50ms"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // "upgraded in 0.4 s: engine 15851 serves, 200 sessions moved, 0 left to drain"
    assert!(text.contains(" 0 left to drain"), "{text}");
    let moved = text.split(" sessions moved").next().and_then(|before| before.rsplit(' ').next());
    moved.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number of sessions in {text}"))
}

const SESSIONS: u64 = 100;
