//! The built-in HTTP server: as little HTTP/1.1 as the demo's load and checks need.

use std::io::{self, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::arguments::DemoServerArgs;
use crate::cli::{ExitStatus, output};

/// `lb demo-server`: hidden; prints one line on stdout when it listens, and serves until it is killed.
pub(in crate::cli) fn serve(args: DemoServerArgs) -> ExitStatus {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    match runtime.and_then(|runtime| runtime.block_on(listen(args))) {
        Ok(()) => ExitStatus::Done,
        Err(error) => {
            output::complain(&format!("demo-server: {error}"));
            ExitStatus::Failed
        }
    }
}

/// The body of the answer to `path` from server `name`: both ends compute it, so that every byte can be checked.
pub(super) fn body(path: &str, name: &str) -> String {
    format!("{path} was served by {name}\n").repeat(20)
}

async fn listen(args: DemoServerArgs) -> io::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    writeln!(io::stdout(), "{} listens on {}", args.name, listener.local_addr()?)?;
    loop {
        // Any error of accept is a connection that went away or too many of them; the load is bounded.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let name = args.name.clone();
        tokio::task::spawn_local(async move { converse(stream, &name).await.ok() });
    }
}

/// One connection: answers until the client closes or marks its last request.
async fn converse(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(1024);
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if received.len() > LONGEST_HEAD || stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        let last = is_last(&head);
        stream.write_all(answer(&head, name, last).as_bytes()).await?;
        if last {
            return Ok(());
        }
    }
}

/// HTTP/1.0 keeps a connection only if asked to, HTTP/1.1 unless asked not to.
fn is_last(head: &str) -> bool {
    let asks = |what| {
        head.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case(what)
            })
        })
    };
    let is_old = head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"));
    asks("close") || (is_old && !asks("keep-alive"))
}

fn answer(head: &str, name: &str, last: bool) -> String {
    let path = head.split_ascii_whitespace().nth(1).unwrap_or("/");
    let body = if head.starts_with("HEAD ") { String::new() } else { body(path, name) };
    let connection = if last { "close" } else { "keep-alive" };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nServer: {name}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}")
}

const LONGEST_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_as_http_says() {
        let table = [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nconnection:  Close\r\n\r\n", true),
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false),
        ];
        for (head, last) in table {
            assert_eq!(is_last(head), last, "{head:?}");
        }
    }
}
