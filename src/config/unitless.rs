//! What a time without a unit was probably meant to be. HAProxy takes milliseconds, so these come first.

/// Continues the number, which is not negative: `has no unit; …`.
pub(crate) fn unitless(number: &str) -> String {
    let whole = number.parse::<u64>().ok();
    let milliseconds = "has no unit, for which HAProxy takes milliseconds";
    match (whole, number.parse::<f64>()) {
        (Some(whole), _) if whole >= 1000 && whole % 1000 == 0 => {
            format!("{milliseconds}; write \"{whole}ms\" or \"{}s\"", whole / 1000)
        }
        (Some(whole), _) => format!("{milliseconds}; write \"{whole}ms\", or \"{whole}s\" for seconds"),
        // A fraction is not one of milliseconds, and has to be written without it.
        (None, Ok(seconds)) if (0.001..1e9).contains(&seconds) => {
            format!("has no unit; write \"{:.0}ms\"", seconds * 1000.0)
        }
        (None, _) => "has no unit; write e.g. \"500ms\" or \"5s\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_come_first() {
        let hint = |number| unitless(number).rsplit_once("; write ").unwrap().1.to_owned();
        assert_eq!(hint("5000"), "\"5000ms\" or \"5s\"");
        assert_eq!(hint("1500"), "\"1500ms\", or \"1500s\" for seconds");
        assert_eq!(hint("5"), "\"5ms\", or \"5s\" for seconds");
        assert_eq!(hint("1.5"), "\"1500ms\"");
        assert_eq!(hint("."), "e.g. \"500ms\" or \"5s\"");
    }
}
