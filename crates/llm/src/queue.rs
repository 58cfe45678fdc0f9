//! Questions that wait for their turn, so that nobody who asks does.
//!
//! The queue is bounded in questions and in bytes; what does not fit is refused at once and counted by whoever asked.
//! A few threads of its own ask. They are not waited for at the end: an answer that nobody hears any more is no loss,
//! and the program need not wait for a provider in order to stop.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Model;
use crate::clock::Clock;
use crate::error::{Error, Skip};
use crate::limits;
use crate::request::{Request, Response};

/// What is done with an answer.
type Then = Box<dyn FnOnce(Result<Response, Error>) + Send>;

/// Questions that wait, and the threads that ask them. Dropped, it asks nothing more.
pub struct Queue(Arc<Line>);

struct Line {
    model: Arc<dyn Model>,
    clock: Arc<dyn Clock>,
    questions: usize,
    inner: Mutex<Inner>,
    came: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(Request, Then)>,
    bytes: usize,
    closed: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} wait)", self.waiting())
    }
}

impl Queue {
    /// Starts so many threads, for at most so many questions that wait.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(
        model: Arc<dyn Model>,
        clock: Arc<dyn Clock>,
        workers: usize,
        questions: usize,
    ) -> std::io::Result<Queue> {
        let questions = questions.clamp(1, limits::QUEUE_MAX);
        let line = Arc::new(Line { model, clock, questions, inner: Mutex::default(), came: Condvar::new() });
        let queue = Queue(Arc::clone(&line));
        for _ in 0..workers.clamp(1, limits::WORKERS_MAX) {
            let line = Arc::clone(&line);
            let thread = std::thread::Builder::new().name("llm".to_owned()).stack_size(limits::WORKER_STACK_BYTES);
            thread.spawn(move || line.work())?;
        }
        Ok(queue)
    }

    /// Puts a question at the end of the queue. `then` is called by a thread of the queue, once, with the answer; where the queue is
    /// dropped before its turn comes it is called with [`Skip::Stopping`].
    ///
    /// # Errors
    /// [`Skip::QueueFull`], and nothing was put.
    pub fn ask(
        &self,
        request: Request,
        then: impl FnOnce(Result<Response, Error>) + Send + 'static,
    ) -> Result<(), Skip> {
        let mut inner = self.0.lock();
        let bytes = request.bytes();
        if inner.waiting.len() >= self.0.questions || inner.bytes + bytes > limits::QUEUE_BYTES_MAX {
            return Err(Skip::QueueFull);
        }
        inner.bytes += bytes;
        inner.waiting.push_back((request, Box::new(then)));
        drop(inner);
        self.0.came.notify_one();
        Ok(())
    }

    /// How many questions wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.closed = true;
        let left = std::mem::take(&mut inner.waiting);
        drop(inner);
        self.0.came.notify_all();
        for (_, then) in left {
            then(Err(Skip::Stopping.into()));
        }
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((request, then)) = self.next() {
            // One that is late is not asked: nobody waits for the answer any more, and it would cost.
            let late = self.clock.now() >= request.deadline;
            then(if late { Err(Skip::Expired.into()) } else { self.model.complete(&request) });
        }
    }

    fn next(&self) -> Option<(Request, Then)> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some((request, then)) = inner.waiting.pop_front() {
                inner.bytes -= request.bytes();
                return Some((request, then));
            }
            inner = self.came.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
