//! Speeds against real transfers. Bytes are counted, and not time: what is over the limit within the same time is what
//! can not have come through.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use vertice_model::{Action, Direction, Order, Outcome};
use vertice_testkit::net::{echoes, v4, v6};

use super::*;
use crate::rig::{LONG, Rig, SHORT, apply, refusal, undo};
use crate::{Settings, held};

fn shape(target_ip: IpAddr, limit_bit_s: u64, direction: Direction) -> Order {
    apply(Action::TrafficShaping(TrafficShaping { target_ip, limit_bit_s, direction }), 600)
}

/// So many datagrams of 1,000 bytes are sent at once.
const SENT: usize = 300;

/// How many of them come through, each waited for so long. The receiver's buffer holds them all.
fn datagrams(rig: &Rig, from: u8, to: IpAddr, wait: Duration) -> usize {
    let receiver = rig.star.host(usize::from(host_of(to))).run(|| UdpSocket::bind(SocketAddr::new(to, 0))).unwrap();
    set_socket_recv_buffer_size_force(&receiver, 4_000_000).unwrap();
    let at = receiver.local_addr().unwrap();
    let own = if to.is_ipv6() { v6(from) } else { v4(from) };
    let sender = rig.star.host(usize::from(from)).run(|| UdpSocket::bind(SocketAddr::new(own, 0))).unwrap();
    for _ in 0..SENT {
        sender.send_to(&[7; 1_000], at).unwrap();
    }
    receiver.set_read_timeout(Some(wait)).unwrap();
    let mut buffer = [0; 2_000];
    (0..SENT).take_while(|_| receiver.recv(&mut buffer).is_ok()).count()
}

fn host_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[2],
        IpAddr::V6(v6) => v6.segments()[1] as u8,
    }
}

#[test]
fn what_is_over_the_limit_is_dropped_in_the_direction_that_is_meant() {
    let Some(rig) = Rig::new(Settings::default(), &["nft"]) else { return };
    for (attacker, client, server) in [(v4(1), v4(2), v4(3)), (v6(1), v6(2), v6(3))] {
        // Neighbours find each other first, for what waits for that is not kept.
        for from in [rig.attacker(), rig.client()] {
            assert!(echoes(&mut from.connect(SocketAddr::new(server, 7), LONG).unwrap(), LONG));
        }
        assert_eq!(datagrams(&rig, 1, server, LONG), SENT, "all come through where nothing is limited");
        for (direction, out, back) in
            [(Direction::Outbound, true, false), (Direction::Inbound, false, true), (Direction::Both, true, true)]
        {
            // A second's worth and 64 KiB: 73 of them with their headers, and what comes in while they are sent.
            let order = shape(attacker, 80_000, direction);
            assert!(rig.done(&order).criteria["limit_applied"]);
            let wait = |limited| if limited { SHORT } else { LONG };
            let sent = datagrams(&rig, 1, server, wait(out));
            let received = datagrams(&rig, 3, attacker, wait(back));
            let limited = |count: usize| (1..=150).contains(&count);
            if direction == Direction::Both {
                assert!(limited(sent + received), "both ways share it: {sent} and {received}");
            } else {
                assert_eq!((limited(sent), limited(received)), (out, back), "{direction:?}: {sent} and {received}");
            }
            assert_eq!(datagrams(&rig, 2, server, LONG), SENT, "{client} is slowed down too");
            rig.done(&undo(&order));
        }
        assert_eq!(datagrams(&rig, 1, server, LONG), SENT);
    }
}

#[test]
fn tcp_slows_down_and_goes_on() {
    const WANTED: usize = 500_000;
    let Some(rig) = Rig::new(Settings::default(), &["nft"]) else { return };
    let order = shape(v4(1), 80_000, Direction::Outbound);
    rig.done(&order);
    // Ten kilobytes a second: what is wanted would take 40 s.
    let came = come_back(&rig, WANTED);
    assert!(came.recv_timeout(LONG).is_ok_and(|bytes| bytes > 0), "it goes on");
    let (_never, clock) = channel::<()>();
    assert!(clock.recv_timeout(SHORT).is_err());
    let all: usize = came.try_iter().sum();
    assert!(all < WANTED, "{all} B came through at once");
    rig.done(&undo(&order));
    let mut all = 0;
    let came = come_back(&rig, WANTED);
    while all < WANTED {
        all += came.recv_timeout(LONG).unwrap();
    }
}

/// The sizes of what comes back of so many bytes that the attacker sends to the echo service.
fn come_back(rig: &Rig, count: usize) -> Receiver<usize> {
    let mut reader = rig.attacker().connect(SocketAddr::new(v4(3), 7), LONG).unwrap();
    let mut writer = reader.try_clone().unwrap();
    std::thread::spawn(move || writer.write_all(&vec![7; count]));
    let (to, from) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(bytes @ 1..) = reader.read(&mut buffer) {
            if to.send(bytes).is_err() {
                return;
            }
        }
    });
    from
}

#[test]
fn of_two_limits_the_lower_holds_and_a_kill_in_between_changes_nothing() {
    let Some(rig) = Rig::new(Settings::default(), &["nft"]) else { return };
    let (low, high) = (shape(v4(1), 8_000, Direction::Both), shape(v4(1), 1_000_000, Direction::Both));
    let there = || {
        let text = rig.ruleset(&["list", "set", "inet", "vertice", "shape_both4"]);
        text.lines().find(|line| line.contains("10.77.1.2")).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(rig.carry(&high, true).outcome, Outcome::Done);
    assert!(there().contains("limit rate over 125000 bytes/second burst 64 kbytes"), "{}", there());
    assert_eq!(rig.carry(&low, true).outcome, Outcome::Done);
    assert_eq!((rig.carry(&low, true).outcome, rig.carry(&high, true).outcome), (Outcome::Already, Outcome::Already));
    assert!(there().contains("limit rate over 1000 bytes/second"), "{}", there());
    assert_eq!(rig.star.router.run(|| held(&Settings::default())).unwrap().len(), 1);
    rig.done(&undo(&low));
    assert!(there().contains("125000 bytes/second"), "{}", there());
    rig.done(&undo(&high));
    rig.done(&undo(&high));
    assert_eq!(there(), "");
    for bits in [0, 7, 200_000_000_000] {
        let receipt = rig.carry(&shape(v4(1), bits, Direction::Both), false);
        assert!(refusal(&receipt).0.starts_with(&format!("a limit of {bits} bit/s")));
    }
}
