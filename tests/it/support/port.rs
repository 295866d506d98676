//! Reserved ports. A program that cannot be given port 0 gets one that was really free, and no other process can take
//! it between its restarts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port held by a socket that is bound but never listens: connecting to it is refused, and a listener with
/// SO_REUSEADDR can bind beside it.
#[derive(Debug)]
pub(crate) struct Port {
    addr: SocketAddr,
    _holder: Socket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        Self::reserve_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub(crate) fn reserve_at(addr: SocketAddr) -> Self {
        let holder = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        holder.set_reuse_address(true).unwrap();
        holder.bind(&addr.into()).unwrap();
        let addr = holder.local_addr().unwrap().as_socket().unwrap();
        Self { addr, _holder: holder }
    }

    /// So many free ports in a row, below those that the kernel gives to connections.
    pub(crate) fn reserve_row(ip: IpAddr, count: u16) -> Vec<Self> {
        let rows = std::iter::repeat_with(|| {
            let first = fastrand::u16(20_000..30_000 - count);
            (first..first + count).map(|port| Self::reserve_alone((ip, port).into())).collect::<io::Result<_>>().ok()
        });
        rows.take(1000).flatten().next().expect("free ports in a row")
    }

    /// Fails where any other socket is bound, a holder included.
    fn reserve_alone(addr: SocketAddr) -> io::Result<Self> {
        let holder = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        holder.bind(&addr.into())?;
        holder.set_reuse_address(true)?;
        Ok(Self { addr, _holder: holder })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn number(&self) -> u16 {
        self.addr.port()
    }
}

#[test]
fn a_reserved_port_refuses_while_no_socket_listens() {
    use std::net::{TcpListener, TcpStream};
    let port = Port::reserve();
    assert!(TcpStream::connect(port.addr()).is_err());
    let listener = TcpListener::bind(port.addr()).unwrap();
    assert!(TcpStream::connect(port.addr()).is_ok());
    drop(listener);
    assert!(TcpStream::connect(port.addr()).is_err());
}
