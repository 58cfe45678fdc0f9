//! Recordings by a real tcpdump of real packets, read back by tcpdump.

use std::net::SocketAddr;
use std::process::Command;

use vertice_model::{Action, Order, Outcome};
use vertice_testkit::net::{echoes, v4, v6};

use super::*;
use crate::Settings;
use crate::rig::{LONG, NOW, Rig, apply, refusal, undo};

fn capture(target_ip: IpAddr, lasts_s: u64) -> Order {
    apply(Action::TrafficCapture(TrafficCapture { target_ip, bytes_max: Some(2_000_000) }), lasts_s)
}

fn rig(settings: Settings) -> Option<Rig> {
    Rig::new(settings, &["tcpdump", "timeout"])
}

/// The files of a recording, from a receipt's note.
fn files(rig: &Rig, address: IpAddr) -> Vec<PathBuf> {
    let start = format!("{}_", address.to_string().replace(':', "-"));
    let folders = fs::read_dir(rig.dir.path().join("captures")).unwrap().flatten();
    let folders = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&start));
    let all = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.path()));
    let mut all: Vec<_> = all.filter(|path| path.to_string_lossy().contains(RING)).collect();
    all.sort();
    all
}

/// What tcpdump reads back of it.
fn packets(file: &Path) -> Vec<String> {
    let output = Command::new("tcpdump").args(["-n", "-r"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn running(rig: &Rig) -> usize {
    let folders = fs::read_dir(rig.dir.path().join("captures")).into_iter().flatten().flatten();
    folders.filter(|folder| !processes(&folder.path().join(RING)).unwrap().is_empty()).count()
}

#[test]
fn an_addresss_packets_and_no_others_are_recorded_until_the_undo() {
    let Some(rig) = rig(Settings::default()) else { return };
    for (attacker, client, server) in [(v4(1), v4(2), v4(3)), (v6(1), v6(2), v6(3))] {
        let order = capture(attacker, 600);
        assert!(rig.done(&order).criteria["capture_running"]);
        let echo = SocketAddr::new(server, 7);
        for from in [rig.client(), rig.attacker()] {
            assert!(echoes(&mut from.connect(echo, LONG).unwrap(), LONG));
        }
        let files = files(&rig, attacker);
        let end = |packets: &[String]| packets.iter().filter(|packet| packet.contains("Flags [F.]")).count() >= 2;
        // Each look is a start of tcpdump, and takes longer than it takes a packet to get there.
        assert!((0..500).any(|_| end(&packets(&files[0]))), "{:?}", packets(&files[0]));
        let receipt = rig.done(&undo(&order));
        assert!(!receipt.criteria["capture_running"]);
        assert_eq!(running(&rig), 0);
        assert_eq!(files.len(), 1);
        let packets = packets(&files[0]);
        assert!(packets.iter().any(|packet| packet.contains("Flags [S]")), "what was recorded is kept: {packets:?}");
        assert!(!packets.iter().any(|packet| packet.contains(&client.to_string())), "{packets:?}");
        assert_eq!(rig.carry(&undo(&order), true).outcome, Outcome::Done);
    }
}

#[test]
fn the_ring_is_bounded() {
    let Some(rig) = rig(Settings::default()) else { return };
    let order = capture(v4(1), 600);
    rig.done(&order);
    let echo = SocketAddr::new(v4(3), 7);
    let mut connection = rig.attacker().connect(echo, LONG).unwrap();
    let (mut first, mut again) = (0, 0);
    for _ in 0..1_000 {
        let (mut back, sent) = (vec![0; 65_536], vec![7; 65_536]);
        std::io::Write::write_all(&mut connection, &sent).unwrap();
        std::io::Read::read_exact(&mut connection, &mut back).unwrap();
        let sizes: Vec<u64> = files(&rig, v4(1)).iter().map(|file| file.metadata().unwrap().len()).collect();
        // Each file ends with the packet that passes its size, which is of 64 KiB at most.
        assert!(sizes.len() <= 2 && sizes.iter().sum::<u64>() < 2_300_000, "{sizes:?}");
        again += u32::from(sizes[0] < first);
        first = sizes[0];
        if again == 2 {
            break;
        }
    }
    assert_eq!(again, 2, "the oldest packets make room");
    rig.done(&undo(&order));
}

#[test]
fn it_ends_by_itself_and_is_prolonged_without_a_second_one() {
    let Some(mut rig) = rig(Settings::default()) else { return };
    // Long enough that it has not ended before it is seen to run.
    let short = capture(v4(1), 5);
    rig.done(&short);
    let ring = files(&rig, v4(1))[0].parent().unwrap().join(RING);
    // Whoever ends it is not us.
    for process in processes(&ring).unwrap() {
        assert!(ends_within(&process, LONG).unwrap());
    }
    assert_eq!(running(&rig), 0);
    let order = capture(v4(2), 300);
    rig.done(&order);
    // Another process with the same memory finds it again.
    rig.restart(Settings::default());
    assert_eq!(rig.carry(&order, true).outcome, Outcome::Already);
    assert_eq!(rig.carry(&order, false).outcome, Outcome::Done);
    assert_eq!((running(&rig), files(&rig, v4(2)).len()), (1, 1));
    let longer = Order { until: Some(NOW.plus_seconds(900)), ..order.clone() };
    assert_eq!(rig.carry(&longer, true).outcome, Outcome::Done);
    assert_eq!((running(&rig), files(&rig, v4(2)).len()), (1, 2));
    rig.done(&undo(&order));
    assert_eq!(running(&rig), 0);
}

#[test]
fn a_kill_between_any_two_instructions_leaves_one_recording_or_none() {
    let Some(rig) = rig(Settings::default()) else { return };
    let order = capture(v4(1), 300);
    let name = match &order.action {
        Action::TrafficCapture(action) => name_of("capture", action),
        _ => unreachable!(),
    };
    let keep = crate::Keep::open(rig.dir.path()).unwrap();
    // Killed after it was remembered, before it began.
    let folder = rig.dir.path().join("captures/never");
    fs::create_dir_all(&folder).unwrap();
    keep.put(&name, &vec![Recording { ring: folder.join(RING), until: order.until.unwrap() }]).unwrap();
    assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
    assert_eq!(running(&rig), 1);
    // Killed while one took over from another: both run, and both are remembered.
    let first: Recordings = keep.get(&name).unwrap().unwrap();
    keep.forget(&name).unwrap();
    rig.done(&order);
    let second: Recordings = keep.get(&name).unwrap().unwrap();
    keep.put(&name, &[first, second].concat()).unwrap();
    assert_eq!(running(&rig), 2);
    assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
    assert_eq!(running(&rig), 1);
    // Somebody ends it: it is seen, and begun again.
    for process in processes(&files(&rig, v4(1)).last().unwrap().with_file_name(RING)).unwrap() {
        pidfd_send_signal(&process, Signal::KILL).unwrap();
        ends_within(&process, LONG).unwrap();
    }
    assert!(!rig.observe(&order).criteria["capture_running"]);
    assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
    rig.done(&undo(&order));
    assert_eq!(running(&rig), 0);
}

#[test]
fn what_can_not_be_recorded_is_told_and_leaves_nothing_running() {
    let Some(mut rig) = rig(Settings::default()) else { return };
    let mut with = |change: &dyn Fn(&mut crate::settings::Capture), order: &Order| {
        let mut settings = Settings::default();
        change(&mut settings.traffic_capture);
        rig.restart(settings);
        let receipt = rig.carry(order, false);
        assert_eq!(running(&rig), 0);
        let (reason, retry) = refusal(&receipt);
        (reason.to_owned(), retry)
    };
    let order = capture(v4(1), 60);
    let (missing, retry) = with(&|c| c.tcpdump = "/no/such/tcpdump".into(), &order);
    assert!(missing.contains("No such file or directory") && !retry, "{missing}");
    let (interface, retry) = with(&|c| c.interface = "nowhere0".into(), &order);
    assert!(interface.contains("nowhere0") && retry, "{interface}");
    let (full, retry) = with(&|c| c.total_bytes_max = 1_999_999, &order);
    assert!(full.contains("remove some") && !retry, "{full}");
    let (small, retry) = with(&|c| c.bytes_max = 1_000_000, &order);
    assert!(small.contains("2000000 is the least") && !retry, "{small}");
}
