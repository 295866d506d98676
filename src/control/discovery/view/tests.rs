use super::*;

fn kv(name: &str, value: &str, mod_revision: i64, lease: i64) -> Kv {
    Kv { key: format!("/p/{name}").into_bytes(), value: value.as_bytes().to_vec(), mod_revision, lease }
}

fn listed(kvs: Vec<Kv>) -> View {
    let mut view = View::new("/p/");
    list(&mut view, 10, kvs);
    view
}

fn list(view: &mut View, revision: i64, kvs: Vec<Kv>) -> BTreeMap<String, LastKey> {
    view.listing(Listing { cluster_id: 1, revision, kvs })
}

#[test]
fn a_bad_value_keeps_the_good_one_and_is_announced_once() {
    let mut view = listed(vec![kv("a", "10.0.0.1:80", 2, 0)]);
    view.events(vec![Event::Put(kv("a", "nonsense", 11, 0))]);
    assert_eq!(view.servers()["a"].addr.to_string(), "10.0.0.1:80");
    let news = view.take_news();
    assert_eq!((news.len(), news[0].key.as_str()), (1, "/p/a"));
    // The same bad value in a listing is no news, and changes nothing either.
    list(&mut view, 12, vec![kv("a", "nonsense", 11, 0)]);
    assert_eq!(view.servers().len(), 1);
    assert!(view.take_news().is_empty());
    assert_eq!(view.bad().count(), 1);
    view.events(vec![Event::Put(kv("a", "10.0.0.2:80", 13, 0))]);
    assert_eq!(view.bad().count(), 0);
    assert_eq!(view.counters().bad_values, 1);
}

#[test]
fn a_key_that_leaves_tells_its_last_lease_and_whether_it_said_so() {
    let mut view = listed(vec![kv("a", "a:1", 2, 5), kv("b", "b:1", 3, 6)]);
    view.events(vec![Event::Put(kv("a", "a:1", 11, 7))]);
    let key = b"/p/a".to_vec();
    let left = view.events(vec![Event::Delete { key, mod_revision: 12 }]);
    let one = |name: &str, lease, drain| BTreeMap::from([(name.to_owned(), LastKey { lease, drain })]);
    assert_eq!(left, one("a", 7, false));
    // Also when both come at once.
    let (value, key) = (r#"{"addr":"c:1","drain":true}"#, b"/p/c".to_vec());
    let both = vec![Event::Put(kv("c", value, 13, 0)), Event::Delete { key, mod_revision: 14 }];
    assert_eq!(view.events(both), one("c", 0, true));
    assert_eq!(list(&mut view, 15, vec![]), one("b", 6, false));
}

#[test]
fn newcomers_never_push_out_who_serves_already() {
    let number =
        |range: std::ops::Range<usize>| -> Vec<Kv> { range.map(|i| kv(&format!("s{i}"), "a:1", 2, 0)).collect() };
    let mut view = listed(number(1..MAX_SERVERS + 1));
    list(&mut view, 11, number(0..MAX_SERVERS + 1));
    assert!(!view.servers().contains_key("s0") && view.servers().contains_key("s1"));
    assert!(!view.has_room_for_more());
    view.events(vec![Event::Delete { key: b"/p/s1".to_vec(), mod_revision: 12 }]);
    assert!(view.has_room_for_more());
}

#[test]
fn another_cluster_or_a_lower_revision_asks_for_a_listing() {
    assert_eq!(View::new("/p/").relist(1, 1), Some(Relist::First));
    let view = listed(vec![]);
    assert_eq!(view.relist(1, 10), None);
    assert_eq!(view.relist(1, 9), Some(Relist::Backwards { before: 10, now: 9 }));
    assert_eq!(view.relist(2, 11), Some(Relist::OtherCluster { before: 1, now: 2 }));
}

#[test]
fn keys_are_logged_without_control_characters() {
    let mut view = listed(vec![kv("a\n\u{1b}[2J", "a:1", 2, 0)]);
    assert_eq!(view.take_news()[0].key, "/p/a\\n\\u{1b}[2J");
}
