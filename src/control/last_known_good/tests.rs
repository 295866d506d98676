use std::fs;

use super::*;
use crate::config::Weight;

fn saved() -> Saved {
    let app1 = Discovered {
        addr: "10.0.0.1:80".parse().unwrap(),
        weight: Weight::new(3).unwrap(),
        maxconn: Some(9),
        backup: true,
        drain: true,
    };
    let app2 = Discovered::new("app2.internal:80".parse().unwrap());
    let servers = vec![("app1".to_owned(), app1, 7), ("app2".to_owned(), app2, 0)];
    Saved::new("/app/", 0xdead_beef_dead_beef, 42, 1_800_000_000, servers)
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Saved::load(dir.path(), "app").unwrap().is_none());
    saved().save(dir.path(), "app").unwrap();
    saved().save(dir.path(), "app").unwrap();
    let loaded = Saved::load(dir.path(), "app").unwrap().unwrap();
    assert_eq!(loaded, saved());
    assert_eq!(loaded.servers().unwrap()[0].1.weight.get(), 3);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn every_damaged_byte_is_found_and_the_file_set_aside() {
    let good = saved().encode();
    for position in 0..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        assert!(Saved::decode(&bytes).is_err(), "byte {position}");
        assert!(Saved::decode(&good[..position]).is_err(), "cut at {position}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.servers"), &good[..good.len() - 1]).unwrap();
    let error = Saved::load(dir.path(), "app").unwrap_err().to_string();
    assert!(error.contains("checksum is wrong") && error.contains("app.damaged"), "{error}");
    assert!(Saved::load(dir.path(), "app").unwrap().is_none());
    assert_eq!(fs::read(dir.path().join("app.damaged")).unwrap(), good[..good.len() - 1]);
}

#[test]
fn a_file_with_a_right_checksum_and_wrong_content_is_damaged_too() {
    let mut wrong = saved();
    wrong.servers[0].addr = "nowhere".to_owned();
    assert!(matches!(Saved::decode(&wrong.encode()), Err(Damage::Content(_))));
    wrong = saved();
    wrong.servers[0].weight = 999;
    assert!(matches!(Saved::decode(&wrong.encode()), Err(Damage::Content(_))));
    let newer = String::from_utf8(saved().encode()).unwrap().replacen(" 1 ", " 2 ", 1);
    assert_eq!(Saved::decode(newer.as_bytes()), Err(Damage::Version("2".to_owned())));
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone/too");
    let error = saved().save(&gone, "app").unwrap_err().to_string();
    assert!(error.contains("cannot write"), "{error}");
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    saved().save(&gone, "app").unwrap();
    assert_eq!(Saved::load(&gone, "app").unwrap().unwrap(), saved());
}

#[test]
fn a_failed_write_leaves_the_old_set() {
    let dir = tempfile::tempdir().unwrap();
    saved().save(dir.path(), "app").unwrap();
    // A directory in the place of the temporary file fails the write for every user.
    let temporary = format!("app.new-{}", std::process::id());
    fs::create_dir(dir.path().join(temporary)).unwrap();
    assert!(saved().save(dir.path(), "app").is_err());
    assert_eq!(Saved::load(dir.path(), "app").unwrap(), Some(saved()));
}
