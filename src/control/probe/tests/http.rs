//! HTTP checks against servers that answer well, badly, slowly or not.

use super::*;

#[tokio::test]
async fn an_http_check_sends_a_proper_request_and_takes_the_status() {
    let (addr, served) = server(|mut stream| async move {
        let mut request = vec![0; 1024];
        let len = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        request.truncate(len);
        String::from_utf8(request).unwrap()
    })
    .await;
    let (result, _) = probe(&http(), &addr, &SERVER).await;
    assert_eq!((result.status, result.code), (CheckStatus::L7Ok, Some(204)));
    let request = format!("GET /ping HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: lb\r\nConnection: close\r\n\r\n");
    assert_eq!(served.await.unwrap(), request);
}

#[tokio::test]
async fn an_unexpected_status_is_named_with_the_expected_ones() {
    let addr = answering(["HTTP/1.1 503 Unavailable\r\n\r\n"], true).await;
    let (result, _) = probe(&http(), &addr, &SERVER).await;
    assert_eq!((result.status, result.code), (CheckStatus::L7Sts, Some(503)));
    assert_eq!(result.cause, "status 503, expected 200-399");
}

#[tokio::test]
async fn a_dribbled_status_line_is_understood() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let addr = answering(answer.chunks(1), false).await;
    assert_eq!(outcome(&http(), &addr).await, passed(CheckStatus::L7Ok));
}

#[tokio::test]
async fn http_answers_that_are_none_are_quoted() {
    use CheckStatus::L7Rsp;
    for (answer, cause) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "not an HTTP answer: `SSH-2.0-OpenSSH_9.2`"),
        (b"\xff\0\x1b[2J", "not an HTTP answer: `\\xff\\u{0}\\u{1b}[2J`"),
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 20", "connection closed within `HTTP/1.1 20`"),
    ] {
        assert_eq!(outcome(&http(), &answering([answer], true).await).await, told(L7Rsp, cause));
    }
}

#[tokio::test]
async fn a_reset_instead_of_an_answer_is_told() {
    let (addr, _task) = server(|mut stream| async move {
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        stream.set_zero_linger().unwrap();
    })
    .await;
    let cause = "connection reset by peer before the answer was complete";
    assert_eq!(outcome(&http(), &addr).await, told(CheckStatus::L7Rsp, cause));
}
