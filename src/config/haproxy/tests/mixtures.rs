//! Whatever the mixture of known words: no panic, `check` and `run` agree, and the TOML reads back as the same.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::super::parse;
use super::super::judgement::PROXY_TABLES;
use super::super::{bind_words, global_words, server_arguments};
use super::*;

/// Values that fit some words and not others.
const VALUES: [&str; 24] = [
    "1",
    "0",
    "5s",
    "300",
    "tcp",
    "http",
    "roundrobin",
    "random(2)",
    "static-rr",
    "source",
    "first",
    "127.0.0.1:80",
    ":80-82",
    "10.0.0.1",
    "host:80",
    "[::1]:+5",
    "/run/a.sock",
    "local0",
    "global",
    "info",
    "layer4",
    "string",
    "a",
    "if",
];

const HEADERS: [&str; 8] =
    ["global", "defaults", "defaults d", "defaults e from d", "frontend f", "backend b", "listen l", "listen m from d"];

fn read(text: &str) -> HaproxyReading {
    HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default())
}

/// A line that names one of the known words, or a whole one that is right.
fn line() -> impl Strategy<Value = String> {
    let names = || {
        let proxies = PROXY_TABLES.iter().flat_map(|table| table.iter()).map(|known| known.name);
        proxies.chain(global_words::TABLE.iter().map(|known| known.name)).collect::<Vec<_>>()
    };
    let arguments = || {
        let known = server_arguments::ARGUMENTS.iter().chain(bind_words::ARGUMENTS);
        known.map(|known| known.name).chain(VALUES).collect::<Vec<_>>()
    };
    let word = (prop::sample::select(names()), vec(prop::sample::select(arguments()), 0..4), 0..9_u8);
    let word = word.prop_map(|(name, values, sign)| {
        let sign = ["no ", "default "].get(usize::from(sign)).unwrap_or(&"");
        format!(" {sign}{} {}\n", name.trim_end_matches('*'), values.join(" "))
    });
    let server = (0..40_u8, vec(prop::sample::select(arguments()), 0..5));
    let server = server.prop_map(|(name, values)| format!(" server s{name} 10.0.0.1:80 {}\n", values.join(" ")));
    let header = prop::sample::select(HEADERS.to_vec()).prop_map(|header| format!("{header}\n"));
    let right = prop::sample::select(vec![
        " bind 127.0.0.1:0\n",
        " default_backend b\n",
        " server a 10.0.0.1:80 check\n",
        " timeout client 5s\n",
        " option httpchk GET /\n",
        " option tcp-check\n",
        " tcp-check expect string a\n",
        " log global\n",
        " # c\n",
        "\n",
    ]);
    prop_oneof![4 => word, 2 => server, 2 => header, 4 => right.prop_map(str::to_owned)]
}

proptest! {
    #[test]
    fn any_mixture_of_words_is_survived(lines in vec(line(), 0..60)) {
        let text: String = std::iter::once("global\n".to_owned()).chain(lines).collect();
        for skip in [false, true] {
            let reading = read(&text);
            let usable = reading.is_usable(skip);
            if let Some(config) = reading.config() {
                prop_assert_eq!(&parse("f", &reading.toml).unwrap(), config, "{}", reading.toml);
            }
            prop_assert_eq!(usable, reading.result(skip).is_ok());
        }
    }

    /// Right words in any order leave something that runs.
    #[test]
    fn right_lines_in_any_order_run(order in vec(0..RIGHT.len(), 0..30), http in any::<bool>()) {
        let lines: String = order.into_iter().map(|index| format!(" {}\n", RIGHT[index])).collect();
        let mode = if http { "http" } else { "tcp" };
        let text = format!("defaults\n mode {mode}\n{lines}listen l\n bind 127.0.0.1:0\n{lines} server a 10.0.0.1:80 check\n");
        let reading = read(&text);
        prop_assert!(reading.is_usable(false), "{}\n{}", reading.fates, reading.toml);
        prop_assert_eq!(&parse("f", &reading.toml).unwrap(), reading.config().unwrap());
    }
}

const RIGHT: [&str; 26] = [
    "timeout client 5s",
    "timeout connect 1s",
    "timeout server 1m",
    "timeout tunnel 1h",
    "timeout queue 3s",
    "timeout check 2s",
    "timeout client-fin 9s",
    "timeout server-fin 9s",
    "timeout http-request 9s",
    "retries 2",
    "option redispatch",
    "balance leastconn",
    "balance random(3)",
    "balance static-rr",
    "maxconn 100",
    "fullconn 50",
    "log global",
    "no log",
    "option dontlognull",
    "option tcplog",
    "option httpchk GET / HTTP/1.1\\r\\nHost:\\ a",
    "option tcpka",
    "no option httpchk",
    "option allbackups",
    "rate-limit sessions 9",
    "default-server inter 1s fall 2 rise 3 maxconn 9 on-marked-down shutdown-sessions observe layer4",
];

#[test]
fn ten_thousand_lines_are_read_at_once() {
    let mut text =
        "global\n maxconn 100000\ndefaults\n mode tcp\n timeout client 1m\n timeout connect 5s\n timeout server 1m\n"
            .to_owned();
    for number in 0..1000 {
        text += &format!("frontend f{number}\n bind 127.0.0.1:{}\n default_backend b{number}\n", 10_000 + number);
        text += &format!("backend b{number}\n balance leastconn\n option tcp-check\n");
        for server in 0..4 {
            text += &format!(
                " server s{server} 10.{}.{}.{server}:80 check inter 2s weight 10\n",
                number / 250,
                number % 250
            );
        }
    }
    let lines = text.lines().count();
    assert!(lines >= 10_000);
    let start = Instant::now();
    let reading = read(&text);
    let elapsed = start.elapsed();
    println!("figure: {lines} lines of haproxy.cfg = {elapsed:?}");
    assert!(reading.is_usable(false), "{}", reading.fates);
    // Without optimisation it takes many times as long.
    assert!(cfg!(debug_assertions) || elapsed < Duration::from_millis(100), "{elapsed:?}");
}
