//! Raft messages that wait for the connection to one peer.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A bounded queue of encoded messages. What does not fit is lost, as on a network.
#[derive(Debug)]
pub(super) struct Queue {
    max_messages: usize,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Queue {
        Queue { max_messages, max_bytes, waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Adds a message, unless the queue is full.
    pub(super) fn push(&self, message: Vec<u8>) -> bool {
        let mut waiting = self.lock();
        let fits = waiting.messages.len() < self.max_messages
            && waiting.bytes.saturating_add(message.len()) <= self.max_bytes;
        if fits {
            waiting.bytes += message.len();
            waiting.messages.push_back(message);
            self.filled.notify_one();
        }
        fits
    }

    /// Waits for a message and takes as many as have up to `max` bytes, at least one. A call that
    /// is dropped takes nothing. One reader at a time.
    pub(super) async fn take(&self, max: usize) -> Vec<Vec<u8>> {
        loop {
            let batch = self.pop(max);
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until there is a message.
    pub(super) async fn wait(&self) {
        while self.lock().messages.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Drops all messages and tells how many.
    pub(super) fn clear(&self) -> usize {
        let waiting = std::mem::take(&mut *self.lock());
        waiting.messages.len()
    }

    fn pop(&self, max: usize) -> Vec<Vec<u8>> {
        let mut waiting = self.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = waiting.messages.front()
            && (batch.is_empty() || bytes + next.len() <= max)
        {
            bytes += next.len();
            batch.extend(waiting.messages.pop_front());
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        batch
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_keep_order_and_stay_small() {
        let queue = Queue::new(10, 1_000);
        for byte in 0..4 {
            assert!(queue.push(vec![byte; 40]));
        }
        assert_eq!(queue.take(100).await, [vec![0; 40], vec![1; 40]]);
        assert_eq!(queue.take(1).await, [vec![2; 40]], "a large one goes alone");
        assert_eq!((queue.clear(), queue.clear()), (1, 0));
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let queue = Queue::new(2, 100);
        assert!(queue.push(vec![0; 90]) && !queue.push(vec![0; 11]) && queue.push(vec![0; 10]));
        assert!(!queue.push(Vec::new()), "the third is one too many");
        queue.clear();
        assert!(queue.push(vec![0; 100]));
    }
}
