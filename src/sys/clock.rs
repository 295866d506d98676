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

/// `Feb  6 12:12:51`, as RFC 3164 requires.
pub(crate) fn syslog_time(time: SystemTime) -> String {
    let (tm, _) = local(time);
    format!("{} {:2} {:02}:{:02}:{:02}", month(&tm), tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
}

fn month(tm: &libc::tm) -> &'static str {
    usize::try_from(tm.tm_mon).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("???")
}

fn local(time: SystemTime) -> (libc::tm, u32) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r keeps no reference. All zeroes is a valid value of that
    // plain C struct, and it stays so when the call fails.
    let tm = unsafe {
        libc::localtime_r(&raw const seconds, tm.as_mut_ptr());
        tm.assume_init()
    };
    (tm, since.subsec_millis())
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
    }
}
