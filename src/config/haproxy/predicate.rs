//! What a condition may ask.

use std::cmp::Ordering;

use super::environment::Environment;

/// Asks a predicate about its arguments.
pub(super) type Predicate = fn(&str, &str, &Environment) -> bool;

/// With the number of their arguments. There is no OpenSSL here: no version of it holds.
pub(super) const PREDICATES: [(&str, usize, Predicate); 10] = [
    ("defined", 1, |name, _, environment| environment.get(name).is_some()),
    ("feature", 1, |name, _, _| FEATURES.contains(&name)),
    ("streq", 2, |one, other, _| one == other),
    ("strneq", 2, |one, other, _| one != other),
    ("strstr", 2, |text, part, _| text.contains(part)),
    ("version_atleast", 1, |version, _, _| compare(version).is_none_or(Ordering::is_le)),
    ("version_before", 1, |version, _, _| compare(version).is_some_and(Ordering::is_gt)),
    ("openssl_version_atleast", 1, |_, _, _| false),
    ("openssl_version_before", 1, |_, _, _| false),
    ("ssllib_name_startswith", 1, |_, _, _| false),
];

/// A version beside the one whose words these are. `None`: it is none.
fn compare(version: &str) -> Option<Ordering> {
    let numbers = version.split('-').next()?;
    let mut given = Vec::new();
    for number in numbers.split('.') {
        given.push(number.parse::<u32>().ok()?);
    }
    given.resize(3, 0);
    // A development version is before the one that it leads to.
    let is_before = version.contains("-dev") && given == VERSION;
    Some(if is_before { Ordering::Less } else { given.as_slice().cmp(VERSION) })
}

/// As `show info` says it.
const VERSION: &[u32] = &[2, 8, 0];

/// Those of HAProxy's build options that are true of this program.
const FEATURES: [&str; 8] = ["ACCEPT4", "EPOLL", "GETADDRINFO", "LINUX_SPLICE", "PRCTL", "SYSTEMD", "TFO", "THREAD"];
