//! Any bytes as a syslog stream, whole and in two pieces: both must give the same frames.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_stream::syslog::Frames;

fuzz_target!(|bytes: &[u8]| {
    let read = |pieces: &[&[u8]]| {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        pieces.iter().for_each(|piece| frames.push(piece, &mut |frame| found.push(frame)));
        frames.finish(&mut |frame| found.push(frame));
        found
    };
    let at = bytes.first().map_or(0, |&b| usize::from(b)).min(bytes.len());
    assert_eq!(read(&[bytes]), read(&[&bytes[..at], &bytes[at..]]));
});
