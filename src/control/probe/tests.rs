//! Checks against real sockets that behave badly on purpose.

mod connect;
mod http;
mod redis;
mod script;
mod stall;

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::backend::health::ResultSource;
use crate::config::{Expectation, HttpCheck, Pattern, ScriptAction, ScriptStep};

const SOON: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

const SERVER: ProbedServer<'static> = ProbedServer { backend: "app", name: "s1", host: None, maxconn: 0, sessions: 0 };

fn check(kind: CheckKind) -> Check {
    Check { kind, timeout: LONG, ..Check::default() }
}

fn http() -> Check {
    check(CheckKind::Http(Box::new(HttpCheck { path: "/ping".into(), ..HttpCheck::default() })))
}

fn script(steps: impl Into<Vec<ScriptStep>>) -> Check {
    check(CheckKind::Script(steps.into()))
}

fn send(bytes: impl AsRef<[u8]>) -> ScriptStep {
    ScriptAction::Send(bytes.as_ref().to_vec()).into()
}

fn expect(bytes: impl AsRef<[u8]>) -> ScriptStep {
    Expectation::wanted(Pattern::Bytes(bytes.as_ref().to_vec())).into()
}

fn expect_not(bytes: impl AsRef<[u8]>) -> ScriptStep {
    Expectation::unwanted(Pattern::Bytes(bytes.as_ref().to_vec())).into()
}

fn connect() -> ScriptStep {
    ScriptAction::Connect(None).into()
}

fn regex(pattern: &str) -> ScriptStep {
    Expectation::wanted(Pattern::Regex(regex::bytes::Regex::new(pattern).unwrap())).into()
}

/// A server for one connection.
async fn server<F, R>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (Addr, JoinHandle<R>)
where
    F: Future<Output = R> + Send,
    R: Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });
    (Addr::Ip(addr), task)
}

/// A server that reads a request, sends each piece as a segment of its own, and closes if asked to.
async fn answering<P>(pieces: P, close: bool) -> Addr
where
    P: IntoIterator<IntoIter: Send, Item: AsRef<[u8]> + Send> + Send + 'static,
{
    let (addr, _task) = server(move |mut stream| async move {
        stream.set_nodelay(true).unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        for piece in pieces {
            if stream.write_all(piece.as_ref()).await.is_err() {
                return;
            }
            // Lets the check see this piece alone.
            tokio::task::yield_now().await;
        }
        if !close {
            let _closed_by_the_check = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    addr
}

async fn outcome(check: &Check, addr: &Addr) -> (CheckStatus, String) {
    let (result, farewell) = probe(check, addr, &SERVER).await;
    // Servers of these tests wait for the end of the connection.
    tokio::spawn(farewell.during(tokio::time::sleep(LONG)));
    assert_eq!(result.source, ResultSource::Check);
    assert!(result.duration < LONG, "{result}");
    (result.status, result.cause)
}

fn told(status: CheckStatus, cause: &str) -> (CheckStatus, String) {
    (status, cause.to_owned())
}

fn passed(status: CheckStatus) -> (CheckStatus, String) {
    told(status, "")
}
