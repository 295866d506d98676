use std::future::poll_fn;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::runtime::timer::Timer;

fn run<T>(root: impl Future<Output = T>) -> T {
    Executor::new().unwrap().run(root).unwrap()
}

/// Counts how often it was dropped.
struct DropCount(Rc<Cell<u32>>);

impl Drop for DropCount {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_waker_wakes_from_another_thread() {
    for _ in 0..100 {
        let mut rung = false;
        run(poll_fn(|cx| {
            if rung {
                return Poll::Ready(());
            }
            rung = true;
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        }));
    }
}

#[test]
fn timers_fire_in_their_order_and_not_early() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let begun = Instant::now();
    run(async {
        for millis in [30, 10, 20, 10] {
            let order = Rc::clone(&order);
            spawn(async move {
                let due = begun + Duration::from_millis(millis);
                Timer::at(due).await;
                assert!(Instant::now() >= due);
                order.borrow_mut().push(millis);
            });
        }
        // One that is dropped wakes no task.
        drop(Timer::after(Duration::from_millis(5)));
        Timer::at(begun + Duration::from_millis(40)).await;
    });
    assert_eq!(*order.borrow(), [10, 10, 20, 30]);
}

#[test]
fn a_task_that_wakes_itself_starves_no_other() {
    run(async {
        spawn(async {
            loop {
                yield_now().await;
            }
        });
        Timer::after(Duration::from_millis(5)).await;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        spawn(async move { sender.send(()).unwrap() });
        receiver.await.unwrap();
    });
}

#[test]
fn tasks_that_wake_each_other_without_end_starve_no_other() {
    run(async {
        let wakers = Rc::new(RefCell::new([const { None::<Waker> }; 2]));
        for own in 0..2 {
            let wakers = Rc::clone(&wakers);
            spawn(poll_fn(move |cx| {
                let mut wakers = wakers.borrow_mut();
                wakers[own] = Some(cx.waker().clone());
                if let Some(other) = &wakers[1 - own] {
                    other.wake_by_ref();
                }
                Poll::Pending
            }));
        }
        Timer::after(Duration::from_millis(5)).await;
    });
}

#[test]
fn a_task_that_panics_is_dropped_and_ends_no_other() {
    let dropped = Rc::new(Cell::new(0));
    run(async {
        let guard = DropCount(Rc::clone(&dropped));
        spawn(async move {
            let _guard = guard;
            panic!("a bug in one session");
        });
        let (sender, receiver) = tokio::sync::oneshot::channel();
        spawn(async move { sender.send(()).unwrap() });
        receiver.await.unwrap();
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn an_aborted_task_is_dropped_at_once_and_its_name_is_not_reused() {
    let dropped = Rc::new(Cell::new(0));
    let forever = || {
        let guard = DropCount(Rc::clone(&dropped));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    };
    run(async {
        let first = spawn(forever());
        yield_now().await;
        first.abort();
        assert_eq!(dropped.get(), 1);
        // It has the same place.
        let second = spawn(forever());
        assert_eq!(second.slot, first.slot);
        first.abort();
        yield_now().await;
        assert_eq!(dropped.get(), 1);
    });
    assert_eq!(dropped.get(), 2, "what is left is dropped with the executor");
}

#[test]
fn what_a_dropped_task_wakes_or_starts_does_no_harm() {
    struct Stirs(Waker);
    impl Drop for Stirs {
        fn drop(&mut self) {
            self.0.wake_by_ref();
            spawn(async {});
        }
    }
    let waker = run(poll_fn(|cx| {
        let stirs = Stirs(cx.waker().clone());
        spawn(async move {
            let _stirs = stirs;
            std::future::pending::<()>().await;
        });
        Poll::Ready(cx.waker().clone())
    }));
    // Its executor has ended.
    waker.wake();
    run(yield_now());
}
