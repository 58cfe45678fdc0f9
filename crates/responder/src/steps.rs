//! The places between two steps of a verb. A test's own process is killed there, as `kill -9` would; in the product
//! nothing happens.

/// Marks that a step was done and the next one not begun.
#[cfg(not(test))]
pub(crate) const fn between(_what: &str) {}

/// Ends this process at the place that it was told to end at, without any of its destructors.
#[cfg(test)]
pub(crate) fn between(what: &str) {
    LEFT.with(|left| match left.get() {
        Some(0) => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).expect("a process may end itself");
            unreachable!("killed after {what}");
        }
        Some(n) => left.set(Some(n - 1)),
        None => {}
    });
}

/// Lets this thread pass `steps` places and be killed at the next one.
#[cfg(test)]
pub(crate) fn die_after(steps: u64) {
    LEFT.with(|left| left.set(Some(steps)));
}

#[cfg(test)]
thread_local! {
    static LEFT: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}
