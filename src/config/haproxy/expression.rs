//! The condition of an `.if`: predicates joined by `!`, `&&`, `||` and parentheses, read from left to right. `&&` binds
//! closer than `||`; the parts that decide nothing any more are read but not asked.

use std::fmt;

use super::environment::Environment;
use super::predicate::PREDICATES;

/// What is wrong with a condition; HAProxy's sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct BadCondition {
    what: String,
    /// The byte where it shows.
    pub(super) at: usize,
}

impl fmt::Display for BadCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// An empty text does not hold.
pub(in crate::config) fn holds(text: &str, environment: &Environment) -> Result<bool, BadCondition> {
    if text.is_empty() {
        return Ok(false);
    }
    let mut reader = ConditionReader { text, at: 0, environment };
    let holds = reader.any(MOST_DEEP)?.ok_or_else(|| BadCondition { at: reader.at, ..reader.unparsable("", 0) })?;
    reader.skip_blanks();
    match reader.rest().chars().next() {
        None => Ok(holds),
        Some(c) => {
            let what = format!("unexpected character '{c}' at the end of conditional expression '{}'", text);
            Err(BadCondition { what, at: reader.at })
        }
    }
}

struct ConditionReader<'t> {
    text: &'t str,
    at: usize,
    environment: &'t Environment,
}

/// `None`: there is nothing.
type Answer = Result<Option<bool>, BadCondition>;

impl<'t> ConditionReader<'t> {
    /// Parts joined by `||`.
    fn any(&mut self, deep: usize) -> Answer {
        self.joined("||", "", deep, |reader, deep| reader.joined("&&", "sub-", deep, Self::term))
    }

    /// Parts joined by `operator`; `what` names them in errors.
    fn joined(&mut self, operator: &str, what: &str, mut deep: usize, part: fn(&mut Self, usize) -> Answer) -> Answer {
        let mut answer = None;
        let mut first_operator = None;
        loop {
            if self.rest().is_empty() {
                return Ok(answer);
            }
            if deep == 0 {
                return Err(self.unparsable(what, self.at));
            }
            let holds = part(self, deep - 1)?.ok_or_else(|| self.unparsable(what, self.at))?;
            let both = |one: bool| if operator == "&&" { one && holds } else { one || holds };
            let so_far = answer.map_or(holds, both);
            answer = Some(so_far);
            self.skip_blanks();
            let behind = self.at;
            if !self.take(operator) {
                return Ok(answer);
            }
            self.skip_blanks();
            let first_operator = *first_operator.get_or_insert(behind);
            if self.rest().is_empty() {
                self.at = first_operator;
                return Ok(None);
            }
            deep -= 1;
        }
    }

    /// `!`, a number, a predicate, or a whole condition in parentheses.
    fn term(&mut self, deep: usize) -> Answer {
        self.skip_blanks();
        if self.rest().is_empty() {
            return Ok(None);
        }
        let start = self.at;
        if deep == 0 {
            return Err(self.unparsable("", start));
        }
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
            self.skip_blanks();
        }
        let holds = match self.number() {
            Some(number) => number,
            None if self.take("(") => self.inside(start, deep)?,
            None => self.predicate(start)?,
        };
        Ok(Some(holds != negated))
    }

    fn inside(&mut self, start: usize, deep: usize) -> Result<bool, BadCondition> {
        self.skip_blanks();
        let holds = self.any(deep - 1)?.ok_or_else(|| self.unparsable("", start))?;
        self.skip_blanks();
        if !self.take(")") {
            let what = format!("expected ')' after conditional expression '{}'", &self.text[start..]);
            return Err(BadCondition { what, at: start });
        }
        self.skip_blanks();
        Ok(holds)
    }

    /// Decimal, octal or hexadecimal; zero is false.
    fn number(&mut self) -> Option<bool> {
        let rest = self.rest();
        let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let hex = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
        let hex = hex.filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
        let (digits, base) = match hex {
            Some(digits) => (digits, 16),
            None if unsigned.starts_with('0') => (unsigned, 8),
            None => (unsigned, 10),
        };
        let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
        let number = digits.get(..end).filter(|number| !number.is_empty())?;
        self.at += rest.len() - digits.len() + end;
        Some(number.contains(|c| c != '0'))
    }

    fn predicate(&mut self, start: usize) -> Result<bool, BadCondition> {
        let rest = self.rest();
        let name = rest.split([' ', '(']).next().unwrap_or_default();
        let (_, count, asked) =
            PREDICATES.iter().find(|(known, ..)| *known == name).ok_or_else(|| self.unparsable("", start))?;
        self.at += name.len();
        let arguments = self.arguments(*count).map_err(|what| {
            let what = format!("{what} in argument 1 of predicate '{name}' used in conditional expression");
            BadCondition { what, at: self.at }
        })?;
        let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
        Ok(asked(argument(0), argument(1), self.environment))
    }

    /// What stands in parentheses; without them it is one empty argument.
    fn arguments(&mut self, count: usize) -> Result<Vec<String>, String> {
        let has_parentheses = self.take("(");
        let mut arguments = vec![if has_parentheses { self.argument() } else { String::new() }];
        while has_parentheses && arguments.len() < count && self.take(",") {
            arguments.push(self.argument());
        }
        if arguments.len() < count {
            return Err(format!("missing arguments (got {}/{count}), type 'string' expected", arguments.len()));
        }
        if has_parentheses && !self.take(")") {
            let before = if self.rest().is_empty() { String::new() } else { format!(" before '{}'", self.rest()) };
            return Err(format!("expected ')'{before}"));
        }
        Ok(arguments)
    }

    /// Up to a `,` or `)`, with quotes and escapes of its own.
    fn argument(&mut self) -> String {
        let mut argument = String::new();
        let mut open = None;
        let mut chars = self.rest().char_indices().peekable();
        let mut end = self.rest().len();
        while let Some((at, c)) = chars.next() {
            match (c, open) {
                (',' | ')', None) => {
                    end = at;
                    break;
                }
                ('"' | '\'', None) => open = Some(c),
                (_, Some(quote)) if quote == c => open = None,
                ('\\', None | Some('"')) => match chars.next_if(|(_, next)| "\\\"' tnr".contains(*next)) {
                    Some((_, 't')) => argument.push('\t'),
                    Some((_, 'n')) => argument.push('\n'),
                    Some((_, 'r')) => argument.push('\r'),
                    Some((_, escaped)) => argument.push(escaped),
                    None => argument.push(c),
                },
                _ => argument.push(c),
            }
        }
        self.at += end;
        argument
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn unparsable(&self, what: &str, at: usize) -> BadCondition {
        BadCondition { what: format!("unparsable conditional {what}expression '{}'", &self.text[at..]), at }
    }
}

