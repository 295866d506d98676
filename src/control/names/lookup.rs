//! One look-up of one name: the hosts file, then the name servers, by the rules of the C library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;

use super::found::{FoundAddresses, usable};
use super::hosts::loopback;
use super::system::SystemNames;
use crate::config::Family;

/// The answer to one question.
enum Answered {
    Addresses(Vec<IpAddr>, Duration),
    /// The name does not exist, or has no address of this family.
    Nothing,
    /// No name server has answered.
    Silence,
    Failure(String),
}

/// Looks a name up.
pub(super) async fn look_up(system: &SystemNames, name: &str) -> Result<FoundAddresses, String> {
    let in_file = preferred(usable(system.hosts.addresses(name).iter().copied()));
    let here = usable(in_file.into_iter().chain(loopback(name).iter().copied()));
    if !here.is_empty() {
        return Ok(FoundAddresses { addresses: here, unknown: None, ttl: None });
    }
    let mut found = timeout(LIMIT, search(system, name)).await.unwrap_or_else(|_| Err(silence()))?;
    found.ttl = system.again.or(found.ttl);
    Ok(found)
}

/// The first of the candidates that exists. A server that fails for one of them may know the next, as search domains are
/// often made up; one that is silent ends it.
async fn search(system: &SystemNames, name: &str) -> Result<FoundAddresses, String> {
    let mut failure = None;
    for candidate in system.candidates(name) {
        let (v4, v6) = both_families(system, &candidate).await;
        match joined(v4, v6) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(Answered::Failure(why)) => failure = failure.or(Some(why)),
            Err(_) => return Err(silence()),
        }
    }
    Err(failure.unwrap_or_else(|| "it has no address".to_owned()))
}

/// Asks for both at once. Once one has addresses the other has a second left: some servers never answer for AAAA.
async fn both_families(system: &SystemNames, name: &Name) -> (Answered, Answered) {
    let v4 = pin!(ask(system, name, RecordType::A));
    let mut v4 = v4;
    let mut v6 = pin!(ask(system, name, RecordType::AAAA));
    tokio::select! {
        first = &mut v4 => {
            let second = after(&first, v6).await;
            (first, second)
        }
        first = &mut v6 => {
            let second = after(&first, v4).await;
            (second, first)
        }
    }
}

async fn after(first: &Answered, second: Pin<&mut impl Future<Output = Answered>>) -> Answered {
    match first {
        Answered::Addresses(..) => timeout(SECOND_FAMILY, second).await.unwrap_or(Answered::Silence),
        _ => second.await,
    }
}

async fn ask(system: &SystemNames, name: &Name, kind: RecordType) -> Answered {
    let lookup = match system.resolver.lookup(name.clone(), kind).await {
        Ok(lookup) => lookup,
        Err(NetError::Timeout) => return Answered::Silence,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            return match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => Answered::Nothing,
                code => Answered::Failure(format!("the name server answers {}", code.to_str())),
            };
        }
        Err(NetError::NoConnections) => return Answered::Failure(NO_SERVER.to_owned()),
        Err(error) => return Answered::Failure(error.to_string()),
    };
    let addresses = usable(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
    let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
    if addresses.is_empty() { Answered::Nothing } else { Answered::Addresses(addresses, ttl) }
}

/// What both answers come to. `None`: there is nothing. An error is never [`Answered::Addresses`].
fn joined(v4: Answered, v6: Answered) -> Result<Option<FoundAddresses>, Answered> {
    use Answered::{Addresses, Nothing};
    match (v4, v6) {
        (Addresses(v4, ttl), Addresses(v6, other)) => {
            let addresses = preferred(v4.into_iter().chain(v6).collect());
            Ok(Some(FoundAddresses { addresses, unknown: None, ttl: Some(ttl.min(other)) }))
        }
        (Addresses(addresses, ttl), other) => {
            let unknown = (!matches!(other, Nothing)).then_some(Family::V6);
            Ok(Some(FoundAddresses { addresses, unknown, ttl: Some(ttl) }))
        }
        (other, Addresses(addresses, ttl)) => {
            let unknown = (!matches!(other, Nothing)).then_some(Family::V4);
            Ok(Some(FoundAddresses { addresses, unknown, ttl: Some(ttl) }))
        }
        (Nothing, Nothing) => Ok(None),
        (Nothing, failure) | (failure, _) => Err(failure),
    }
}

/// IPv6 first where this machine has a route to it, else last: what RFC 6724 comes to for most machines.
fn preferred(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_cached_key(|ip| match ip {
        IpAddr::V6(_) if has_route(*ip) => 0,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    });
    addresses
}

/// Connecting a datagram socket asks the routing table and sends nothing.
fn has_route(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0));
    socket.is_ok_and(|socket| socket.connect(SocketAddr::new(ip, 9)).is_ok())
}

fn silence() -> String {
    format!("no answer within {} s", LIMIT.as_secs())
}

const NO_SERVER: &str = "no name server of /etc/resolv.conf answers; name one there that does";

/// For one look-up.
const LIMIT: Duration = Duration::from_secs(5);
const SECOND_FAMILY: Duration = Duration::from_secs(1);
