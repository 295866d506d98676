//! `Site`: a server that says which one it is, speaks as much of HTTP and Redis as the checks of the samples ask for, and
//! can be stopped and restarted on its ports.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use super::port::Port;

#[derive(Debug)]
pub(crate) struct Site {
    ports: Vec<Port>,
    shared: Arc<SiteState>,
    listening: Vec<(TcpListener, JoinHandle<()>)>,
}

#[derive(Debug)]
struct SiteState {
    name: String,
    /// Whether it answers a check for `/`, and otherwise one for `/replica`.
    leads: AtomicBool,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

impl Site {
    /// Serves these ports.
    pub(crate) fn start(name: &str, ports: Vec<Port>) -> Self {
        let shared = SiteState { name: name.to_owned(), leads: AtomicBool::new(false), open: Mutex::default() };
        let mut site = Self { ports, shared: Arc::new(shared), listening: Vec::new() };
        site.restart();
        site
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.ports[0].addr()
    }

    pub(crate) fn leads(&self) -> bool {
        self.shared.leads.load(Ordering::Relaxed)
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.shared.leads.store(leads, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.listening.is_empty()
    }

    pub(crate) fn restart(&mut self) {
        for port in &self.ports {
            let listener = TcpListener::bind(port.addr()).unwrap();
            let (accepting, shared) = (listener.try_clone().unwrap(), Arc::clone(&self.shared));
            let thread = thread::spawn(move || {
                while let Ok((stream, _)) = accepting.accept() {
                    let (stream, shared) = (Arc::new(stream), Arc::clone(&shared));
                    shared.open.lock().unwrap().push(Arc::downgrade(&stream));
                    // How a conversation ends is not looked at.
                    thread::spawn(move || drop(shared.converse(&stream)));
                }
            });
            self.listening.push((listener, thread));
        }
    }

    /// As when a server is killed: its ports refuse, and its sessions end.
    pub(crate) fn stop(&mut self) {
        for (listener, thread) in self.listening.drain(..) {
            SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
            thread.join().unwrap();
        }
        for stream in self.shared.open.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            // The other side may have ended it.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

impl SiteState {
    /// Answers line by line.
    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        let source = if reader.fill_buf()?.first() == Some(&b'\r') { header(&mut reader)? } else { None };
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            match *line.split_whitespace().collect::<Vec<_>>() {
                ["WHO"] => {
                    let port = if self.name.contains(':') { String::new() } else { stream.local_addr()?.to_string() };
                    let source = source.map(|addr| addr.to_string()).unwrap_or_default();
                    writer.write_all(format!("{} {port} {source}\n", self.name).as_bytes())?;
                }
                ["CLOSE"] => return Ok(()),
                ["RESET"] => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
                ["AUTH", ..] | ["QUIT"] => writer.write_all(b"+OK\r\n")?,
                ["PING"] => writer.write_all(b"+PONG\r\n")?,
                ["info", ..] => writer.write_all(b"$31\r\nrole:master\r\nconnected_slaves:2\r\n")?,
                ["OPTIONS", path, _] => {
                    let is_asked = (path == "/") == self.leads.load(Ordering::Relaxed);
                    let status = if is_asked { "200 OK" } else { "503 No" };
                    writer.write_all(format!("HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
                }
                _ => {}
            }
            line.clear();
        }
        Ok(())
    }
}

/// The client that a PROXY header of version 2 names.
fn header(reader: &mut impl Read) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 16];
    reader.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    reader.read_exact(&mut body)?;
    Ok(match body[..] {
        [a, b, c, d, _, _, _, _, high, low, ..] => {
            Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
        }
        _ => None,
    })
}
