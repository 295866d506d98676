//! Numbers and times as commands have them, read as strtol(3) does.

use std::time::Duration;

/// The number that a text begins with; 0 without one.
pub(super) fn leading_integer(text: &str) -> i64 {
    split(text).map_or(0, |(number, _)| number)
}

/// A number alone. `Err(true)`: something follows it, `Err(false)`: there is none.
pub(super) fn whole(text: &str) -> Result<i64, bool> {
    match split(text) {
        Some((number, "")) => Ok(number),
        other => Err(other.is_some()),
    }
}

/// A number and what follows it.
pub(super) fn split(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = digits.split_at(length);
    let number = match digits.parse::<i64>() {
        Ok(number) => number,
        Err(_) if digits.is_empty() => return None,
        Err(_) => i64::MAX,
    };
    Some((if negative { -number } else { number }, rest))
}

/// A time; `unit` is that of a number without one. At most about 24.8 days, as in HAProxy.
pub(super) fn delay(text: &str, unit: Duration) -> Option<Duration> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    let unit = match rest {
        "" => unit,
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86400),
        _ => return None,
    };
    let time = unit.checked_mul(digits.parse().ok()?)?;
    (time <= Duration::from_millis(i32::MAX as u64)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_be_followed_by_something() {
        for (text, number, whole_one) in [
            ("5", 5, Ok(5)),
            ("-5", -5, Ok(-5)),
            ("+5", 5, Ok(5)),
            ("5x", 5, Err(true)),
            ("x5", 0, Err(false)),
            ("", 0, Err(false)),
            ("-", 0, Err(false)),
            ("99999999999999999999", i64::MAX, Ok(i64::MAX)),
        ] {
            assert_eq!((leading_integer(text), whole(text)), (number, whole_one), "{text}");
        }
    }

    #[test]
    fn a_time_has_a_unit_or_the_usual_one() {
        let second = Duration::from_secs(1);
        for (text, time) in [
            ("20", Some(second * 20)),
            ("20ms", Some(Duration::from_millis(20))),
            ("1d", Some(second * 86400)),
            ("25d", None),
            ("", None),
            ("5x", None),
            ("-1", None),
            ("99999999999", None),
        ] {
            assert_eq!(delay(text, second), time, "{text}");
        }
    }
}
