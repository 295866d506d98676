//! Sessions that end in other ways than by two FINs, and sessions that reach no server.

use super::*;

/// A port that nobody listens on.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn sessions_held_for_a_server_that_refuses_try_once_a_second_each() {
    let mut settings = config::Backend::new("app", Vec::new());
    settings.timeout.queue = Duration::from_millis(1500);
    settings.retries = 0;
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
