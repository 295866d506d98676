//! Excerpt: a line of the file with a mark below one of its bytes, as HAProxy shows a line that it cannot read.

/// Two lines without a newline at the end; of a long line what is around the byte. A byte that has no sign is a `?`.
pub(super) fn excerpt(line: &str, at: usize) -> String {
    let indent = line.len() - line.trim_ascii_start().len();
    let (line, at) = (&line.as_bytes()[indent..], at.saturating_sub(indent));
    let sign = |byte: &u8| match byte {
        byte if byte.is_ascii_graphic() => char::from(*byte),
        byte if byte.is_ascii_whitespace() => ' ',
        _ => '?',
    };
    let (text, mark) = if at < WIDTH {
        (line.iter().take(WIDTH).map(sign).collect(), at)
    } else {
        let begin = at - WIDTH / 2;
        let inside: String = line[begin..].iter().take(WIDTH - DOTS.len()).skip(DOTS.len()).map(sign).collect();
        (format!("{DOTS}{inside}{DOTS}"), WIDTH / 2)
    };
    format!("  {text}\n  {:mark$}^", "")
}

const WIDTH: usize = 80;
const DOTS: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_below_the_byte_also_in_a_window_of_a_long_line() {
        let long = format!("  log {} \"{}", "a".repeat(200), "b".repeat(100));
        let (before, behind) = ("a".repeat(36), "b".repeat(36));
        for (line, at, expected) in [
            ("\tlog\t\"x", 5, "  log \"x\n      ^".to_owned()),
            ("  log éé \"${X\r", 13, "  log ???? \"${X \n             ^".to_owned()),
            ("\"", 0, "  \"\n  ^".to_owned()),
            (&long, 207, format!("  ...{before} \"{behind}...\n{:42}^", "")),
        ] {
            assert_eq!(excerpt(line, at), expected, "{line}");
        }
    }
}
