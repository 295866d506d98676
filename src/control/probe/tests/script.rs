//! Scripts against servers that dribble, repeat and close midway.

use super::*;

#[tokio::test]
async fn a_script_follows_a_dribbled_dialogue() {
    let (addr, served) = server(|mut stream| async move {
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 6];
        for (expected, answer) in
            [(&b"PING\r\n"[..], &b"banner\r\n+PONG\r\n"[..]), (b"ROLE\r\n", b"*1\r\n$6\r\nmaster\r\n")]
        {
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, expected);
            for piece in answer.chunks(1) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    })
    .await;
    let check = script([
        connect(),
        send("PING\r\n"),
        expect("banner\r\n"),
        regex(r"\+PONG\r\n$"),
        // Behind an expectation that ends the answer this looks at all of it.
        expect_not(b"LOADING"),
        send("ROLE\r\n"),
        expect("master\r\n"),
        send("QUIT\r\n"),
    ]);
    assert_eq!(outcome(&check, &addr).await, passed(CheckStatus::L7Ok));
    // The last words arrive and are followed by a FIN: an RST would have been an error.
    assert_eq!(served.await.unwrap(), b"QUIT\r\n");
}

#[tokio::test]
async fn a_script_forgets_old_answers_and_finds_unwanted_ones() {
    let check = script([send("?"), expect("old"), send("?"), expect("old")]);
    let addr = answering(["old"], true).await;
    let (status, cause) = outcome(&check, &addr).await;
    assert_eq!(status, CheckStatus::L7Rsp, "{cause}");

    let addr = answering(["-LOADING\r\n"], false).await;
    let check = script([send("?"), expect_not(b"LOADING")]);
    assert_eq!(outcome(&check, &addr).await, told(CheckStatus::L7Rsp, "unwanted `LOADING` in the answer"));
}

#[tokio::test]
async fn a_server_that_closes_midway_is_quoted() {
    let addr = answering(["role:sl"], true).await;
    let cause = "connection closed, expected `role:master`, got `role:sl`";
    assert_eq!(outcome(&script([send("?"), expect("role:master")]), &addr).await, told(CheckStatus::L7Rsp, cause));
}

#[tokio::test]
async fn each_connect_begins_a_new_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = Addr::Ip(listener.local_addr().unwrap());
    tokio::spawn(async move {
        for greeting in ["one", "two"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            let _closed_by_the_check = stream.read(&mut [0; 1]).await;
        }
    });
    let check = script([expect("one"), connect(), expect("two")]);
    assert_eq!(outcome(&check, &addr).await, passed(CheckStatus::L7Ok));
}
