//! The script that finds the primary, against real Redis servers.

use std::io::{BufRead, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::*;

/// A Redis server of this test; it ends with it.
struct Redis {
    child: Child,
    addr: SocketAddr,
    dir: tempfile::TempDir,
}

impl Redis {
    /// Starts a server and waits until it reports that it is ready. Redis cannot choose a port itself, and a free one
    /// may be taken before it binds it; then another one is tried.
    fn start(args: &[&str]) -> Self {
        (0..10).find_map(|_| Self::try_start(args)).expect("redis-server starts on a free port")
    }

    fn try_start(args: &[&str]) -> Option<Self> {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--unixsocket", "redis.sock", "--port", &addr.port().to_string()])
            .args(args)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is installed");
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut redis = Self { child, addr, dir };
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            if line.contains("Ready to accept connections") {
                // Its log must not block it; the thread ends with the server.
                std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
                return Some(redis);
            }
            line.clear();
        }
        redis.child.wait().unwrap();
        None
    }

    fn unix(&self) -> Addr {
        Addr::Unix(self.dir.path().join("redis.sock"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn finds_the_primary() -> Check {
    let steps = vec![
        connect(),
        send(b"PING\r\n"),
        regex(r"^\+PONG\r\n"),
        send(b"INFO replication\r\n"),
        expect(b"role:master"),
        send(b"QUIT\r\n"),
        expect(b"+OK\r\n"),
    ];
    Check { kind: CheckKind::Script(steps), timeout: Duration::from_secs(20), ..Check::default() }
}

#[tokio::test]
async fn a_script_finds_the_primary_among_redis_servers() {
    let primary = Redis::start(&[]);
    let port = primary.addr.port().to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);

    for addr in [Addr::Ip(primary.addr), primary.unix()] {
        let (result, _) = probe(&finds_the_primary(), &addr, &SERVER).await;
        assert_eq!((result.status, &*result.cause), (CheckStatus::L7Ok, ""), "{addr}");
    }
    for addr in [Addr::Ip(replica.addr), replica.unix()] {
        let check = Check { timeout: Duration::from_millis(500), ..finds_the_primary() };
        let (result, _) = probe(&check, &addr, &SERVER).await;
        assert_eq!(result.status, CheckStatus::L7Rsp, "{result}");
        let cause = r"expected `role:master`, got `role:slave\r\nmaster_host:127.0.0.1\r\n";
        assert!(result.cause.starts_with(cause), "{result}");
    }

    let gone = Addr::Ip(primary.addr);
    drop(primary);
    let (result, _) = probe(&finds_the_primary(), &gone, &SERVER).await;
    assert_eq!((result.status, &*result.cause), (CheckStatus::L4Con, "connection refused"));
}
