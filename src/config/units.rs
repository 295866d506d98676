//! Durations ("500ms", "5s", "1h 30m") and sizes ("64k", "1m"). A plain number has no unit, and is refused: HAProxy
//! would take milliseconds, and others seconds.

use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::unitless::unitless;
use super::value::RawValue;
use super::words::shown;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum DurationError {
    #[error("{}", unitless(.0))]
    NoUnit(String),
    #[error("is negative; write e.g. \"500ms\", \"5s\" or \"1h\"")]
    Negative,
    #[error("is no duration; write e.g. \"500ms\", \"5s\" or \"1h\"")]
    NotADuration,
    #[error("is too short; write at least \"1ms\", or \"0\" where that means off")]
    TooShort,
    #[error("is too long; write at most \"365days\", or \"0\" where that means no limit")]
    TooLong,
}

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum SizeError {
    #[error("is no string; write \"{0}\" for bytes, or e.g. \"16k\"")]
    NotText(String),
    #[error("is no size; write bytes, or with a unit \"16k\" or \"1m\"")]
    NotASize,
    #[error("is too large; write at most \"{}\"", human_size(*.0))]
    TooLarge(usize),
}

impl RawValue<'_> {
    /// A duration; "0" is one too.
    pub(super) fn duration(&self) -> Option<Duration> {
        match self.raw {
            DeValue::String(text) => duration(text).map_err(|error| self.wrong(error)).ok(),
            DeValue::Integer(number) if is_zero(number) => {
                self.wrong("has no unit; write \"0\"");
                None
            }
            DeValue::Integer(number) if number.as_str().starts_with('-') => {
                self.wrong(DurationError::Negative);
                None
            }
            DeValue::Integer(number) if number.radix() == 10 => {
                self.wrong(DurationError::NoUnit(shown(number.as_str())));
                None
            }
            _ => {
                self.mistyped(&format!("write a duration, e.g. `{}`", self.with_key("\"5s\"")));
                None
            }
        }
    }

    pub(super) fn duration_above_zero(&self, zero: &str) -> Option<Duration> {
        let zero_number = matches!(self.raw, DeValue::Integer(number) if is_zero(number));
        let duration = if zero_number { Duration::ZERO } else { self.duration()? };
        if duration.is_zero() {
            self.wrong(format!("cannot be zero; {zero}"));
            return None;
        }
        Some(duration)
    }

    /// Bytes.
    pub(super) fn size(&self, most: usize) -> Option<usize> {
        let size = match self.raw {
            DeValue::String(text) => size(text, most),
            DeValue::Integer(number) if number.as_str().starts_with('-') => Err(SizeError::NotASize),
            DeValue::Integer(number) if number.radix() == 10 => Err(SizeError::NotText(number.to_string())),
            _ => {
                self.mistyped(&format!("write a size, e.g. `{}`", self.with_key("\"16k\"")));
                return None;
            }
        };
        size.map_err(|error| self.wrong(error)).ok()
    }
}

fn is_zero(number: &DeInteger<'_>) -> bool {
    number.as_str().trim_matches('0').is_empty()
}

/// "0", or 1 ms to 365 days.
fn duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text != "0" && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(DurationError::NoUnit(text.to_owned()));
    }
    let duration = humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => DurationError::TooLong,
        _ => DurationError::NotADuration,
    })?;
    match duration {
        Duration::ZERO => Ok(duration),
        short if short < SHORTEST => Err(DurationError::TooShort),
        long if long > LONGEST => Err(DurationError::TooLong),
        _ => Ok(duration),
    }
}

/// Bytes; `k` and `m` are powers of 1024, as in HAProxy.
fn size(text: &str, most: usize) -> Result<usize, SizeError> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SizeError::NotASize);
    }
    // Digits that do not fit are too large, whatever the limit.
    let size = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| *size <= most).ok_or(SizeError::TooLarge(most))
}

fn human_size(bytes: usize) -> String {
    match bytes {
        whole if whole.is_multiple_of(1 << 20) => format!("{}m", whole >> 20),
        whole if whole.is_multiple_of(1 << 10) => format!("{}k", whole >> 10),
        _ => bytes.to_string(),
    }
}

/// Below it a timer would only spin.
const SHORTEST: Duration = Duration::from_millis(1);

/// Far beyond any use, and far from where adding to an instant overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration(" 1h 30m "), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("5"), Err(DurationError::NoUnit("5".into())));
        assert_eq!(duration("5x"), Err(DurationError::NotADuration));
        assert_eq!(duration(""), Err(DurationError::NotADuration));
        assert_eq!(duration("-5s"), Err(DurationError::NotADuration));
        assert_eq!(duration("5us"), Err(DurationError::TooShort));
        assert_eq!(duration("366days"), Err(DurationError::TooLong));
        assert_eq!(duration("99999999999999999999s"), Err(DurationError::TooLong));
    }

    #[test]
    fn sizes_count_in_1024() {
        let most = 1 << 20;
        assert_eq!(size("0", most), Ok(0));
        assert_eq!(size("512", most), Ok(512));
        assert_eq!(size("64k", most), Ok(65536));
        assert_eq!(size("1M", most), Ok(1 << 20));
        assert_eq!(size("2m", most), Err(SizeError::TooLarge(most)));
        assert_eq!(size("99999999999999999999", most), Err(SizeError::TooLarge(most)));
        assert_eq!(size("16kb", most), Err(SizeError::NotASize));
        assert_eq!(size("k", most), Err(SizeError::NotASize));
        assert_eq!(size("1.5k", most), Err(SizeError::NotASize));
    }
}
