//! Names of backends and servers as an operator writes them: `app1`, `app*`, `app?`.

/// A name, or several: `*` stands for any letters, `?` for one.
#[derive(Debug, Clone)]
pub(crate) struct NamePattern(String);

impl NamePattern {
    /// All names, where none is given.
    pub(crate) fn new(text: Option<String>) -> Self {
        Self(text.unwrap_or_else(|| "*".to_owned()))
    }

    /// Whether it may mean several names.
    pub(crate) fn is_wide(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The name itself is always meant, whatever letters it has.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0 == name || self.is_wide() && fits(&self.0, name)
    }
}

/// Goes back to the last `*` where the rest does not fit: never more than the product of both lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&letter) if letter == '?' || letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_match() {
        let table = [
            ("app1", "app1", true),
            ("app1", "app10", false),
            ("app*", "app10", true),
            ("*", "", true),
            ("*1", "app11", true),
            ("*a*b*", "xaxxbx", true),
            ("*a*b", "xaxxbx", false),
            ("app?", "app1", true),
            ("app?", "app", false),
            ("größ?", "größe", true),
            ("a*", "a*", true),
            ("app[12]", "app1", false),
            ("", "app", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(NamePattern::new(Some(pattern.to_owned())).matches(name), expected, "{pattern} {name}");
        }
        assert!(NamePattern::new(None).matches("app1"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = NamePattern::new(Some("*a".repeat(1000) + "b"));
        assert!(!pattern.matches(&"a".repeat(2000)));
    }
}
