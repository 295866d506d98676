//! Sockets for questions to name servers: no more at once than this process has set aside for them.
//!
//! A question that is not answered is repeated on a socket of its own while the earlier ones stay open, so without a
//! bound a silent name server would cost several descriptors for each name.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Makes the sockets. Clones share the bound.
#[derive(Clone)]
pub(super) struct BoundedSockets {
    runtime: TokioRuntimeProvider,
    places: Arc<Semaphore>,
}

/// A socket that counts.
pub(super) struct CountedSocket {
    socket: UdpSocket,
    _place: OwnedSemaphorePermit,
}

type Made<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl BoundedSockets {
    pub(super) fn new(most: usize) -> Self {
        Self { runtime: TokioRuntimeProvider::new(), places: Arc::new(Semaphore::new(most)) }
    }
}

impl RuntimeProvider for BoundedSockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = CountedSocket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.runtime.create_handle()
    }

    fn connect_tcp(&self, server: SocketAddr, from: Option<SocketAddr>, limit: Option<Duration>) -> Made<Self::Tcp> {
        self.runtime.connect_tcp(server, from, limit)
    }

    fn bind_udp(&self, from: SocketAddr, _server: SocketAddr) -> Made<CountedSocket> {
        let places = Arc::clone(&self.places);
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            Ok(CountedSocket { socket: UdpSocket::bind(from).await?, _place: place })
        })
    }
}

impl DnsUdpSocket for CountedSocket {
    type Time = TokioTime;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        DnsUdpSocket::poll_recv_from(&self.socket, cx, buf)
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], target: SocketAddr) -> Poll<io::Result<usize>> {
        DnsUdpSocket::poll_send_to(&self.socket, cx, buf, target)
    }
}