/// Each `(` takes three: a condition, its parts joined by `&&`, and its term.
const MOST_DEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<bool, String> {
        let environment = Environment::new([("X", "80"), ("EMPTY", "")]);
        holds(text, &environment).map_err(|error| format!("{}: {error}", error.at + 1))
    }

    #[test]
    fn conditions_hold_as_they_do_in_haproxy() {
        let table = [
            ("", false),
            ("0", false),
            ("1", true),
            ("0x10", true),
            ("-0", false),
            ("-7", true),
            ("!0", true),
            ("! ! 1", true),
            ("defined(X)", true),
            ("defined(EMPTY)", true),
            ("defined(NO)", false),
            ("defined", false),
            ("streq(a b,a)", false),
            ("streq( a,a)", false),
            ("streq(,)", true),
            (r#"streq("a, b","a,"\ b)"#, true),
            (r#"streq("a\)",a\\")")"#, true),
            (r"streq('a\',a\\)", true),
            ("strneq(a,b)", true),
            ("strstr(abc,b)", true),
            ("feature(THREAD)", true),
            ("feature(THR)", false),
            ("feature(OPENSSL)", false),
            ("version_atleast(2.6)", true),
            ("version_atleast(2.8.0)", true),
            ("version_atleast(2.8-dev1)", true),
            ("version_atleast(9.9-dev1)", false),
            ("version_atleast(foo)", true),
            ("version_before(2.6)", false),
            ("version_before(9)", true),
            ("openssl_version_atleast(1.0)", false),
            ("0 || defined(X) && 0", false),
            ("1 || 1 && 0", true),
            ("(0||defined(X))&&!(0 || 0)", true),
        ];
        for (text, holds) in table {
            assert_eq!(asked(text), Ok(holds), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_said_in_haproxys_words() {
        let table = [
            ("foo", "1: unparsable conditional expression 'foo'"),
            ("1 1", "3: unexpected character '1' at the end of conditional expression '1 1'"),
            ("streq(a)", "8: missing arguments (got 1/2), type 'string' expected in argument 1 of predicate 'streq'"),
            ("streq(a,b,c)", "10: expected ')' before ',c)' in argument 1 of predicate 'streq'"),
            ("streq", "6: missing arguments (got 1/2), type 'string' expected in argument 1 of predicate 'streq'"),
            ("defined(X", "10: expected ')' in argument 1 of predicate 'defined'"),
            ("(1", "1: expected ')' after conditional expression '(1'"),
            ("()", "2: unparsable conditional expression ')'"),
            ("1 &&", "3: unparsable conditional expression '&&'"),
            ("1&&1 && ", "2: unparsable conditional expression '&&1 && '"),
            ("0 ||", "3: unparsable conditional expression '0 ||'"),
            ("1 && && 0", "6: unparsable conditional expression '&& 0'"),
            ("0 && bad(", "6: unparsable conditional expression 'bad('"),
            ("!", "1: unparsable conditional expression '!'"),
            ("0x", "2: unexpected character 'x' at the end of conditional expression '0x'"),
            ("1abc", "2: unexpected character 'a' at the end of conditional expression '1abc'"),
        ];
        for (text, start) in table {
            let error = asked(text).unwrap_err();
            assert!(error.starts_with(start), "{text}: {error}");
        }
    }

    #[test]
    fn a_condition_is_as_deep_as_haproxys_at_most() {
        let deep = |count: usize| asked(&format!("{}1{}", "(".repeat(count), ")".repeat(count))).is_ok();
        assert!(deep(340) && !deep(341) && !deep(100_000));
        assert!(asked(&"!".repeat(9999)).is_err() && asked(&format!("{}1", "!".repeat(9999))).is_ok());
    }
}
