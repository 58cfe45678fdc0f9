//! Any lines as the records of a partition of hits, which are read and put in their order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_engine::route::{Cursors, HeldBounds, Merge, Message};

/// As many as a topic of events has here; who reads takes no others to the merge.
const PARTITIONS: i32 = 3;

const BOUNDS: HeldBounds = HeldBounds { records: 8, bytes: 4_096 };

fuzz_target!(|bytes: &[u8]| {
    let mut merge = Merge::bounded(PARTITIONS, &Cursors::default(), BOUNDS);
    let mut taken = 0;
    for (at, record) in (0..).zip(bytes.split(|byte| *byte == b'\n')) {
        let Ok(message) = Message::read(record) else { continue };
        assert_eq!(Message::read(&message.write()).as_ref(), Ok(&message));
        match message {
            Message::Mark(mark) if mark.partition < PARTITIONS => merge.mark(at, mark),
            Message::Routed(routed) if routed.from.partition < PARTITIONS => {
                taken += 1;
                merge.push(at, *routed);
            }
            Message::Mark(_) | Message::Routed(_) => continue,
        }
        assert!(merge.held() <= BOUNDS.records);
        let _out = merge.let_out(4, 1_024);
        assert!(merge.cursors().hits <= at + 1);
        // Whoever reads goes back, and the next record is at another place: this one stops here.
        if merge.reread().is_some() {
            break;
        }
    }
    let counts = merge.counts();
    assert!(counts.let_out + counts.repeated + merge.held() as u64 <= taken);
});
