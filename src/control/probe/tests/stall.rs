//! Servers that stall in each phase, or never stop.

use super::*;

#[tokio::test]
async fn a_stall_is_told_with_the_phase_it_is_in() {
    use CheckStatus::{L7Rsp, L7Tout};
    let cases = [
        (http(), "", told(L7Tout, "no answer within 400ms (connected, request sent)")),
        (http(), "HTTP/1.1 2", told(L7Tout, "no whole status line within 400ms, got `HTTP/1.1 2`")),
        (script([send("?"), expect("!")]), "", told(L7Tout, "no answer within 400ms, expected `!`")),
        (script([send("?"), expect("!!")]), "no", told(L7Rsp, "expected `!!`, got `no`")),
        (script([send("?"), regex("^!")]), "no", told(L7Rsp, "expected a match of `^!`, got `no`")),
        (script([send("?"), expect_not("!")]), "", {
            told(L7Tout, "no answer within 400ms, expected anything but `!`")
        }),
    ];
    let stalls = cases.map(|(check, answer, expected)| {
        tokio::spawn(async move {
            let check = Check { timeout: SOON, ..check };
            let addr = answering((!answer.is_empty()).then_some(answer), false).await;
            assert_eq!(outcome(&check, &addr).await, expected);
        })
    });
    for stall in stalls {
        stall.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_not_taken_ends_with_the_timeout() {
    let (addr, _task) = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let check = Check { timeout: SOON, ..script([send(vec![b'x'; 32 << 20])]) };
    let expected = told(CheckStatus::L7Tout, "request not taken within 400ms (connected)");
    assert_eq!(outcome(&check, &addr).await, expected);
}

#[tokio::test]
async fn a_flood_is_read_only_up_to_the_limit() {
    let flood = |bytes: &'static [u8]| std::iter::repeat_n(bytes.repeat(1024), 10_000);
    let addr = answering(flood(b"role:slave "), false).await;
    let cause = "no `role:master` in the first 64k of the answer";
    assert_eq!(outcome(&script([send("?"), expect("role:master")]), &addr).await, told(CheckStatus::L7Rsp, cause));

    let line = std::iter::once(b"HTTP/1.1 200 ".to_vec()).chain(flood(b"OK"));
    let cause = "no whole status line in the first 16k";
    assert_eq!(outcome(&http(), &answering(line, false).await).await, told(CheckStatus::L7Rsp, cause));
}
