//! The text form as a whole: what the sample says, what mistakes are called, and that nothing panics.

use super::*;

#[test]
fn the_sample_is_valid_and_says_the_defaults() {
    let config = parse("lb.toml", SAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    let server = Server::new("app1", "127.0.0.1:8001".parse().unwrap());
    let bind = vec!["0.0.0.0:8080".parse().unwrap()];
    let expected = Config {
        global: Global::default(),
        etcd: None,
        frontends: vec![Frontend::new("web", bind, "app")],
        backends: vec![Backend::new("app", vec![server])],
    };
    assert_eq!(config, expected);
}

const SAMPLE: &str = include_str!("../../systemd/lb.toml");
