//! How an origin serves one connection, for each behaviour.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::origin::{Behaviour, OriginState};
use super::outcome::{Ending, Outcome};
use super::plan::{Pace, Plan, ServerEnd};
use super::stream::{Verifier, fill};

/// A TCP or unix stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static> Stream for T {}

/// The accounts of planned sessions, by seed.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<u64, Account>>);

#[derive(Debug, Default, Clone)]
struct Account {
    sent: u64,
    outcome: Option<Outcome>,
}

impl Sessions {
    pub(crate) fn sent(&self, seed: u64) -> u64 {
        self.0.lock().unwrap().get(&seed).map_or(0, |account| account.sent)
    }

    pub(crate) fn outcome(&self, seed: u64) -> Option<Outcome> {
        self.0.lock().unwrap().get(&seed).and_then(|account| account.outcome.clone())
    }

    fn update(&self, seed: u64, change: impl FnOnce(&mut Account)) {
        change(self.0.lock().unwrap().entry(seed).or_default());
    }
}

pub(crate) async fn serve(stream: impl Stream, shared: &OriginState) {
    // Many tests are about connections that break; those that check the end read the account.
    drop(match &shared.behaviour {
        Behaviour::Planned => planned(stream, shared).await,
        Behaviour::Echo => echo(stream).await,
        Behaviour::Http(body) => http(stream, shared, *body).await,
        Behaviour::Stall => pending().await,
        Behaviour::Reset => linger_zero(&stream),
        Behaviour::Close => Ok(()),
        Behaviour::SpeakFirst(words) => speak_first(stream, words).await,
        Behaviour::SpeakAddress => {
            let local = SockRef::from(&stream).local_addr().ok().and_then(|addr| addr.as_socket());
            let words = local.map_or_else(String::new, |addr| addr.to_string());
            speak_first(stream, words.as_bytes()).await
        }
    });
}

/// From now on, closing sends RST and discards unsent bytes.
fn linger_zero(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

async fn echo(mut stream: impl Stream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn speak_first(mut stream: impl Stream, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    stream.shutdown().await
}

/// Just enough HTTP for load generators and health checks: heads without bodies, keep-alive on request.
async fn http(mut stream: impl Stream, shared: &OriginState, body: usize) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let keep = text.contains("keep-alive") || text.contains("http/1.1") && !text.contains("connection: close");
        let status = shared.http_status.load(Ordering::Relaxed);
        let connection = if keep { "keep-alive" } else { "close" };
        let mut answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {body}\r\nConnection: {connection}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + body, b'x');
        stream.write_all(&answer).await?;
        if !keep {
            return stream.shutdown().await;
        }
        head.clear();
    }
}

async fn planned(mut stream: impl Stream, shared: &OriginState) -> io::Result<()> {
    let mut head = [0; Plan::LEN];
    stream.read_exact(&mut head).await?;
    let plan = Plan::decode(&head).ok_or(io::ErrorKind::InvalidData)?;
    shared.sessions.update(plan.seed, |account| *account = Account::default());
    if plan.server == ServerEnd::Reset {
        linger_zero(&stream)?;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let progress = watch::Sender::new(Progress::default());
    let receiving = receive(&mut reader, &plan, shared, &progress);
    let sending = send(&mut writer, &plan, shared, progress.subscribe());
    let ending = match plan.server {
        ServerEnd::Reset => tokio::select! {
            ending = receiving => ending,
            done = sending => { done?; Ending::Reset }
        },
        _ => tokio::join!(receiving, sending).0,
    };
    let progress = progress.borrow().clone();
    shared.sessions.update(plan.seed, |account| {
        let (received, corrupt_at) = (progress.received, progress.corrupt_at);
        account.outcome = Some(Outcome { sent: account.sent, received, corrupt_at, ending });
    });
    Ok(())
}

#[derive(Debug, Default, Clone)]
struct Progress {
    received: u64,
    corrupt_at: Option<u64>,
    over: bool,
}

async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    plan: &Plan,
    shared: &OriginState,
    progress: &watch::Sender<Progress>,
) -> Ending {
    if plan.pace == Pace::ServerStalls {
        // Both ends of the channel belong to the origin, which outlives its sessions.
        shared.released.subscribe().wait_for(|released| *released).await.unwrap();
    }
    let mut verifier = Verifier::new(plan.seed);
    let mut buffer = vec![0; 32 * 1024];
    let ending = loop {
        match reader.read(&mut buffer).await {
            Ok(0) => break Ending::Fin,
            Ok(n) => verifier.take(&buffer[..n]),
            Err(error) => break error.into(),
        }
        progress.send_modify(|p| (p.received, p.corrupt_at) = (verifier.received(), verifier.corrupt_at()));
    };
    progress.send_modify(|p| p.over = true);
    ending
}

async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    plan: &Plan,
    shared: &OriginState,
    mut progress: watch::Receiver<Progress>,
) -> io::Result<()> {
    let until = |received: u64| move |p: &Progress| p.over || p.received >= received;
    drop(progress.wait_for(until(plan.answer_after())).await);
    let mut sent = 0;
    let mut buffer = vec![0; plan.down_chunk.max(1) as usize];
    for stop in [plan.down_before_confirmation(), plan.down] {
        while sent < stop {
            let size = (stop - sent).min(buffer.len() as u64) as usize;
            fill(!plan.seed, sent, &mut buffer[..size]);
            writer.write_all(&buffer[..size]).await?;
            sent += size as u64;
            shared.sessions.update(plan.seed, |account| account.sent = sent);
        }
        if plan.server == ServerEnd::Reset && sent < plan.down {
            drop(progress.wait_for(until(plan.up + 1)).await);
        }
    }
    match plan.server {
        ServerEnd::Reset => Ok(()),
        ServerEnd::HalfClose => writer.shutdown().await,
        ServerEnd::AfterClient => {
            drop(progress.wait_for(|p| p.over).await);
            writer.shutdown().await
        }
    }
}
