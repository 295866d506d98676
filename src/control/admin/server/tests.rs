//! The server against real connections.

use std::cell::RefCell;
use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::control::admin::protocol::ErrorKind;

/// Runs `scene` beside a server with `handler`; the scene gets the path of its socket.
fn with_conversations<H, F, S, T>(conversations: Conversations, limits: Limits, handler: H, scene: S) -> T
where
    H: Fn(Request, ProgressSender) -> F + 'static,
    F: Future<Output = Answer> + 'static,
    S: AsyncFnOnce(&Path, JoinHandle<Infallible>) -> T,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lb.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let listener = UnixListener::bind(&path).unwrap();
        let serving = serve_within(limits, listener, conversations, handler);
        let server = tokio::task::spawn_local(serving);
        timeout(Duration::from_secs(20), scene(&path, server)).await.expect("the scene hangs")
    })
}

fn with_server<H, F, S, T>(limits: Limits, handler: H, scene: S) -> T
where
    H: Fn(Request, ProgressSender) -> F + 'static,
    F: Future<Output = Answer> + 'static,
    S: AsyncFnOnce(&Path) -> T,
{
    let conversations = Conversations::default();
    with_conversations(conversations, limits, handler, async |path, _| scene(path).await)
}

#[test]
fn who_waits_for_the_conversations_sees_the_last_answer_sent() {
    let conversations = Conversations::default();
    let all = conversations.clone();
    let (go, wait) = oneshot::channel::<()>();
    let wait = RefCell::new(Some(wait));
    with_conversations(
        conversations,
        Limits::default(),
        move |_, _| {
            let wait = wait.borrow_mut().take();
            async move {
                wait.unwrap().await.unwrap();
                Answer::done("served")
            }
        },
        async |path, server| {
            let mut stream = UnixStream::connect(path).await.unwrap();
            stream.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
            while all.len() == 0 {
                tokio::task::yield_now().await;
            }
            server.abort();
            assert!(server.await.is_err());
            assert!(timeout(Duration::from_millis(20), all.over()).await.is_err());
            go.send(()).unwrap();
            all.over().await;
            assert_eq!(answers(&mut stream).await, [Answer::done("served")]);
        },
    );
}

async fn refuse_all(request: Request, _progress: ProgressSender) -> Answer {
    Answer::failed(ExitStatus::Failed, format!("{request:?}"))
}

async fn exchange(path: &Path, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The daemon may have answered and closed before it has all of it.
    stream.write_all(bytes).await.ok();
    stream.shutdown().await.ok();
    answers(&mut stream).await
}

