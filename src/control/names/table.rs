//! Table: the last good addresses of each name. Pure.
//!
//! A failure, an empty answer or one of which nothing can be used changes nothing. What people need to know of is said
//! when it begins and when it ends, not with each look-up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::found::{FoundAddresses, MOST_ADDRESSES};
use super::saved::SavedNames;

#[derive(Debug, Default)]
pub(super) struct AddressTable {
    /// Never empty.
    known: BTreeMap<String, Vec<IpAddr>>,
    /// Names whose last look-up failed, which was said.
    failing: BTreeSet<String>,
}

impl AddressTable {
    /// Empty: none is known.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.known.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn keep_only(&mut self, names: &BTreeSet<String>) {
        self.known.retain(|name, _| names.contains(name));
        self.failing.retain(|name| names.contains(name));
    }

    /// Takes over what was known before. `newer`: than what is here.
    pub(super) fn resume(&mut self, saved: SavedNames, newer: bool) {
        for (name, addresses) in saved.names {
            if newer || !self.known.contains_key(&name) {
                self.known.insert(name, addresses);
            }
        }
    }

    pub(super) fn resume_one(&mut self, name: &str, address: IpAddr) {
        self.known.entry(name.to_owned()).or_insert_with(|| vec![address]);
    }

    pub(super) fn saved(&self) -> SavedNames {
        SavedNames { names: self.known.clone() }
    }

    /// Takes the outcome of a look-up in. Returns whether the addresses of the name are others now.
    pub(super) fn learn(&mut self, name: &str, outcome: Result<FoundAddresses, String>) -> bool {
        let found_again = outcome.is_ok() && self.failing.remove(name);
        let before = self.addresses(name);
        let now = match outcome {
            Ok(found) => merged(before, &found),
            Err(why) => {
                self.failed(name, &why);
                return false;
            }
        };
        let changed = now != before;
        match before {
            [first, ..] if !now.contains(first) => {
                tracing::info!("{name} has moved from {first} to {}", listed(&now));
            }
            [_, ..] if changed => tracing::info!("{name} has other addresses now: {}", listed(&now)),
            _ if found_again => tracing::info!("{name} is found again: {}", listed(&now)),
            _ => {}
        }
        if changed {
            self.known.insert(name.to_owned(), now);
        }
        changed
    }

    fn failed(&mut self, name: &str, why: &str) {
        let known = self.addresses(name);
        let consequence = match known {
            [] => "its server is left out until it is found".to_owned(),
            known => format!("its last known address stays in use: {}", listed(known)),
        };
        if self.failing.insert(name.to_owned()) {
            tracing::warn!("cannot look up {name}: {why}; {consequence}");
        } else {
            tracing::debug!("cannot look up {name}: {why}; {consequence}");
        }
    }
}

/// The addresses found, those that were known in their old order and first, so that no server moves without need. Of a
/// family that could not be asked for, what was known stays.
fn merged(before: &[IpAddr], found: &FoundAddresses) -> Vec<IpAddr> {
    let stays = |ip: &&IpAddr| found.addresses.contains(ip) || found.unknown.is_some_and(|family| family.has(**ip));
    let mut now: Vec<IpAddr> = before.iter().filter(stays).copied().collect();
    for ip in &found.addresses {
        if !now.contains(ip) && now.len() < MOST_ADDRESSES {
            now.push(*ip);
        }
    }
    now
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn found(addresses: &[IpAddr]) -> Result<FoundAddresses, String> {
        Ok(FoundAddresses { addresses: addresses.to_vec(), unknown: None, ttl: None })
    }

    #[test]
    fn addresses_that_stay_keep_their_order_and_a_failure_changes_nothing() {
        let mut table = AddressTable::default();
        assert!(table.learn("app", found(&[ip(1), ip(2)])));
        assert!(!table.learn("app", found(&[ip(2), ip(1)])));
        assert!(!table.learn("app", Err("no answer".into())));
        assert_eq!(table.addresses("app"), [ip(1), ip(2)]);
        assert!(table.learn("app", found(&[ip(3), ip(2)])));
        assert_eq!(table.addresses("app"), [ip(2), ip(3)]);
        assert!(table.learn("app", found(&[ip(4)])));
        assert_eq!(table.addresses("app"), [ip(4)]);
    }

    #[test]
    fn a_family_that_could_not_be_asked_for_keeps_its_addresses() {
        let v6: IpAddr = "fd00::1".parse().unwrap();
        let mut table = AddressTable::default();
        assert!(table.learn("app", found(&[v6, ip(1)])));
        let half = FoundAddresses { addresses: vec![ip(2)], unknown: Some(Family::V6), ttl: None };
        assert!(table.learn("app", Ok(half)));
        assert_eq!(table.addresses("app"), [v6, ip(2)]);
    }

    #[test]
    fn an_answer_of_any_length_is_cut_and_what_is_not_followed_is_forgotten() {
        let mut table = AddressTable::default();
        let many: Vec<_> = (0..200).map(ip).collect();
        assert!(table.learn("app", found(&many)) && table.learn("db", found(&[ip(1)])));
        assert_eq!(table.addresses("app"), &many[..MOST_ADDRESSES]);
        table.keep_only(&BTreeSet::from(["db".to_owned()]));
        assert!(table.addresses("app").is_empty() && !table.addresses("db").is_empty());
    }

    #[test]
    fn what_another_process_knew_is_newer_than_the_file() {
        let mut table = AddressTable::default();
        let saved = |last| SavedNames { names: [("app".to_owned(), vec![ip(last)])].into() };
        table.resume(saved(1), false);
        table.resume(saved(2), false);
        assert_eq!(table.addresses("app"), [ip(1)]);
        table.resume(saved(3), true);
        table.resume_one("app", ip(4));
        assert_eq!(table.addresses("app"), [ip(3)]);
    }
}
