//! Bounded single-producer single-consumer queues and the bell that wakes their consumer.

mod doorbell;

use std::sync::Arc;

pub use doorbell::Doorbell;

/// The sending end: pushes never wait; ringing is a separate step so that a batch costs one bell.
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    bell: Arc<Doorbell>,
    dirty: bool,
}

/// The receiving end.
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
}

/// A queue of `capacity` elements whose sender rings `bell`.
pub fn channel<T>(capacity: usize, bell: Arc<Doorbell>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    (
        Sender {
            ring: producer,
            bell,
            dirty: false,
        },
        Receiver { ring: consumer },
    )
}

impl<T> Sender<T> {
    /// Puts `value` in, without waking the consumer yet.
    ///
    /// # Errors
    /// Gives `value` back when the queue is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        match self.ring.push(value) {
            Ok(()) => {
                self.dirty = true;
                Ok(())
            }
            Err(rtrb::PushError::Full(value)) => Err(value),
        }
    }

    /// Wakes the consumer if anything was pushed since the last ring.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.bell.ring();
        }
    }

    /// Pushes and rings.
    ///
    /// # Errors
    /// Gives `value` back when the queue is full.
    pub fn send(&mut self, value: T) -> Result<(), T> {
        let result = self.push(value);
        self.ring();
        result
    }

    /// Whether the consumer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest element.
    pub fn pop(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    /// How many wait now.
    pub fn len(&self) -> usize {
        self.ring.slots()
    }

    /// Whether none waits now.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether the producer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_value_back() {
        let bell = Arc::new(Doorbell::new().expect("eventfd"));
        let (mut tx, mut rx) = channel(2, bell);
        assert_eq!(tx.push(1), Ok(()));
        assert_eq!(tx.push(2), Ok(()));
        assert_eq!(tx.push(3), Err(3));
        assert_eq!((rx.pop(), rx.pop(), rx.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn a_sleeping_consumer_hears_every_batch() {
        let bell = Arc::new(Doorbell::new().expect("eventfd"));
        let (mut tx, mut rx) = channel(1024, bell.clone());
        let producer = std::thread::spawn(move || {
            for n in 0..10_000_u32 {
                let mut value = n;
                while let Err(back) = tx.send(value) {
                    value = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < 10_000 {
            while let Some(n) = rx.pop() {
                assert_eq!(n, expected);
                expected += 1;
            }
            bell.arm();
            if rx.is_empty() && expected < 10_000 {
                bell.wait();
            }
            bell.answer();
        }
        producer.join().expect("producer");
    }
}
