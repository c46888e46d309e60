//! Timers that are kept from one wait to the next.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};

/// One timer for many waits, most of which end long before their time: it is set anew only when it
/// runs out early or would ring late, not for each of them.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Ready once it is `until`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn waits(patience: &mut Patience, longest: Duration) -> Duration {
        let began = Instant::now();
        poll_fn(|cx| patience.poll(cx, began + longest)).await;
        began.elapsed()
    }

    #[tokio::test]
    async fn each_wait_has_its_own_time() {
        let mut patience = Patience::default();
        for millis in [3, 60, 1, 1, 10] {
            let longest = Duration::from_millis(millis);
            assert!(waits(&mut patience, longest).await >= longest);
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_change_the_next() {
        let mut patience = Patience::default();
        let short = Duration::from_millis(20);
        let given_up = tokio::time::timeout(short, waits(&mut patience, short * 2)).await;
        assert!(given_up.is_err());
        assert!(waits(&mut patience, short * 5).await >= short * 5, "it is not shorter");
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(short, waits(&mut patience, hour)).await.is_err());
        let next = tokio::time::timeout(hour / 60, waits(&mut patience, short)).await;
        assert!(next.expect("it is not longer") >= short);
    }
}
