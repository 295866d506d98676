//! The keys of an `http` check.

use super::expectation::{self, Expectation, Pattern};
use super::section::Section;
use super::status::{self, StatusRule};
use super::value::RawValue;

/// A request, and what its answer is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    /// Default `GET`.
    pub method: String,
    /// Default `/`.
    pub path: String,
    /// Behind `HTTP/`. Default 1.1.
    pub version: String,
    /// Host header. `None`: the server's name or address.
    pub host: Option<String>,
    /// More headers, in the order of the file.
    pub headers: Vec<(String, String)>,
    /// Sent behind the head. Default: none.
    pub body: String,
    /// Expected status codes. Default 200–399, as HAProxy; with `content`, any.
    pub status: StatusRule,
    /// What the answer behind its head is to hold, or not; all of it must hold.
    pub content: Vec<Expectation>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            version: "1.1".to_owned(),
            host: None,
            headers: Vec::new(),
            body: String::new(),
            status: StatusRule::Among(vec![status::DEFAULT]),
            content: Vec::new(),
        }
    }
}

impl HttpCheck {
    pub(super) const KEYS: &[&str] = &[
        "method",
        "path",
        "version",
        "host",
        "headers",
        "body",
        "status",
        "status_regex",
        "expect_string",
        "expect_not",
        "expect_regex",
        "expect_not_regex",
    ];

    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut check = Self::default();
        let word = |key: &str, example: &str, fits: fn(&str) -> bool| {
            let value = section.value(key)?;
            let text = value.filled_text(example)?;
            if !fits(text) {
                value.wrong(format!("cannot stand in an HTTP request; write e.g. \"{example}\""));
                return None;
            }
            Some(text.to_owned())
        };
        let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        let is_path = |text: &str| {
            let begins = text.starts_with('/') || text.starts_with("http://") || text == "*";
            begins && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let put = |place: &mut String, given: Option<String>| given.into_iter().for_each(|given| *place = given);
        put(&mut check.method, word("method", "GET", |text| text.bytes().all(|b| b.is_ascii_uppercase())));
        put(&mut check.path, word("path", "/ping", is_path));
        put(&mut check.version, word("version", "1.1", |text| text == "1.0" || text == "1.1"));
        check.host = word("host", "www.example.org", visible);
        check.headers = headers(section);
        put(&mut check.body, section.value("body").and_then(|value| value.text("{}")).map(str::to_owned));
        check.content = content(section);
        check.status = match (section.value("status"), section.value("status_regex")) {
            (Some(value), None) => status::read(&value),
            (None, Some(value)) => match expectation::expression(&value) {
                Some(regex) => StatusRule::Like(Expectation::wanted(Pattern::Regex(regex))),
                None => check.status,
            },
            (Some(_), Some(second)) => {
                second.wrong_key("stands beside `status`; keep one of them");
                check.status
            }
            // HAProxy has one expectation, and its default is the status.
            (None, None) if !check.content.is_empty() => StatusRule::Among(vec![(100, 599)]),
            (None, None) => check.status,
        };
        check
    }
}

fn headers(section: &Section<'_>) -> Vec<(String, String)> {
    let Some(names) = section.names("headers", "headers = { Accept = \"text/plain\" }") else {
        return Vec::new();
    };
    let fits = |value: &RawValue<'_>| {
        let text = value.text("text/plain")?;
        if text.contains(|c: char| c.is_control() && c != '\t') {
            value.wrong("cannot be the value of a header; write e.g. \"text/plain\"");
            return None;
        }
        Some(text.to_owned())
    };
    let header = |(name, value): &(&str, RawValue<'_>)| {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            value.wrong_key("cannot be the name of a header; write e.g. `Accept = \"text/plain\"`");
            return Vec::new();
        }
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            value.wrong_key("is written by the check itself; leave it out, `host` has a key");
            return Vec::new();
        }
        value.list().iter().filter_map(fits).map(|text| ((*name).to_owned(), text)).collect()
    };
    names.entries().iter().flat_map(header).collect()
}

/// The headers that each request has.
const OWN: [&str; 3] = ["Host", "Connection", "Content-Length"];

fn content(section: &Section<'_>) -> Vec<Expectation> {
    let bytes = |key| Some(Pattern::Bytes(expectation::bytes(&section.value(key)?)?));
    let regex = |key| Some(Pattern::Regex(expectation::expression(&section.value(key)?)?));
    [
        bytes("expect_string").map(Expectation::wanted),
        bytes("expect_not").map(Expectation::unwanted),
        regex("expect_regex").map(Expectation::wanted),
        regex("expect_not_regex").map(Expectation::unwanted),
    ]
    .into_iter()
    .flatten()
    .collect()
}
