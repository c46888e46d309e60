//! Something that a task waits for beside other things, and asks only when it has news: most of the
//! time the task wakes up for the others.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rings when what is waited for may be ready.
pub(super) struct Bell {
    rope: Arc<Rope>,
    /// Rings it.
    waker: Waker,
}

struct Rope {
    has_rung: AtomicBool,
    /// Who hears it.
    task: Mutex<Waker>,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A task that is told who hears it looks at this afterwards.
        self.has_rung.store(true, Ordering::SeqCst);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Bell {
    /// Has rung: nothing was asked yet.
    pub(super) fn new() -> Bell {
        let task = Mutex::new(Waker::noop().clone());
        let rope = Arc::new(Rope { has_rung: AtomicBool::new(true), task });
        Bell { waker: Waker::from(rope.clone()), rope }
    }

    /// Asks, unless nothing can have changed since the last time. What was ready may be so again
    /// at once.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.rope.is_heard_by(cx.waker());
        if !self.rope.has_rung.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let answer = ask(&mut Context::from_waker(&self.waker));
        if answer.is_ready() {
            self.rope.has_rung.store(true, Ordering::SeqCst);
        }
        answer
    }
}

impl Rope {
    fn is_heard_by(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.will_wake(waker) {
            task.clone_from(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Asked through a bell: how often, and by which waker last.
    #[derive(Default)]
    struct Asked {
        count: Cell<u32>,
        waker: Cell<Option<Waker>>,
    }

    impl Asked {
        fn by(&self, bell: &Bell, task: &Arc<Task>, answer: Poll<()>) -> Poll<()> {
            let waker = Waker::from(task.clone());
            bell.poll(&mut Context::from_waker(&waker), |cx| {
                self.count.set(self.count.get() + 1);
                self.waker.set(Some(cx.waker().clone()));
                answer
            })
        }

        fn ring(&self) {
            self.waker.take().expect("it was asked").wake();
        }
    }

    #[test]
    fn it_is_asked_at_first_and_then_when_it_rang() {
        let (bell, task, asked) = (Bell::new(), Arc::new(Task::default()), Asked::default());
        for _ in 0..3 {
            assert_eq!(asked.by(&bell, &task, Poll::Pending), Poll::Pending);
        }
        assert_eq!((asked.count.get(), task.0.load(Ordering::SeqCst)), (1, 0));
        asked.ring();
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
        assert_eq!(asked.by(&bell, &task, Poll::Ready(())), Poll::Ready(()));
        assert_eq!(asked.count.get(), 2);
    }

    #[test]
    fn what_was_ready_is_asked_again() {
        let (bell, task, asked) = (Bell::new(), Arc::new(Task::default()), Asked::default());
        for _ in 0..3 {
            assert_eq!(asked.by(&bell, &task, Poll::Ready(())), Poll::Ready(()));
        }
        assert_eq!(asked.by(&bell, &task, Poll::Pending), Poll::Pending);
        assert_eq!(asked.by(&bell, &task, Poll::Ready(())), Poll::Pending);
        assert_eq!(asked.count.get(), 4);
    }

    #[test]
    fn who_asked_last_hears_it_also_when_nothing_was_asked() {
        let (bell, asked) = (Bell::new(), Asked::default());
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        assert_eq!(asked.by(&bell, &first, Poll::Pending), Poll::Pending);
        assert_eq!(asked.by(&bell, &second, Poll::Pending), Poll::Pending);
        asked.ring();
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_rings_while_it_is_asked_is_asked_again() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        let pending: Poll<()> = bell.poll(&mut cx, |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(pending, Poll::Pending);
        assert_eq!(bell.poll(&mut cx, |_| Poll::Ready(7)), Poll::Ready(7));
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
    }
}
