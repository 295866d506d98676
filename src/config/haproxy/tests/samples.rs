//! The samples of tests/haproxy_cfg: each is what its first line says, and its TOML reads back as the same.

use std::fs;
use std::path::Path;

use super::super::super::parse;
use super::*;

pub(super) struct Sample {
    name: String,
    pub(super) text: String,
}

impl Sample {
    pub(super) fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/haproxy_cfg");
        let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |file: std::path::PathBuf| Self {
            name: file.file_name().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&file).unwrap(),
        };
        files.into_iter().map(read).collect()
    }

    /// The word behind `expect=`.
    fn expected(&self) -> &str {
        let (_, rest) = self.text.split_once("expect=").unwrap();
        rest.split_whitespace().next().unwrap()
    }

    fn read(&self) -> HaproxyReading {
        let environment = Environment::new([("PORT", "7101"), ("HOST", "127.0.0.1")]);
        HaproxyReading::of(&[Source::new(&self.name, self.text.as_bytes())], environment)
    }
}

#[test]
fn each_sample_is_what_its_first_line_says() {
    let samples = Sample::all();
    assert!(samples.len() >= 17);
    for sample in &samples {
        let reading = sample.read();
        let (name, fates) = (&sample.name, &reading.fates);
        let has = |verdict| fates.iter().any(|fate| fate.verdict == verdict);
        let right = match sample.expected() {
            "run" => reading.is_usable(false),
            "notice" => reading.is_usable(false) && has(Verdict::Notice),
            "refuse" => !reading.is_usable(false) && reading.is_usable(true),
            "error" => has(Verdict::Error),
            "parse" => !has(Verdict::Error),
            "run-N5" => !has(Verdict::Error) && has(Verdict::Refused),
            other => panic!("{name}: {other}"),
        };
        assert!(right, "{name} is to {}:\n{fates}", sample.expected());
    }
}

#[test]
fn the_toml_of_each_sample_reads_back_as_the_same() {
    for sample in Sample::all() {
        let reading = sample.read();
        if let Some(config) = reading.config() {
            let again = parse(&sample.name, &reading.toml).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(&again, config, "{}", sample.name);
        }
    }
}

#[test]
fn every_wrong_line_is_reported_in_one_run() {
    let samples = Sample::all();
    let sample = samples.iter().find(|sample| sample.name.starts_with("e01")).unwrap();
    let reading = sample.read();
    let errors = reading.fates.iter().filter(|fate| fate.verdict == Verdict::Error);
    let mut lines: Vec<_> = errors.map(|fate| fate.at.line).collect();
    lines.dedup();
    assert_eq!(lines, [3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23], "{}", reading.fates);
}

#[test]
fn comments_stay_where_they_were() {
    let text = "# of the file\n\nglobal # here\n maxconn 5 # five\n\n# of web\nlisten web\n # where\n bind :80\n \
                # who\n server a 10.0.0.1:80 # a\n # last\n";
    let reading = HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default());
    let comments: Vec<_> = reading.toml.lines().filter(|line| line.contains('#') && !line.contains("notice")).collect();
    let expected = [
        "# of the file",
        "[global] # here",
        "maxconn = 5 # five",
        "# of web",
        "# where",
        "bind = \"0.0.0.0:80\"",
        "# who",
        "a = \"10.0.0.1:80\" # a",
        "# last",
    ];
    let expected: Vec<_> = expected.into_iter().filter(|line| line.contains('#')).collect();
    assert_eq!(comments, expected, "{}", reading.toml);
}

#[test]
fn comments_and_remarks_of_a_server_stay_at_it() {
    let text = "listen l # l\n bind :80\n.if defined(HOST)\n # one\n server a 10.0.0.1:80 check inter 3s # a\n.else\n \
                server x 10.0.0.9:80\n.endif\n server b \"$HOST\":81 check inter 3s\n";
    let environment = Environment::new([("HOST", "10.0.0.2")]);
    let reading = HaproxyReading::of(&[Source::new("f", text.as_bytes())], environment);
    let (_, servers) = reading.toml.split_once("[backend.l.servers]\n").unwrap();
    let expected = "# `.if defined(HOST)` holds here\n# one\na = \"10.0.0.1:80\" # a\n\
                    # `.else` does not hold here, and its lines are left out\n\
                    b = \"10.0.0.2:81\" # the variables of this line are replaced by their values\n";
    assert_eq!(servers, expected, "{}", reading.toml);
}
