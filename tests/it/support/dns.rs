//! A name server that answers as a test wants, and a machine whose `/etc/resolv.conf` and `/etc/hosts` are the test's: a
//! mount namespace in which both are other files. Needs root.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType, rdata};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

use super::lb::{Lb, LbOptions};

/// How the server answers a question for a name.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With these addresses, of the family asked for.
    Addresses(Vec<IpAddr>),
    /// The same at the end of so many CNAMEs.
    Chain(usize, Vec<IpAddr>),
    /// Over UDP as if it did not fit; over TCP with the addresses.
    Truncated(Vec<IpAddr>),
    /// Addresses for A, and silence for AAAA.
    V4Only(Vec<IpAddr>),
    /// As for a name that exists and has no address.
    Empty,
    NoSuchName,
    Failure,
    Silence,
    /// A message that ends in the middle.
    Cut,
}

/// The server. It knows no name at the beginning.
#[derive(Debug)]
pub(crate) struct NameServer {
    addr: SocketAddr,
    zone: Arc<Zone>,
    files: TempDir,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Zone {
    /// By full name. A name that is not here does not exist.
    names: Mutex<BTreeMap<String, Reply>>,
    /// In place of every answer.
    all: Mutex<Option<Reply>>,
    asked: Mutex<HashMap<String, usize>>,
    by_tcp: AtomicUsize,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        // An address of its own, since a port cannot be written into resolv.conf.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = std::process::id() % 16_000 * 256 + NEXT.fetch_add(1, Ordering::Relaxed) % 256;
        let base = u32::from(Ipv4Addr::new(127, 64, 0, 0));
        let addr = SocketAddr::from((Ipv4Addr::from(base + number), 53));
        let zone = Arc::new(Zone::default());
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let served = Arc::clone(&zone);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let udp = UdpSocket::bind(addr).await.expect("binding port 53 needs root");
                let tcp = TcpListener::bind(addr).await.unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = served.serve_udp(udp) => {}
                    () = Arc::clone(&served).serve_tcp(tcp) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("the name server's thread listens");
        let server = Self { addr, zone, files: tempfile::tempdir().unwrap(), _stop: stop };
        server.set_resolv_conf(&format!("nameserver {}\n", addr.ip()));
        server.set_hosts("127.0.0.1 localhost\n::1 localhost\n");
        server
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    /// From now on.
    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.zone.names.lock().unwrap().insert(format!("{name}."), reply);
    }

    /// The name has these addresses.
    pub(crate) fn put(&self, name: &str, addresses: &[IpAddr]) {
        self.set(name, Reply::Addresses(addresses.to_vec()));
    }

    /// Every question is answered so, until [`NameServer::heal`].
    pub(crate) fn fail(&self, reply: Reply) {
        *self.zone.all.lock().unwrap() = Some(reply);
    }

    pub(crate) fn heal(&self) {
        *self.zone.all.lock().unwrap() = None;
    }

    /// How often addresses of the name were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.zone.asked.lock().unwrap().get(&format!("{name}.")).copied().unwrap_or_default()
    }

    /// How many questions came over TCP.
    pub(crate) fn asked_by_tcp(&self) -> usize {
        self.zone.by_tcp.load(Ordering::Relaxed)
    }

    /// In place, as container runtimes write it.
    pub(crate) fn set_resolv_conf(&self, text: &str) {
        fs::write(self.file("resolv.conf"), text).unwrap();
    }

    pub(crate) fn set_hosts(&self, text: &str) {
        fs::write(self.file("hosts"), text).unwrap();
    }

    /// Options of a balancer on the machine with these files.
    pub(crate) fn options(&self) -> LbOptions {
        let script = format!("{} && exec \"$@\"", self.mounts());
        Lb::options().within(&["unshare", "--mount", "--", "sh", "-c", &script, "sh"])
    }

    /// Puts these files in place of the machine's: for a shell in a mount namespace of its own.
    pub(crate) fn mounts(&self) -> String {
        let (resolv_conf, hosts) = (self.file("resolv.conf"), self.file("hosts"));
        let of = |file: &Path, place| format!("mount --bind {} /etc/{place}", file.display());
        format!("{} && {}", of(&resolv_conf, "resolv.conf"), of(&hosts, "hosts"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

impl Zone {
    async fn serve_udp(&self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
            if let Some(answer) = self.answer(&buffer[..length], false) {
                drop(socket.send_to(&answer, client).await);
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let zone = Arc::clone(&self);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; length.into()];
                    stream.read_exact(&mut question).await?;
                    zone.by_tcp.fetch_add(1, Ordering::Relaxed);
                    if let Some(answer) = zone.answer(&question, true) {
                        stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
                        stream.write_all(&answer).await?;
                    }
                }
                Ok::<_, io::Error>(())
            });
        }
    }

    fn answer(&self, question: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(question).ok()?;
        let query = message.queries.first()?.clone();
        let name = query.name().to_string().to_lowercase();
        *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        let reply = self.all.lock().unwrap().clone();
        let reply = reply.or_else(|| self.names.lock().unwrap().get(&name).cloned()).unwrap_or(Reply::NoSuchName);
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        let mut add = |addresses: &[IpAddr], links: usize| {
            self.add(&mut message, query.name(), query.query_type(), addresses, links)
        };
        match &reply {
            Reply::Addresses(addresses) => add(addresses, 0),
            Reply::Chain(links, addresses) => add(addresses, *links),
            Reply::Truncated(addresses) if by_tcp => add(addresses, 0),
            Reply::V4Only(addresses) if query.query_type() == RecordType::A => add(addresses, 0),
            Reply::Truncated(_) => message.metadata.truncation = true,
            Reply::Silence | Reply::V4Only(_) => return None,
            Reply::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
            Reply::Failure => message.metadata.response_code = ResponseCode::ServFail,
            Reply::Empty | Reply::Cut => {}
        }
        let mut bytes = message.to_vec().unwrap();
        if matches!(reply, Reply::Cut) {
            bytes.truncate(bytes.len() - 3);
        }
        Some(bytes)
    }

    /// Adds the addresses of the type asked for, behind `links` aliases.
    fn add(&self, message: &mut Message, name: &Name, kind: RecordType, addresses: &[IpAddr], links: usize) {
        let mut owner = name.clone();
        for link in 0..links {
            let alias = Name::from_ascii(format!("alias{link}.example.")).unwrap();
            message.answers.push(Record::from_rdata(owner, TTL, RData::CNAME(rdata::CNAME(alias.clone()))));
            owner = alias;
        }
        let of_kind = addresses.iter().filter(|ip| ip.is_ipv4() == (kind == RecordType::A));
        message.answers.extend(of_kind.map(|ip| Record::from_rdata(owner.clone(), TTL, RData::from(*ip))));
    }
}

/// Seconds: answers are asked for again soon.
const TTL: u32 = 1;
