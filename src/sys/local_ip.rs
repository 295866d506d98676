//! Whether an IP address is one of this host (of this network namespace), asked of the kernel without netlink, which a
//! confined service may not use.

use std::fs;
use std::net::{SocketAddr, UdpSocket};

/// Whether a connect to this address stays on this host.
pub(crate) fn is_local(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let mut any_port = addr;
    any_port.set_port(0);
    // Only own addresses can be bound, unless this host is set up to bind others before it has them (VRRP).
    match UdpSocket::bind(any_port) {
        Err(_) => false,
        Ok(_) if !binds_others(ip.is_ipv6()) => true,
        Ok(socket) => {
            drop(socket);
            is_own_source(addr)
        }
    }
}

fn binds_others(v6: bool) -> bool {
    let path = format!("/proc/sys/net/ipv{}/ip_nonlocal_bind", if v6 { 6 } else { 4 });
    fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

/// What is sent to an own address comes from that address. (Not from a secondary one of the same network.)
fn is_own_source(addr: SocketAddr) -> bool {
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // Connecting a UDP socket sends nothing.
    let source = UdpSocket::bind(any).and_then(|socket| socket.connect(addr).and_then(|()| socket.local_addr()));
    source.is_ok_and(|source| source.ip() == addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_are_told_from_others() {
        for (addr, expected) in
            [("127.0.0.9:80", true), ("0.0.0.0:1", true), ("192.0.2.7:80", false), ("[2001:db8::7]:1", false)]
        {
            assert_eq!(is_local(addr.parse().unwrap()), expected, "{addr}");
        }
        assert!(is_own_source("127.0.0.1:80".parse().unwrap()));
    }
}
