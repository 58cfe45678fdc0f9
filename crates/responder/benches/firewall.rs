//! How fast an address is held by the kernel, and how fast it is seen there, in a network namespace of its own: with
//! 0 and with 10,000 elements in the set, one after the other and at 100 a second.
//!
//! What is measured is what `firewall::apply` and `firewall::observe` call. A benchmark can not call those: they act
//! for an approved order only, and nobody but the engine makes one. So the files below them are compiled in here.
//!
//! Run as root: `cargo bench -p vertice-responder --bench firewall`

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(
    dead_code,
    missing_docs,
    unused_imports,
    reason = "the files of the crate are here for what is measured of them"
)]

#[path = "../src/failure.rs"]
mod failure;
#[path = "../src/limits.rs"]
mod limits;
#[path = "../src/netlink.rs"]
mod netlink;
#[path = "../src/nft/mod.rs"]
mod nft;
#[path = "../src/program.rs"]
mod program;
#[path = "../src/settings.rs"]
mod settings;

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use failure::Failure;
use nft::{Hold, Key, Kind, Place, Standing, Wish};
use settings::Settings;
use vertice_testkit::net::{Namespace, missing};

/// How often each thing is done.
const TIMES: u32 = 300;
/// How many are held beside those that are measured.
const BESIDE: [u32; 2] = [0, 10_000];
/// Blocks a second, for so many seconds, on so many threads.
const PACED: (u32, u32, usize) = (100, 10, 2);

fn main() {
    if let Some(why) = missing(&["nft"]) {
        println!("{why}");
        return;
    }
    println!("{:<34} {:>8} {:>9} {:>9} {:>9}", "", "beside", "p50 ms", "p99 ms", "max ms");
    for beside in BESIDE {
        let host = Namespace::new("bench");
        host.run(|| measure(beside));
    }
}

fn measure(beside: u32) {
    let settings = Settings::default();
    let place = Place::of(Kind::Block, false);
    let hold = |n: u32, lasts_s| {
        let wish = Wish::Held(Hold { place, key: Key::of(address(n)), limit: None, lasts_s });
        nft::change(&settings, &[wish], 30).expect("it is held");
    };
    let first = Instant::now();
    hold(0, 600);
    print("the table and its first element", beside, vec![first.elapsed()]);
    fill(beside);
    let each = |what: &str, act: &dyn Fn(u32)| {
        let took = (1..=TIMES).map(|n| {
            let began = Instant::now();
            act(n);
            began.elapsed()
        });
        print(what, beside, took.collect());
    };
    let seen = |n: u32| matches!(nft::standing(&settings, place, &Key::of(address(n))), Ok(Standing::Held { .. }));
    each("block", &|n| hold(n, 600));
    each("observe", &|n| assert!(seen(n)));
    each("prolong", &|n| hold(n, 900));
    let gone = |n: u32| Wish::Gone(place, Key::of(address(n)));
    each("let go", &|n| nft::change(&settings, &[gone(n)], 30).expect("it is let go"));
    let (rate, seconds, threads) = PACED;
    let took = paced(rate, seconds, threads, &|n| {
        hold(1_000 + n, 600);
        assert!(seen(1_000 + n));
    });
    print(&format!("block and observe, {rate}/s, {threads} threads"), beside, took);
    let began = Instant::now();
    let all = nft::all().expect("they can be listed").len();
    print(&format!("list all {all}"), beside, vec![began.elapsed()]);
}

/// From when each was due until it was done.
fn paced(rate: u32, seconds: u32, threads: usize, act: &(dyn Fn(u32) + Sync)) -> Vec<Duration> {
    let (due, waiting) = channel();
    let waiting = Mutex::new(waiting);
    let took = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panicked").recv();
                    let Ok((n, at)) = next else { return };
                    act(n);
                    let late = Instant::now().duration_since(at);
                    took.lock().expect("nobody panicked").push(late);
                }
            });
        }
        let (_never, clock) = channel::<()>();
        let start = Instant::now();
        for n in 0..rate * seconds {
            let at = start + Duration::from_secs(1) * n / rate;
            let left = at.saturating_duration_since(Instant::now());
            assert_eq!(clock.recv_timeout(left), Err(RecvTimeoutError::Timeout));
            due.send((n, at)).expect("somebody takes it");
        }
        drop(due);
    });
    took.into_inner().expect("nobody panicked")
}

fn print(what: &str, beside: u32, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1_000.0;
    println!("{what:<34} {beside:>8} {:>9.3} {:>9.3} {:>9.3}", at(0.5), at(0.99), at(1.0));
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

/// Puts so many others into the set.
fn fill(count: u32) {
    if count == 0 {
        return;
    }
    let all: Vec<String> = (0..count).map(|n| format!("{} timeout 1h", address(1_000_000 + n))).collect();
    let script = format!("add element inet vertice block4 {{ {} }}\n", all.join(", "));
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is there");
    std::io::Write::write_all(&mut nft.stdin.take().expect("it reads"), script.as_bytes()).expect("it reads");
    assert!(nft.wait().expect("it ends").success());
}
