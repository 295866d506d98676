//! Counts of names that are no more.

use std::collections::BTreeMap;

use super::counts::Counts;

/// What names have counted that are no more, for when they return: no total falls then. Of the oldest of very many names
/// the sum alone remains.
#[derive(Debug, Default)]
pub(crate) struct Remembered<C> {
    /// With a number that grows with every name.
    by_name: BTreeMap<String, (u64, C)>,
    next: u64,
    /// Of all others.
    sum: C,
}

impl<C: Counts> Remembered<C> {
    /// The counts of a name that is no more, to be added to. The empty name stands for all that are forgotten.
    pub(crate) fn of(&mut self, name: &str) -> &C {
        if name.is_empty() {
            return &self.sum;
        }
        if !self.by_name.contains_key(name) {
            self.make_room();
            self.next += 1;
            self.by_name.insert(name.to_owned(), (self.next, C::default()));
        }
        &self.by_name[name].1
    }

    /// The counts of a name that returns.
    pub(crate) fn take(&mut self, name: &str) -> Option<C> {
        self.by_name.remove(name).map(|(_, counts)| counts)
    }

    /// All of them by name, with the sum of those that are forgotten under the empty name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &C)> {
        let by_name = self.by_name.iter().map(|(name, (_, counts))| (name.as_str(), counts));
        by_name.chain([("", &self.sum)])
    }

    fn make_room(&mut self) {
        if self.by_name.len() < REMEMBERED {
            return;
        }
        let oldest = self.by_name.iter().min_by_key(|(_, (number, _))| number).map(|(name, _)| name.clone());
        if let Some(counts) = oldest.and_then(|name| self.take(&name)) {
            self.sum.absorb(&counts);
        }
    }
}

/// Names of one kind at most. A deployment whose names never return must not fill the memory.
const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::counts::FrontendStats;
    use super::*;

    #[test]
    fn a_name_that_returns_finds_its_counts_and_of_too_many_the_sum_remains() {
        let mut remembered = Remembered::<FrontendStats>::default();
        let names: Vec<_> = (0..=REMEMBERED).map(|number| format!("f{number}")).collect();
        names.iter().for_each(|name| remembered.of(name).sessions_total.add(2));
        remembered.of("").sessions_total.add(5);
        let total = |remembered: &Remembered<FrontendStats>| -> u64 {
            remembered.iter().map(|(_, counts)| counts.sessions_total.value()).sum()
        };
        assert_eq!(total(&remembered), 2 * names.len() as u64 + 5);
        assert!(remembered.take("f0").is_none(), "the oldest");
        assert_eq!(remembered.take("f1").map(|counts| counts.sessions_total.value()), Some(2));
        assert_eq!(remembered.iter().last().map(|(name, counts)| (name, counts.sessions_total.value())), Some(("", 7)));
    }
}
