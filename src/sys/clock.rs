//! Time as numbers and text: wall-clock time as log lines show it, in local time, which only the C library can compute
//! (never used for timers), and durations in milliseconds.

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

use nix::libc;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Whole milliseconds; the largest number for a longer time.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `06/Feb/2009:12:12:51.443`, as in HAProxy's log.
pub(crate) fn log_time(time: SystemTime) -> String {
    let (tm, millis) = local(time);
    format!(
        "{:02}/{}/{}:{:02}:{:02}:{:02}.{millis:03}",
        tm.tm_mday,
        month(&tm),
        tm.tm_year + 1900,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    )
}

/// `06/Feb/2009:12:12:51 +0100`, in local time or in that of Greenwich.
pub(crate) fn zoned_time(time: SystemTime, gmt: bool) -> String {
    let (tm, _) = broken_down(time, gmt);
    let (sign, minutes) = offset(&tm);
    format!(
        "{:02}/{}/{}:{:02}:{:02}:{:02} {sign}{:02}{:02}",
        tm.tm_mday,
        month(&tm),
        tm.tm_year + 1900,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        minutes / 60,
        minutes % 60
    )
}

/// `2009-02-06T12:12:51.443000+01:00`, as RFC 5424 has it.
pub(crate) fn iso_time(time: SystemTime) -> String {
    let (tm, _) = local(time);
    let (sign, minutes) = offset(&tm);
    let micros = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_micros();
    format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}{sign}{:02}:{:02}",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        minutes / 60,
        minutes % 60
    )
}

/// `Feb  6 12:12:51`, as RFC 3164 requires.
pub(crate) fn syslog_time(time: SystemTime) -> String {
    let (tm, _) = local(time);
    format!("{} {:2} {:02}:{:02}:{:02}", month(&tm), tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
}

fn month(tm: &libc::tm) -> &'static str {
    usize::try_from(tm.tm_mon).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("???")
}

/// Of the time zone, in minutes.
fn offset(tm: &libc::tm) -> (char, i64) {
    (if tm.tm_gmtoff < 0 { '-' } else { '+' }, tm.tm_gmtoff.abs() / 60)
}

fn local(time: SystemTime) -> (libc::tm, u32) {
    broken_down(time, false)
}

fn broken_down(time: SystemTime, gmt: bool) -> (libc::tm, u32) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; neither function keeps a reference. All zeroes is a valid value of that
    // plain C struct, and it stays so when the call fails.
    let tm = unsafe {
        let convert = if gmt { libc::gmtime_r } else { libc::localtime_r };
        convert(&raw const seconds, tm.as_mut_ptr());
        tm.assume_init()
    };
    (tm, since.subsec_millis())
}

/// `12s`, `1m2s`, `3h4m`, `2d3h`: as HAProxy writes how long something lasts.
pub(crate) fn two_units(seconds: u64) -> String {
    let parts = [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let shown = parts.iter().filter(|(count, _)| *count > 0).take(2);
    let text: String = shown.map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_form_of_the_log() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_233_922_371_443);
        let text = log_time(time);
        assert!(text.contains("/Feb/2009:") && text.ends_with(":51.443"), "{text}");
        assert!(syslog_time(time).starts_with("Feb  "), "{}", syslog_time(time));
        assert_eq!(zoned_time(time, true), "06/Feb/2009:12:12:51 +0000");
        assert!(zoned_time(time, false).contains("/Feb/2009:"), "{}", zoned_time(time, false));
        let iso = iso_time(time);
        assert!(iso.starts_with("2009-02-0") && iso.contains(":51.443000"), "{iso}");
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        let table = [
            (0, "0s"),
            (12, "12s"),
            (62, "1m2s"),
            (60, "1m"),
            (11_045, "3h4m"),
            (3_601, "1h1s"),
            (183_600, "2d3h"),
            (90_061, "1d1h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(two_units(seconds), expected);
        }
    }
}
