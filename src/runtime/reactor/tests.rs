use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::Wake;

use super::*;

struct WakeCount(AtomicU32);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

struct ReactorRig {
    count: Arc<WakeCount>,
    waker: Waker,
    doorbell: Doorbell,
    _installed: Installed,
}

impl ReactorRig {
    fn new() -> Self {
        let (installed, doorbell) = install().unwrap();
        let count = Arc::new(WakeCount(0.into()));
        Self { waker: Waker::from(Arc::clone(&count)), _installed: installed, count, doorbell }
    }

    fn is_ready(&self, watched: &Registration, what: ReadySet) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        watched.poll_ready(&mut cx, what).is_ready()
    }

    /// Takes events until there are none; how often the task was woken by them.
    fn woken(&self) -> u32 {
        assert!(!wait(Some(Duration::ZERO)).unwrap());
        self.count.0.swap(0, SeqCst)
    }
}

fn pair() -> (Registration, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (Registration::new(near.into()).unwrap(), far)
}

#[test]
fn only_a_task_that_has_waited_is_woken() {
    let rig = ReactorRig::new();
    let (near, mut far) = pair();
    far.write_all(b"x").unwrap();
    assert_eq!(rig.woken(), 0, "no task has waited");
    assert!(rig.is_ready(&near, ReadySet::READ), "it was noted");
    near.has_read_all();
    assert!(!rig.is_ready(&near, ReadySet::READ));
    far.write_all(b"x").unwrap();
    assert_eq!(rig.woken(), 1);
    drop(far);
    assert_eq!(rig.woken(), 1);
    assert!(rig.is_ready(&near, ReadySet::HANGUP) && near.is_ready(ReadySet::READ_CLOSED));
}

#[test]
fn writing_is_reported_once_it_has_been_tried() {
    let rig = ReactorRig::new();
    let (near, mut far) = pair();
    assert!(rig.is_ready(&near, ReadySet::WRITE), "until it is tried");
    let block = [7; 4096];
    let mut sent = 0;
    while let Ok(len) = rustix::io::write(&near, &block) {
        sent += len;
    }
    near.is_full().unwrap();
    assert!(!rig.is_ready(&near, ReadySet::WRITE));
    assert_eq!(rig.woken(), 0);
    for _ in 0..2 {
        let mut taken = vec![0; sent];
        far.read_exact(&mut taken).unwrap();
        assert_eq!(rig.woken(), 1);
        assert!(rig.is_ready(&near, ReadySet::WRITE));
        sent = 0;
        while let Ok(len) = rustix::io::write(&near, &block) {
            sent += len;
        }
        near.is_full().unwrap();
        assert!(!rig.is_ready(&near, ReadySet::WRITE));
    }
}

#[test]
fn events_of_a_closed_descriptor_do_not_reach_the_next_one() {
    let rig = ReactorRig::new();
    let (near, mut far) = pair();
    let duplicate = near.as_fd().try_clone_to_owned().unwrap();
    let place = near.entry.0.token.place;
    drop(near);
    let (next, _far) = pair();
    assert_eq!(next.entry.0.token.place, place);
    assert!(!rig.is_ready(&next, ReadySet::READ));
    // The old registration stays with the duplicate.
    far.write_all(b"x").unwrap();
    assert_eq!(rig.woken(), 0);
    assert!(!rig.is_ready(&next, ReadySet::READ));
    drop(duplicate);
}

#[test]
fn one_that_was_given_back_can_be_watched_again() {
    let rig = ReactorRig::new();
    let (near, mut far) = pair();
    let near = Registration::new(near.into_fd()).unwrap();
    far.write_all(b"x").unwrap();
    assert!(!rig.is_ready(&near, ReadySet::READ));
    assert_eq!(rig.woken(), 1);
    let duplicate = near.as_fd().try_clone_to_owned().unwrap();
    near.deregister();
    assert!(Registration::new(duplicate).is_ok(), "twice in one reactor");
    assert!(Registration::new(near.into_fd()).is_ok());
}

#[test]
fn each_ring_of_the_doorbell_ends_a_wait() {
    let rig = ReactorRig::new();
    for _ in 0..3 {
        rig.doorbell.ring();
        assert!(wait(None).unwrap());
        assert!(!wait(Some(Duration::ZERO)).unwrap());
    }
}

#[test]
fn a_thread_without_a_reactor_watches_nothing() {
    let (near, _far) = UnixStream::pair().unwrap();
    assert!(Registration::new(near.into()).is_err());
    assert!(wait(Some(Duration::ZERO)).is_err());
}
