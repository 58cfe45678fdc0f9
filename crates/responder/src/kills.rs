//! Real kills of a real process while it carries orders of the network's verbs out: whenever it dies, doing the same
//! again leads to one element or one recording, and undoing it to none.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vertice_engine::decide::Policy;
use vertice_model::{
    Action, Direction, FirewallVerdict, HoneypotDeployment, Order, Outcome, TrafficCapture, TrafficShaping,
    ZoneIsolation,
};
use vertice_testkit::net::{v4, v6};
use vertice_testkit::{Random, long};

use crate::capture::processes;
use crate::program::ends_within;
use crate::rig::{LONG, NOW, Rig, apply, block, rule, undo};
use crate::{Begun, Responder, Settings, held};

const CHILD: &str = "VERTICE_TEST_CHILD";

/// What the killed process does: it is this test, started again with an order. Without one there is nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (settings, dir, order): (Settings, PathBuf, Order) = serde_json::from_str(&given).unwrap();
    let receipt = Responder::open(settings, &dir).unwrap().carry(&order, Begun::No, &Policy::default(), NOW);
    assert_eq!(receipt.outcome, Outcome::Done);
}

#[test]
fn whenever_the_process_is_killed_the_world_is_before_or_after_and_doing_it_again_is_well() {
    let Some(mut rig) = Rig::new(Settings::default(), &["nft", "tcpdump", "timeout"]) else { return };
    // A path of its own tells our nft from that of other tests.
    let path = std::env::var("PATH").unwrap();
    let real = path.split(':').map(|folder| PathBuf::from(folder).join("nft")).find(|nft| nft.is_file()).unwrap();
    let nft = rig.dir.path().join("nft");
    symlink(real, &nft).unwrap();
    let mut settings = Settings::default();
    settings.firewall_rule.nft.clone_from(&nft);
    settings.zone_isolation.hosts = [("server".to_owned(), vec![v4(3), v6(3)])].into();
    settings.zone_isolation.management = vec!["10.77.2.0/24".parse().unwrap(), "fd77:2::/64".parse().unwrap()];
    settings.honeypot_deployment.ssh = vec!["10.77.2.2:2222".parse().unwrap()];
    rig.restart(settings.clone());
    let mut random = Random(4);
    let mut late = 0;
    for round in 0..if long() { 30 } else { 4 } {
        for (order, count) in orders() {
            for (order, count) in [(order.clone(), count), (undo(&order), 0)] {
                late += u32::from(killed(&rig, &settings, &order, Duration::from_millis(random.below(60) as u64)));
                // What it had started ends by itself, and may come about yet.
                for process in processes(&nft).unwrap() {
                    assert!(ends_within(&process, LONG).unwrap());
                }
                let receipt = rig.carry(&order, true);
                let well = matches!(receipt.outcome, Outcome::Done | Outcome::Already);
                assert!(well, "round {round}, {order:?}: {receipt:?}");
                assert_eq!(there(&rig), count, "round {round}, {order:?}");
            }
        }
    }
    println!("{late} were done before they could be killed");
}

/// Each verb, and how much it leaves in the world.
fn orders() -> [(Order, usize); 6] {
    let rate = FirewallVerdict::RateLimit { count: 5, per_s: 60 };
    let isolation = ZoneIsolation { target_host: Some("server".to_owned()), target_ip: None, zone: None };
    let shaping = TrafficShaping { target_ip: v6(1), limit_bit_s: 8_000, direction: Direction::Both };
    let decoy = HoneypotDeployment { honeypot_type: "ssh".to_owned(), target_ip: v4(1) };
    let capture = TrafficCapture { target_ip: v4(1), bytes_max: Some(2_000_000) };
    [
        (block(v4(1)), 1),
        (apply(Action::FirewallRule(rule(rate, v6(1))), 600), 1),
        (apply(Action::ZoneIsolation(isolation), 600), 2),
        (apply(Action::TrafficShaping(shaping), 600), 1),
        (apply(Action::HoneypotDeployment(decoy), 600), 1),
        (apply(Action::TrafficCapture(capture), 600), 1),
    ]
}

/// Elements in the kernel, and recordings that run.
fn there(rig: &Rig) -> usize {
    let folders = std::fs::read_dir(rig.dir.path().join("captures")).into_iter().flatten().flatten();
    let running = folders.filter(|folder| !processes(&folder.path().join("traffic.pcap")).unwrap().is_empty());
    rig.star.router.run(|| held(&Settings::default())).unwrap().len() + running.count()
}

/// Has another process carry an order out, and kills it after a while. Says whether it was done before.
fn killed(rig: &Rig, settings: &Settings, order: &Order, after: Duration) -> bool {
    let given = serde_json::to_string(&(settings, rig.dir.path(), order)).unwrap();
    let mut child = Command::new("ip");
    child.args(["netns", "exec", rig.star.router.name()]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "kills::the_process_that_is_killed"]).env(CHILD, given).stdout(Stdio::null());
    let mut child = child.spawn().unwrap();
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let done = ends_within(&process, after).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    done
}
