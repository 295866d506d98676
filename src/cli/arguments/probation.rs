//! `--probation TIME`, which `lb run` and `lb upgrade` share.

use std::time::Duration;

use super::time::time;

/// 0 s to 60 s, written as `5s` or `500ms`.
pub(super) fn probation(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time > LONGEST_PROBATION {
        return Err(format!("at most {}s", LONGEST_PROBATION.as_secs()));
    }
    Ok(time)
}

const LONGEST_PROBATION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probation_is_a_time_up_to_a_minute() {
        assert_eq!(probation("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(probation("0s"), Ok(Duration::ZERO));
        assert_eq!(probation("1min"), Ok(Duration::from_secs(60)));
        assert!(probation("61s").unwrap_err().contains("60s"));
        assert!(probation("5").is_err());
    }
}
