//! What a condition may ask.

use std::cmp::Ordering;

use super::environment::{Environment, HAPROXY_VERSION};

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
    let ours = numbers(HAPROXY_VERSION)?;
    let given = numbers(version.split('-').next()?)?;
    // A development version is before the one that it leads to.
    let is_before = version.contains("-dev") && given == ours;
    Some(if is_before { Ordering::Less } else { given.cmp(&ours) })
}

/// The first three.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let mut numbers: Vec<_> = version.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    numbers.resize(3, 0);
    Some(numbers)
}

/// Those of HAProxy's build options that are true of this program.
const FEATURES: [&str; 8] = ["ACCEPT4", "EPOLL", "GETADDRINFO", "LINUX_SPLICE", "PRCTL", "SYSTEMD", "TFO", "THREAD"];
