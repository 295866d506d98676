//! What becomes of the lines about checks.

use super::*;

/// The fates that are said of a section with these lines, and its TOML.
fn read_section(lines: &str) -> (String, String) {
    let text = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\nlisten x\n bind :80\n{lines}\n \
         server a 10.0.0.1:80 check\n"
    );
    let reading = HaproxyReading::of(&[Source::new("f", text.as_bytes())], Environment::default());
    (reading.fates.to_string(), reading.toml)
}

#[test]
fn what_a_check_cannot_ask_is_refused_or_told() {
    let http = |lines: &str| format!(" option httpchk\n{lines}");
    let tcp = |lines: &str| format!(" option tcp-check\n{lines}");
    let twice = " http-check connect port 81\n http-check send uri /a\n http-check expect status 200\n \
                 http-check connect port 82\n http-check send uri /b\n http-check expect rstatus ^2";
    for (lines, start) in [
        (http(twice), "f:12:2: refused: 'http-check connect' begins a second request"),
        (
            http(" http-check send uri /a\n http-check send uri /b"),
            "f:10:2: refused: 'http-check send' begins a second",
        ),
        (
            http(" http-check expect string a\n http-check expect string b"),
            "f:10:20: refused: 'http-check expect string'",
        ),
        (http(" http-check expect status 200\n http-check expect rstatus ^2"), "f:10:20: refused: "),
        (
            http(" http-check send uri-lf /%[var(check.x)]"),
            "f:9:18: refused: 'http-check send uri-lf': checks of lb have",
        ),
        (http(" http-check send body-lf %ci"), "f:9:18: refused: "),
        (http(" http-check send hdr X %[src]"), "f:9:18: refused: "),
        (http(" http-check set-var(check.x) str(a)"), "f:9:2: refused: 'http-check set-var(check.x)': checks of lb"),
        (http(" http-check expect blah 1"), "f:9:20: error: 'http-check expect' : only supports "),
        (http(" http-check expect hdr name x"), "f:9:20: refused: 'http-check expect hdr' is not supported"),
        (tcp(" tcp-check set-var(check.x) str(a)"), "f:9:2: refused: 'tcp-check set-var(check.x)'"),
        (tcp(" tcp-check send-lf %[src]"), "f:9:20: refused: 'tcp-check send-lf': checks of lb have no variables"),
        (
            tcp(" tcp-check send-binary 0g"),
            "f:9:24: error: 'tcp-check send-binary' : '0g' invalid binary string (an hex",
        ),
        (tcp(" tcp-check expect binary 012"), "f:9:26: error: 'tcp-check expect' : invalid binary string (an even"),
        (tcp(" tcp-check expect string a foo"), "f:9:28: error: 'tcp-check expect' : only supports "),
        (tcp(" tcp-check expect string a string b"), "f:9:28: error: 'tcp-check expect' : only on pattern expected"),
        (tcp(" tcp-check expect"), "f:9:12: error: 'tcp-check expect' : expects at least a matching pattern"),
        (tcp(" tcp-check expect min-recv 3"), "f:9:19: error: 'tcp-check expect' : pattern not found"),
        (tcp(" tcp-check expect string"), "f:9:19: error: 'tcp-check expect' : 'string' expects a <pattern>"),
        (
            tcp(" tcp-check expect ! min-recv 3"),
            "f:9:21: error: 'tcp-check expect' : [!] not supported with 'min-recv'",
        ),
        (tcp(" tcp-check expect string a ok-status L7TOUT"), "f:9:28: error: 'tcp-check expect' : 'ok-status' only"),
        (
            tcp(" tcp-check expect string a error-status L7OKC"),
            "f:9:28: refused: 'tcp-check expect … error-status L7OKC'",
        ),
        (tcp(" tcp-check expect string a tout-status L6TOUT"), "f:9:28: ignored: "),
        (" tcp-check send x".to_owned(), "f:8:2: notice: listen 'x' uses tcp-check rules without 'option tcp-check'"),
        (
            " http-check send uri /a".to_owned(),
            "f:8:2: notice: listen 'x' uses http-check rules without 'option httpchk'",
        ),
        (" option mysql-check user a pre-41".to_owned(), "f:8:28: notice: 'option mysql-check … pre-41'"),
        (
            " option mysql-check user a x".to_owned(),
            "f:8:28: error: keyword 'user' only supports 'post-41' and 'pre-41'",
        ),
        (" option pgsql-check user a x".to_owned(), "f:8:28: error: 'option' cannot handle unexpected argument 'x'"),
    ] {
        let (fates, _) = read_section(&lines);
        assert!(fates.starts_with(start), "{lines}\n{fates}");
    }
    // Rules that do not count keep nothing from running.
    let (fates, _) = read_section(" http-check set-var(check.x) str(a)\n option tcp-check\n tcp-check send-lf 50%%");
    assert!(!fates.contains("refused"), "{fates}");
}

#[test]
fn what_a_check_asks_is_carried_over() {
    for (lines, toml) in [
        (" option tcp-check\n tcp-check send-lf 50%%", "check.steps = [{ send = \"50%\" }]"),
        (
            " option tcp-check\n tcp-check expect string a min-recv 10 on-error e comment c",
            "check.steps = [{ expect = \"a\", min_recv = 10, on_error = \"e\", comment = \"c\" }]",
        ),
        (" option mysql-check user a post-41", "check.user = \"a\""),
        (
            " option httpchk\n http-check send meth GET uri-lf /50%% hdr Host a hdr X b hdr X c hdr Y d",
            "check.headers = { X = [\"b\", \"c\"], Y = \"d\" }",
        ),
        (" option httpchk\n http-check send uri-lf /50%%", "check.path = \"/50%\""),
        (" option httpchk\n http-check expect status 200\n http-check expect ! string a", "check.expect_not = \"a\""),
    ] {
        let (fates, found) = read_section(lines);
        assert!(fates.is_empty() && found.contains(toml), "{lines}\n{fates}\n{found}");
    }
}
