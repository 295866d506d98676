//! `TIME` of a flag, as in the configuration.

use std::time::Duration;

use crate::config::unitless;

/// Written as `5s` or `500ms`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let bare = text != "0" && text.starts_with(|c: char| c.is_ascii_digit());
    if bare && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("it {}", unitless(text)));
    }
    humantime::parse_duration(text).map_err(|_| "write e.g. \"500ms\", \"5s\" or \"1h\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_a_unit() {
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert!(time("5000").unwrap_err().contains("write \"5000ms\" or \"5s\""));
        assert!(time("-5s").unwrap_err().contains("write e.g. \"500ms\""));
    }
}
