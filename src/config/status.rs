//! `status` of an `http` check: which codes mean that a server is well.

use super::expectation::Expectation;
use super::value::RawValue;

/// Which status codes pass.
#[derive(Debug, Clone, PartialEq)]
pub enum StatusRule {
    /// Inclusive ranges.
    Among(Vec<(u16, u16)>),
    NotAmong(Vec<(u16, u16)>),
    /// An expression that the three digits match.
    Like(Expectation),
}

/// 200–399, as in HAProxy.
pub(super) const DEFAULT: (u16, u16) = (200, 399);

/// `200`, `"200-399"`, `"200,204"` or an array of these, as inclusive ranges; `"!500"` or `"!500,502-504"`: any but these.
pub(super) fn read(value: &RawValue<'_>) -> StatusRule {
    if let Some(text) = value.plain_text().and_then(|text| text.trim().strip_prefix('!')) {
        // Each code may have its `!`.
        let found = parse(&text.replace('!', ""));
        if found.is_none() {
            value.wrong("is no status; write codes from 100 to 599, e.g. \"!500\" or \"!500,502-504\"");
        }
        return StatusRule::NotAmong(found.unwrap_or_default());
    }
    StatusRule::Among(ranges(value))
}

fn ranges(value: &RawValue<'_>) -> Vec<(u16, u16)> {
    let mut ranges = Vec::new();
    let list = value.list();
    if list.is_empty() {
        value.wrong("names no code; write e.g. `status = \"200-399\"`");
    }
    for element in list {
        if element.is_number() {
            ranges.extend(element.number(100..=599).map(|code: u16| (code, code)));
            continue;
        }
        let Some(text) = element.text("200-399") else {
            continue;
        };
        match parse(text) {
            Some(found) => ranges.extend(found),
            None => element.wrong("is no status; write codes from 100 to 599, e.g. \"200-399\" or \"200,204\""),
        }
    }
    ranges
}

fn parse(text: &str) -> Option<Vec<(u16, u16)>> {
    text.split(',').map(|part| range(part.trim())).collect()
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let (least, most) = (code(least.trim())?, code(most.trim())?);
    (least <= most).then_some((least, most))
}

fn code(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|code| digits && (100..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_ranges_are_joined_by_commas() {
        assert_eq!(parse("200"), Some(vec![(200, 200)]));
        assert_eq!(parse("200-399"), Some(vec![(200, 399)]));
        assert_eq!(parse("200, 204 ,300-302"), Some(vec![(200, 200), (204, 204), (300, 302)]));
        for bad in ["", "20", "399-200", "2xx", "600", "200-", "+20", "200,"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
