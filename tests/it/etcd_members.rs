//! Three members: the leader dies, the member that is watched is cut off, and the follower moves to another.

use std::time::Duration;

use super::etcd_servers::{discovering, nth, wait_for};
use super::support::etcd_cluster::Cluster;
use super::support::figure::figure;
use super::support::followed::Following;
use super::support::lb::Lb;
use super::support::load::Load;
use super::support::origin::{Behaviour, Origin};
use super::support::wait::{eventually, observe};

/// Deadline once the cluster serves again.
const RECOVERY: Duration = Duration::from_secs(5);

/// Deadline until a hung connection is noticed and the next endpoint answers.
const NOTICED: Duration = Duration::from_secs(15);

#[test]
fn a_leader_that_dies_and_a_member_that_is_cut_off_are_left_for_another() {
    let mut cluster = Cluster::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    cluster.put("/app/a", &nth(&origin, 1));
    let app = Following::new(&cluster.endpoints()).start();
    app.wait_for(&["a"], RECOVERY);
    let lb = Lb::start(&discovering(&cluster.endpoints(), "0"));
    let load = Load::start(lb.addr("web"));

    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.put("/app/b", &nth(&origin, 2));
    let took = app.wait_for(&["a", "b"], RECOVERY);
    figure("etcd's leader killed: followed after its successor's first put (ms)", took.as_millis());
    cluster.restart(leader);

    // The member that is connected, so that it has to be left.
    let watched = eventually(RECOVERY, "a connection", || app.status().endpoint);
    let member = cluster.endpoints().iter().position(|endpoint| *endpoint == watched).unwrap();
    cluster.cut_off(member);
    cluster.put("/app/c", &nth(&origin, 3));
    let took = app.wait_for(&["a", "b", "c"], NOTICED);
    figure("the watched etcd member cut off: the others followed after (ms)", took.as_millis());
    cluster.reconnect(member);

    // Without a majority a member has no leader, and its answers must not be used.
    let (one, two) = ((member + 1) % 3, (member + 2) % 3);
    let watched = || app.status().endpoint;
    cluster.kill(one);
    cluster.kill(two);
    eventually(NOTICED, "the lack of a leader noticed", || watched().is_none().then_some(()));
    observe(Duration::from_secs(2));
    assert_eq!(app.now().len(), 3);
    cluster.restart(one);
    cluster.put("/app/d", &nth(&origin, 4));
    app.wait_for(&["a", "b", "c", "d"], RECOVERY);
    wait_for(&lb, &["a", "b", "c", "d"], RECOVERY);
    load.assert_flawless("etcd's leader is killed, a member cut off, and the majority lost");
    assert!(app.sets().windows(2).all(|pair| pair[0].1.len() < pair[1].1.len()), "no server was ever away");
}
