//! Numbers and times as HAProxy writes them.

/// What is wrong with a time, as the end of HAProxy's sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    #[error("unexpected character '{0}'")]
    Character(char),
    #[error("timer overflow (maximum value is 2147483647 ms or ~24.8 days)")]
    Overflow,
    #[error("timer underflow (minimum non-null value is 1 ms)")]
    Underflow,
}

/// Milliseconds; that is also what a number without a unit means.
pub(super) fn time(text: &str) -> Result<u64, TimeError> {
    scaled_time(text, 1_000)
}

/// As `time`, for a number without a unit that means seconds.
pub(super) fn seconds(text: &str) -> Result<u64, TimeError> {
    scaled_time(text, 1_000_000)
}

fn scaled_time(text: &str, plain: u64) -> Result<u64, TimeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match &text[digits..] {
        _ if digits == 0 => return Err(TimeError::Character(text.chars().next().unwrap_or(' '))),
        "" => plain,
        unit => match UNITS.iter().find(|(name, _)| unit.starts_with(name)) {
            Some((_, micros)) => *micros,
            None => return Err(TimeError::Character(unit.chars().next().unwrap_or(' '))),
        },
    };
    let number: u64 = text[..digits].parse().map_err(|_| TimeError::Overflow)?;
    let micros = number.checked_mul(unit).ok_or(TimeError::Overflow)?;
    match micros.div_ceil(1_000) {
        _ if micros > 0 && micros < 1_000 => Err(TimeError::Underflow),
        ms if ms > LONGEST => Err(TimeError::Overflow),
        ms => Ok(ms),
    }
}

/// What stands behind the unit of a time, which HAProxy 2.6 passes over with a warning.
pub(super) fn behind_unit(text: &str) -> Option<char> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    UNITS.iter().find_map(|(name, _)| unit.strip_prefix(name))?.chars().next()
}

/// The number that a text begins with, as C reads it: 0 if there is none. And whether it is the whole text.
pub(super) fn leading(text: &str) -> (i64, bool) {
    let sign = usize::from(text.starts_with(['-', '+']));
    let end = sign + text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..end].parse().unwrap_or(if end == sign { 0 } else { i64::MAX });
    (number, end == text.len() && end > sign)
}

/// A whole number, and nothing behind it.
pub(super) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| whole)
}

const LONGEST: u64 = i32::MAX as u64;

/// In microseconds.
const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_unit_is_milliseconds() {
        let good = [("0", 0), ("5000", 5000), ("1500000us", 1500), ("1500us", 2), ("500ms", 500), ("4s", 4000)];
        for (text, ms) in good.into_iter().chain([("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)]) {
            assert_eq!(time(text), Ok(ms), "{text}");
        }
        assert_eq!(seconds("5"), Ok(5000));
        let bad = [
            ("", TimeError::Character(' ')),
            ("5x", TimeError::Character('x')),
            ("1.5s", TimeError::Character('.')),
            ("-1", TimeError::Character('-')),
            ("5 s", TimeError::Character(' ')),
            ("25d", TimeError::Overflow),
            ("99999999999999999999", TimeError::Overflow),
            ("18446744073709551615h", TimeError::Overflow),
            ("999us", TimeError::Underflow),
        ];
        for (text, error) in bad {
            assert_eq!(time(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_stands_behind_is_seen() {
        assert_eq!((time("2h30m"), behind_unit("2h30m")), (Ok(7_200_000), Some('3')));
        for text in ["2h", "5", "5ms", "1us", "x"] {
            assert_eq!(behind_unit(text), None, "{text}");
        }
        for (text, number, whole) in [("12", 12, true), ("100%", 100, false), ("-1", -1, true), ("x", 0, false)] {
            assert_eq!(leading(text), (number, whole), "{text}");
        }
        assert_eq!(leading("99999999999999999999").0, i64::MAX);
        assert_eq!([leading(""), leading("-"), leading("-x")], [(0, false); 3]);
    }

    #[test]
    fn numbers_are_whole() {
        for (text, number) in [("12", Some(12)), ("-3", Some(-3)), ("3x", None), ("", None), ("-", None), ("+1", None)]
        {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
