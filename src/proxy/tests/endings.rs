//! Sessions that end in other ways than by two FINs, and sessions that reach no server.

use super::*;

/// A port without a listener.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn sessions_held_for_a_server_that_refuses_try_once_a_second_each() {
    let mut settings = config::Backend::new("app", Vec::new());
    settings.timeout.queue = Duration::from_millis(1500);
    settings.retry.retries = 0;
    let bench = Bench::with(settings, refusing(), 0);
    let mut clients: Vec<_> = (0..4).map(|_| connect(bench.addr)).collect();
    for client in &mut clients {
        // Held until the queue's time is over, and closed then.
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
    let server = Arc::clone(&bench.backend.snapshot().members[0].server);
    let attempts = server.stats.connect_errors.value();
    assert!((8..=12).contains(&attempts), "{attempts} attempts");
}

/// Sends one byte as urgent data.
fn send_urgent(stream: &TcpStream, byte: u8) {
    assert_eq!(socket2::SockRef::from(stream).send_out_of_band(&[byte]).unwrap(), 1);
}

/// An origin that hands its connections over.
fn by_hand() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

#[test]
fn what_follows_urgent_data_is_relayed() {
    let (addr, origin) = by_hand();
    let bench = Bench::new(addr, 8);
    let mut client = connect(bench.addr);
    client.write_all(b"x").unwrap();
    let mut server = accept(&origin);
    server.read_exact(&mut [0]).unwrap();
    for _ in 0..50 {
        client.write_all(b"before").unwrap();
        send_urgent(&client, b'!');
        client.write_all(b"after").unwrap();
        let mut got = [0; 11];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"beforeafter");
    }
}

#[test]
fn a_bulk_stream_with_urgent_data_in_it_arrives_whole() {
    let (addr, origin) = by_hand();
    let bench = Bench::new(addr, 8);
    for _ in 0..8 {
        let mut client = connect(bench.addr);
        client.write_all(&fill(1, 0, 500_000)).unwrap();
        send_urgent(&client, b'!');
        client.write_all(&fill(1, 500_000, 100_000)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        // Reading begins only now: the urgent byte lies amid the bytes that are spliced.
        let mut server = accept(&origin);
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), 600_000);
        check(1, 0, &got);
    }
}

/// Waits until the peer has reset `stream`.
fn await_reset(stream: &TcpStream) {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(stream), PollFlags::empty())];
    assert_eq!(poll(&mut fds, 10_000_u16).unwrap(), 1, "no reset came");
    assert!(fds[0].revents().unwrap().contains(PollFlags::POLLERR));
}

fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_after_a_fin_reaches_the_other_side() {
    let (addr, origin) = by_hand();
    let bench = Bench::new(addr, 8);
    let mut client = connect(bench.addr);
    client.write_all(b"x").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut server = accept(&origin);
    assert_eq!(server.read_to_end(&mut Vec::new()).unwrap(), 1);
    reset(client);
    await_reset(&server);

    let mut client = connect(bench.addr);
    client.write_all(b"x").unwrap();
    let mut server = accept(&origin);
    server.read_exact(&mut [0]).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    reset(server);
    await_reset(&client);
}

#[test]
fn a_unix_server_with_a_full_queue_is_busy_and_not_dead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let addr = Addr::Unix(path);
    // Fills the queue.
    let _one = crate::sys::socket::connect(&addr, None, false).unwrap();

    let mut settings = config::Backend::new("app", Vec::new());
    settings.timeout.queue = Duration::from_millis(10);
    settings.retry.retries = 0;
    let bench = Bench::with(settings, addr, 0);
    let mut client = connect(bench.addr);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    let server = Arc::clone(&bench.backend.snapshot().members[0].server);
    assert!(!server.is_suspect());
    assert_eq!(server.stats.connect_errors.value(), 0);
}

#[test]
fn a_proxy_header_is_not_counted_as_the_clients_bytes() {
    let mut settings = config::Backend::new("app", Vec::new());
    Arc::make_mut(&mut settings.options).send_proxy = Some(config::ProxyVersion::V2);
    let (addr, origin) = by_hand();
    let bench = Bench::with(settings, addr, 0);
    let mut client = connect(bench.addr);
    client.write_all(b"four").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut server = accept(&origin);
    assert_eq!(server.read_to_end(&mut Vec::new()).unwrap(), 28 + 4);
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    bench.await_end();
    assert_eq!(bench.frontend.stats.bytes_in.value(), 4);
}
