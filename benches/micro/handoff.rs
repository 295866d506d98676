//! Messages between two engines in an upgrade, written and read: a full batch of sessions, and a server's state.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use lb::internals::config::AdminState;
use lb::internals::handoff::Frame;
use lb::internals::handoff::Messages;
use lb::internals::handoff::peer::{
    BATCH, Batch, Bucket, CounterRecord, FlowRecord, HistogramRecord, Knowledge, PeerMessage, RelayRecord,
    ServerRecord, SessionRecord,
};

pub(crate) fn bench(criterion: &mut Criterion) {
    let sessions = u64::try_from(BATCH).unwrap_or(0);
    let mut group = criterion.benchmark_group("handoff");
    for (name, message, elements) in [("batch of sessions", batch(sessions), sessions), ("server", server(), 1)] {
        group.throughput(Throughput::Elements(elements));
        group.bench_function(format!("encode a {name}"), |bencher| {
            bencher.iter(|| frame(black_box(&message)).encode());
        });
        let bytes = frame(&message).encode();
        group.bench_function(format!("decode a {name}"), |bencher| {
            bencher.iter(|| {
                let frame = Frame::decode(black_box(&bytes), message.descriptors())?;
                PeerMessage::decode(&frame)
            });
        });
    }
    group.finish();
}

fn frame(message: &PeerMessage) -> Frame {
    let (kind, critical, body) = message.encode();
    Frame { kind, critical, fds: message.descriptors(), sequence: 1, body }
}

/// Sessions in mid-stream.
fn batch(sessions: u64) -> PeerMessage {
    let flow = || FlowRecord {
        ended: false,
        broken: false,
        closed: false,
        abandoned: false,
        received: 123_456,
        sent: 123_456,
        pipe: None,
    };
    let session = |key| SessionRecord {
        key,
        frontend: "web".to_owned(),
        client: Some("203.0.113.7:50123".to_owned()),
        local: Some("198.51.100.1:443".to_owned()),
        accepted_ms: 1_700_000_000_000,
        age_us: 5_000_000,
        relay: vec![RelayRecord {
            backend: "app".to_owned(),
            server: "app1".to_owned(),
            queue_us: 0,
            connect_us: 350,
            retries: 0,
            redispatched: false,
            client_idle_us: 1_000,
            server_idle_us: 1_000,
            server_owes: true,
            flows: vec![flow(), flow()],
        }],
        waiting: Vec::new(),
        unix: None,
    };
    PeerMessage::Batch(Batch { number: 1, sessions: (0..sessions).map(session).collect() })
}

/// A server after some time of service.
fn server() -> PeerMessage {
    let histogram = |what| HistogramRecord {
        what,
        buckets: (0..40).map(|number| Bucket { number, count: 1_000 }).collect(),
        mean_us: Some(900),
        longest_us: Some(90_000),
    };
    PeerMessage::Server(ServerRecord {
        backend: "app".to_owned(),
        name: "app1".to_owned(),
        addr: "10.0.0.1:8000".to_owned(),
        counts: (1..=8).map(|what| CounterRecord { what, value: 1 << 40 }).collect(),
        histograms: (1..=3).map(histogram).collect(),
        knowledge: vec![Knowledge {
            admin: AdminState::Ready,
            weight: None,
            up_failures: Some(0),
            down_successes: None,
            suspect: false,
            recovering_ms: None,
            changed_ms: Some(60_000),
            history: vec![b'x'; 1_000],
            configured: false,
            maxconn: None,
            agent_down: false,
            downtime_ms: Some(0),
        }],
        peaks: Vec::new(),
        quiet_ms: Some(10),
    })
}
