//! Questions that wait.

use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use vertice_llm::{Error, Model, Models, Origin, Queue, Request, Response, Skip, Usage, Why};

use crate::world::{question, told};

/// Answers once the gate is open.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    inside: Mutex<usize>,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Model for Gate {
    fn complete(&self, request: &Request) -> Result<Response, Error> {
        *self.inside.lock().unwrap() += 1;
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        Ok(Response {
            text: request.user.clone(),
            json: None,
            cut: false,
            usage: Usage::default(),
            cost_microusd: None,
            model: String::new(),
            origin: Origin::Provider,
            attempts: 1,
            latency: Duration::ZERO,
        })
    }
}

#[test]
fn a_thousand_questions_wait_in_bounded_memory_and_whoever_asks_does_not() {
    let (_, world) = told();
    let gate = Arc::new(Gate::default());
    let queue = Queue::start(Arc::<Gate>::clone(&gate), world.clock.clone(), 4, 1_000).unwrap();
    let (told, answers) = mpsc::channel();
    let ask = |n: usize| {
        let told = told.clone();
        // 20 KiB each would be 20 MB: the bound in bytes comes first.
        queue.ask(question(&world, &format!("{n:05}{}", "x".repeat(20_475))), move |a| told.send(a).unwrap())
    };
    let mut put = 0;
    let mut refused = 0;
    for n in 0..1_000 {
        match ask(n) {
            Ok(()) => put += 1,
            Err(skip) => {
                assert_eq!(skip, Skip::QueueFull);
                refused += 1;
            }
        }
    }
    // Nothing was answered yet; four are with the model.
    assert!(answers.try_recv().is_err());
    let most = (16 << 20) / 20_486;
    assert!(queue.waiting() <= most && (most..=most + 4).contains(&put), "{put} of {most}");
    assert_eq!(put + refused, 1_000);
    gate.open();
    for _ in 0..put {
        answers.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    }
    assert_eq!((*gate.inside.lock().unwrap(), queue.waiting()), (put, 0));
}

#[test]
fn what_is_late_is_not_asked_and_what_waits_at_the_end_is_told() {
    let (clock, world) = told();
    let gate = Arc::new(Gate::default());
    let queue = Queue::start(Arc::<Gate>::clone(&gate), world.clock.clone(), 1, 3).unwrap();
    let (told, answers) = mpsc::channel();
    let ask = |user: &str| {
        let told = told.clone();
        queue.ask(question(&world, user), move |a| told.send(a.map(|a| a.text).map_err(|e| e.why)).unwrap())
    };
    ask("1").unwrap();
    while *gate.inside.lock().unwrap() == 0 {
        std::thread::yield_now();
    }
    for user in ["2", "3", "4"] {
        ask(user).unwrap();
    }
    assert_eq!(ask("5"), Err(Skip::QueueFull));
    clock.pass(Duration::from_secs(61));
    gate.open();
    let next = || answers.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(next(), Ok("1".to_owned()));
    for _ in 0..3 {
        assert_eq!(next(), Err(Why::Skipped(Skip::Expired)));
    }
    assert_eq!(*gate.inside.lock().unwrap(), 1);
    *gate.open.lock().unwrap() = false;
    ask("6").unwrap();
    while *gate.inside.lock().unwrap() == 1 {
        std::thread::yield_now();
    }
    ask("7").unwrap();
    drop(queue);
    assert_eq!(next(), Err(Why::Skipped(Skip::Stopping)));
    gate.open();
    assert_eq!(next(), Ok("6".to_owned()));
}

#[test]
fn with_no_model_every_question_is_skipped() {
    let (_, world) = told();
    let queue = Queue::start(Arc::new(Models::none()), world.clock.clone(), 1, 10).unwrap();
    let (told, answers) = mpsc::channel();
    queue.ask(question(&world, "?"), move |a| told.send(a).unwrap()).unwrap();
    let error = answers.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err();
    assert_eq!(error.why, Why::Skipped(Skip::NoModel));
    assert!(Models::none().check(Duration::from_secs(1)).is_empty());
}