async fn answers(stream: &mut UnixStream) -> Vec<Answer> {
    let mut text = Vec::new();
    if let Err(error) = stream.read_to_end(&mut text).await {
        // What was sent after the request line is unread when the daemon closes.
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    text.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn is_bad_request(answers: &[Answer]) -> bool {
    matches!(answers, [Answer::Error { kind: ErrorKind::BadRequest, exit: 2, .. }])
}

#[test]
fn a_request_is_handled_and_answered_once() {
    with_server(
        Limits::default(),
        async |request, _| Answer::done(format!("{request:?}")),
        async |path| {
            assert_eq!(exchange(path, b"{\"request\":\"status\"}\n").await, [Answer::done("Status")]);
            assert_eq!(exchange(path, b"{\"request\":\"reload\"}").await, [Answer::done("Reload")]);
            let two = b"{\"request\":\"status\"}\n{\"request\":\"reload\"}\n";
            assert_eq!(exchange(path, two).await, [Answer::done("Status")]);
        },
    );
}

#[test]
fn progress_comes_before_the_last_answer_in_order() {
    let handler = async |_, progress: ProgressSender| {
        progress.say("one");
        progress.say("two");
        Answer::done("three")
    };
    with_server(Limits::default(), handler, async |path| {
        let expected = [Answer::Progress("one".into()), Answer::Progress("two".into()), Answer::done("three")];
        assert_eq!(exchange(path, b"{\"request\":\"reload\"}\n").await, expected);
    });
}

#[test]
fn silent_work_shows_signs_of_life() {
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Rc::new(RefCell::new(Some(finished)));
    let handler = move |_, _| {
        let finished = finished.borrow_mut().take().unwrap();
        async move {
            finished.await.unwrap();
            Answer::done("at last")
        }
    };
    let limits = Limits { heartbeat: Duration::from_millis(5), ..Limits::default() };
    with_server(limits, handler, async |path| {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(b"{\"request\":\"upgrade\"}\n").await.unwrap();
        let mut line = vec![0; Answer::Heartbeat.to_line().len()];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(line, Answer::Heartbeat.to_line());
        finish.send(()).unwrap();
        assert_eq!(answers(&mut stream).await.last(), Some(&Answer::done("at last")));
    });
}

#[test]
fn work_goes_on_when_its_client_leaves() {
    let (begun, mut began) = mpsc::channel::<()>(1);
    let (go, gate) = oneshot::channel::<()>();
    let (done, completed) = oneshot::channel::<()>();
    let parts = Rc::new(RefCell::new(Some((gate, done))));
    let handler = move |_, progress: ProgressSender| {
        let (gate, done) = parts.borrow_mut().take().unwrap();
        begun.try_send(()).unwrap();
        async move {
            gate.await.unwrap();
            progress.say("this is not read");
            done.send(()).unwrap();
            Answer::done("")
        }
    };
    let limits = Limits { heartbeat: Duration::from_millis(5), ..Limits::default() };
    with_server(limits, handler, async |path| {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(b"{\"request\":\"upgrade\"}\n").await.unwrap();
        began.recv().await.unwrap();
        drop(stream);
        go.send(()).unwrap();
        completed.await.unwrap();
    });
}

#[test]
fn a_panic_in_the_handler_is_an_error_answer_and_the_next_request_works() {
    let handler = async |request, _| {
        assert_ne!(request, Request::Reload, "on purpose");
        Answer::done("fine")
    };
    with_server(Limits::default(), handler, async |path| {
        let first = exchange(path, b"{\"request\":\"reload\"}\n").await;
        assert!(matches!(&first[..], [Answer::Error { kind: ErrorKind::Failed, exit: 1, .. }]), "{first:?}");
        assert_eq!(exchange(path, b"{\"request\":\"status\"}\n").await, [Answer::done("fine")]);
    });
}

#[test]
fn a_request_that_is_too_long_or_too_late_is_answered() {
    let limits = Limits { request: Duration::from_millis(50), ..Limits::default() };
    with_server(limits, refuse_all, async |path| {
        assert!(is_bad_request(&exchange(path, &vec![b'x'; MAX_REQUEST + 1]).await));
        assert!(is_bad_request(&exchange(path, b"").await));
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(b"{\"request\"").await.unwrap();
        assert!(is_bad_request(&answers(&mut stream).await));
    });
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    with_conversations(
        Conversations::new(2),
        Limits::default(),
        async |_, _| Answer::done("served"),
        async |path, _server| {
            let first = UnixStream::connect(path).await.unwrap();
            let _second = UnixStream::connect(path).await.unwrap();
            let mut third = UnixStream::connect(path).await.unwrap();
            third.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
            let early = timeout(Duration::from_millis(50), third.readable()).await;
            assert!(early.is_err(), "a third connection was served beside two");
            drop(first);
            assert_eq!(answers(&mut third).await, [Answer::done("served")]);
        },
    );
}

#[test]
fn arbitrary_bytes_get_exactly_one_error_answer() {
    let strategy = proptest::collection::vec(any::<u8>(), 0..300);
    let mut runner = proptest::test_runner::TestRunner::default();
    with_server(Limits::default(), refuse_all, async |path| {
        for _ in 0..200 {
            let bytes = strategy.new_tree(&mut runner).unwrap().current();
            let answers = exchange(path, &bytes).await;
            assert!(matches!(&answers[..], [Answer::Error { .. }]), "{bytes:?}: {answers:?}");
        }
    });
}
