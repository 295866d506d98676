//! What is understood, and that nothing panics.

use proptest::prelude::*;

use super::*;

fn message(line: &str) -> String {
    match Request::parse(line.as_bytes()) {
        Err(Answer::Error { kind: ErrorKind::BadRequest, exit: 2, message }) => message,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn requests_read_as_they_are_written() {
    let table = [
        (r#"{"request":"status"}"#, Request::Status),
        (r#"{"request":"server_list"}"#, Request::ServerList),
        (
            r#"{"request":"set_server","backend":"app","server":"a/b","state":"maint"}"#,
            Request::SetServer { backend: "app".into(), server: "a/b".into(), state: AdminState::Maint },
        ),
        (
            r#"{"request":"set_weight","backend":"app","server":"a","weight":256}"#,
            Request::SetWeight { backend: "app".into(), server: "a".into(), weight: 256 },
        ),
        (
            r#"{"request":"sessions"}"#,
            Request::Sessions { backend: None, server: None, sort: SessionOrder::Age, limit: None },
        ),
        (
            r#"{"request":"sessions","backend":"app","server":"a*","sort":"idle","limit":9}"#,
            Request::Sessions {
                backend: Some("app".into()),
                server: Some("a*".into()),
                sort: SessionOrder::Idle,
                limit: Some(9),
            },
        ),
        (r#"{"request":"kill_sessions","ids":["0x1f"]}"#, Request::KillSessions { ids: vec![SessionId(31)] }),
        (
            r#"{"request":"kill_server","backend":"app","server":"a"}"#,
            Request::KillServer { backend: "app".into(), server: "a".into(), over_ms: 0 },
        ),
        (r#"{"request":"reload"}"#, Request::Reload),
        (r#"{"request":"accept","backend":"app"}"#, Request::Accept { backend: "app".into() }),
        (r#"{"request":"upgrade"}"#, Request::Upgrade { binary: None, probation_ms: None }),
        (
            r#"{"request":"upgrade","binary":"/usr/bin/lb","probation_ms":0}"#,
            Request::Upgrade { binary: Some("/usr/bin/lb".into()), probation_ms: Some(0) },
        ),
    ];
    for (line, expected) in table {
        assert_eq!(Request::parse(line.as_bytes()), Ok(expected.clone()), "{line}");
        let written = serde_json::to_vec(&expected).unwrap();
        assert_eq!(Request::parse(&written), Ok(expected));
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let line = br#"{"request":"status","since":"a newer version"}"#;
    assert_eq!(Request::parse(line), Ok(Request::Status));
}

#[test]
fn what_cannot_be_read_is_answered_with_the_reason() {
    assert!(message("").contains("empty"));
    assert!(message("\r\n").contains("empty"));
    assert!(message(r#"{"request":"explode"}"#).contains("unknown variant `explode`, expected one of `status`"));
    assert!(message(r#"{"backend":"app"}"#).contains("missing field `request`"));
    assert!(message(r#"{"request":"accept"}"#).contains("missing field `backend`"));
    assert!(message(r#"{"request":"set_weight","backend":"a","server":"b","weight":-1}"#).contains("-1"));
    assert!(message("show stat").contains("line 1 column 1"));
    assert!(message(&"{\"a\":".repeat(10_000)).contains("recursion limit"));
}

#[test]
fn an_answer_of_a_newer_version_still_reads() {
    let line = r#"{"answer":"error","value":{"kind":"tired","exit":9,"message":"no","hint":"sleep"}}"#;
    let expected = Answer::Error { kind: ErrorKind::Failed, exit: 9, message: "no".into() };
    assert_eq!(serde_json::from_str::<Answer>(line).unwrap(), expected);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered_and_never_panic(line in proptest::collection::vec(any::<u8>(), 0..2000)) {
        if let Err(answer) = Request::parse(&line) {
            let read: Answer = serde_json::from_slice(&answer.to_line()).unwrap();
            prop_assert_eq!(&read, &answer);
            let is_bad_request = matches!(answer, Answer::Error { kind: ErrorKind::BadRequest, exit: 2, .. });
            prop_assert!(is_bad_request);
        }
    }

    #[test]
    fn nearly_right_requests_never_panic(
        name in "[a-z_]{0,12}",
        backend in ".{0,20}",
        weight in any::<i64>(),
        cut in 0usize..120,
    ) {
        let request = serde_json::json!({"request": name, "backend": backend, "server": "s", "weight": weight});
        let mut line = request.to_string().into_bytes();
        line.truncate(cut);
        Request::parse(&line).ok();
    }
}
