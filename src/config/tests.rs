//! The text form as a whole: what the sample holds, how mistakes are reported, and that nothing panics.

use super::timeouts::FrontendTimeouts;
use super::*;

mod arbitrary;
mod defaults;
mod mistakes;
mod properties;
mod values;
mod written;

#[test]
fn the_sample_is_valid_and_says_the_defaults() {
    let config = parse("lb.toml", SAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    let server = Server::new("app1", "127.0.0.1:8001".parse().unwrap());
    let bind = vec![Bind::Address("0.0.0.0:8080".parse().unwrap())];
    let expected = Config {
        global: Global::default(),
        etcd: None,
        resolvers: config.resolvers.clone(),
        frontends: vec![Frontend::new("web", bind, "app")],
        backends: vec![Backend::new("app", vec![server])],
        order: vec![ProxyPlace::Frontend(0), ProxyPlace::Backend(0)],
    };
    assert_eq!(config, expected);
}

/// Optional keys stand in comments, `# key = example`; those of a server also without an example.
#[test]
fn the_sample_has_every_key() {
    let shapes = [
        ("global", Global::SHAPE),
        ("global.log", Log::SHAPE),
        ("etcd", Etcd::SHAPE),
        // All keys of the sections that follow.
        ("defaults.frontend", NONE),
        ("defaults.backend", NONE),
        ("resolvers.docker", Resolvers::SHAPE),
        ("frontend.web", Frontend::SHAPE),
        ("frontend.web.log", LogSettings::SHAPE),
        ("frontend.web.timeout", FrontendTimeouts::SHAPE),
        ("backend.app", Backend::SHAPE),
        ("backend.app.timeout", Timeouts::SHAPE),
        ("backend.app.check", Check::SHAPE),
        ("backend.app.servers", Server::SHAPE),
    ];
    let headers: Vec<_> = SAMPLE.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(headers, shapes.each_ref().map(|(name, _)| format!("[{name}]")));
    for (name, shape) in shapes {
        let (_, section) = SAMPLE.split_once(&format!("\n[{name}]\n")).expect(name);
        let section = section.split("\n[").next().unwrap_or_default();
        for key in shape.keys {
            let stands = section.lines().any(|line| {
                let line = line.strip_prefix("# ").unwrap_or(line);
                line.split_whitespace().next() == Some(key)
            });
            let has_header = headers.contains(&format!("[{name}.{key}]").as_str());
            assert!(stands || has_header, "[{name}] of the sample has no `{key}`");
        }
    }
    let inner: String = SAMPLE.lines().filter(|line| line.starts_with("#   ")).collect();
    for key in BindEntry::SHAPE.keys.iter().chain(LogTarget::SHAPE.keys) {
        assert!(inner.contains(&format!(" {key} = ")), "the sample has no `{key}` of a bind or a log's target");
    }
    for key in script::SHAPE.keys.iter().chain(Backend::DISCOVERY.keys) {
        let stands = SAMPLE.contains(&format!("{{ {key} = ")) || SAMPLE.contains(&format!(", {key} = "));
        assert!(stands, "the sample has no `{key}`");
    }
}

#[test]
fn the_optional_keys_of_the_sample_are_valid_too() {
    let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let sample = SAMPLE.replace("http://", "https://");
    let uncommented: Vec<_> = sample
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            // The names below belong to another type of check, or another balance, than the sample's.
            Some(rest) if OF_OTHER_TYPES.iter().any(|key| rest.starts_with(key)) => line,
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => rest,
            _ => line,
        })
        // The keys of one server are shown below the table of all of them.
        .take_while(|line| !line.starts_with("# addr"))
        .collect();
    let config = parse("lb.toml", &uncommented.join("\n")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.etcd.is_some());
    assert_eq!(config.backends[0].servers.len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("lb.toml");
    assert_eq!(
        load(&missing).unwrap_err().to_string(),
        format!("{}: cannot be read: no such file or directory; name the right file with `-f FILE`", missing.display())
    );
    let file = directory.path().join("latin1.toml");
    std::fs::write(&file, b"# caf\xe9\n[global]\n").unwrap();
    assert_eq!(
        load(&file).unwrap_err().to_string(),
        format!("{}:1:6: this is not UTF-8; save the file as UTF-8 text", file.display())
    );
    let utf16: Vec<u8> = "\u{feff}[global]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, utf16).unwrap();
    let what = "1:1: this is UTF-16; save the file as UTF-8 text, e.g. with `iconv -f UTF-16 -t UTF-8`";
    assert_eq!(load(&file).unwrap_err().to_string(), format!("{}:{what}", file.display()));
    std::fs::write(&file, format!("\u{feff}{}", SAMPLE.replace('\n', "\r\n"))).unwrap();
    assert!(load(&file).is_ok(), "a byte order mark and CRLF change nothing");
    std::fs::write(&file, SAMPLE).unwrap();
    assert!(load(&file).is_ok());
    assert!(load(Path::new("/dev/zero")).unwrap_err().to_string().contains("it is larger than 16384 KiB"));
}

const NONE: Shape = Shape { keys: &[], foreign: &[] };
const SAMPLE: &str = include_str!("../../systemd/lb.toml");
const OF_OTHER_TYPES: [&str; 18] = [
    "method =",
    "path =",
    "version =",
    "host =",
    "headers =",
    "body =",
    "status =",
    "status_regex =",
    "expect_string =",
    "expect_not =",
    "expect_regex =",
    "expect_not_regex =",
    "user =",
    "hello =",
    "command =",
    "env_path =",
    "steps =",
    "random_draws =",
];
