//! A thousand changes a minute, with etcd killed five times meanwhile: every applied set existed in etcd, and the last
//! one is right.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd_client::{EventType, WatchOptions};

use super::etcd_servers::discovering;
use super::support::etcd::Etcd;
use super::support::figure::figure;
use super::support::followed::{Following, Set};
use super::support::lb::Lb;
use super::support::load::Load;
use super::support::origin::{Behaviour, Origin};
use super::support::wait::{eventually, eventually_eq, observe};

const CHANGES: u32 = 1000;
const SPAN: Duration = Duration::from_secs(60);
const KILLS: u32 = 5;
const NAMES: u32 = 40;

#[test]
fn a_thousand_changes_with_etcd_killed_five_times_end_as_etcd_has_them() {
    let mut etcd = Etcd::start();
    let origin = Origin::start_everywhere(Behaviour::Http(100));
    let port = origin.addr().port();
    etcd.put("/app/always", &format!("127.0.0.1:{port}"));
    let lb = Lb::start(&discovering(&[etcd.endpoint()], "0"));
    let load = Load::start(lb.addr("web"));
    let app = Following::new(&[etcd.endpoint()]).start();
    let mut random = fastrand::Rng::with_seed(5);
    let mut put_at = Vec::new();
    let begun = Instant::now();
    for change in 0..CHANGES {
        if change % (CHANGES / KILLS) == CHANGES / KILLS / 2 {
            etcd.kill();
            etcd.restart();
        }
        let key = format!("/app/s{}", random.u32(..NAMES));
        // Each value is distinct, so that the time of its application is known.
        let value = format!("127.{}.{}.1:{port}", change / 250 + 1, change % 250 + 1);
        match random.u32(..10) {
            0..=5 => {
                let before = Instant::now();
                etcd.put(&key, &value);
                put_at.push((value, before));
            }
            6..=7 => etcd.delete(&key),
            _ => {
                etcd.put_leased(&key, &value, 1);
            }
        }
        observe((SPAN * (change + 1) / CHANGES).saturating_sub(begun.elapsed()));
    }
    figure("churn: seconds for 1,000 changes", begun.elapsed().as_secs());
    // After the last leases have expired nothing changes any more.
    eventually_eq(Duration::from_secs(30), 0, || etcd.leases());
    let last: Set = etcd.all("/app/").into_iter().collect();
    eventually(Duration::from_secs(5), "the last set", || (app.now() == last).then_some(()));

    let served = || -> Set {
        let status = lb.status();
        let addr = |name: &String| status.server(&format!("app/{name}")).text("addr");
        status.servers("app").iter().map(|name| (name.clone(), addr(name))).collect()
    };
    eventually_eq(Duration::from_secs(5), last, served);
    load.assert_flawless("1,000 changes come and etcd is killed five times");

    let real = sets_of_history(&etcd);
    let sets = app.sets();
    figure("churn: sets applied / revisions", format!("{} / {}", sets.len(), real.len()));
    for (_, set) in &sets {
        assert!(real.contains(set), "a set that was never real: {set:?}");
    }
    let mut latencies: Vec<Duration> = put_at
        .iter()
        .filter_map(|(value, put)| {
            let applied = sets.iter().find(|(_, set)| set.values().any(|addr| addr == value))?;
            Some(applied.0.saturating_duration_since(*put))
        })
        .collect();
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
    let text = format!("p50 {} p90 {} p99 {} max {}, {} puts", at(50), at(90), at(99), at(100), latencies.len());
    figure("churn: put to applied (µs), kills included", text);
}

/// The set at each revision, from etcd's own history.
fn sets_of_history(etcd: &Etcd) -> Vec<Set> {
    let mut client = etcd.connect();
    let last = etcd.revision();
    etcd.run(async {
        let options = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut watch = client.watch("/", Some(options)).await.unwrap();
        let (mut set, mut sets, mut revision) = (BTreeMap::new(), Vec::new(), 0);
        while revision < last {
            let message = watch.message().await.unwrap().unwrap();
            for event in message.events() {
                let kv = event.kv().unwrap();
                if kv.mod_revision() != revision {
                    sets.push(set.clone());
                    revision = kv.mod_revision();
                }
                let name = kv.key_str().unwrap().trim_start_matches("/app/").to_owned();
                match event.event_type() {
                    EventType::Put => drop(set.insert(name, kv.value_str().unwrap().to_owned())),
                    EventType::Delete => drop(set.remove(&name)),
                }
            }
        }
        sets.push(set);
        sets
    })
}
