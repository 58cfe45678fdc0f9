//! Files, archives and directories.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use vertice_stream::{Item, Progress, find};

use crate::support::{gzip, read, read_bytes, shown, tar, write, zip};

const PCAP: &[u8] = b"\xD4\xC3\xB2\xA1\x02\0\x04\0";

fn lines(bytes: &[u8]) -> Vec<String> {
    read_bytes(bytes).iter().map(shown).collect()
}

#[test]
fn every_kind_of_file_is_known_by_its_content() {
    let directory = tempfile::tempdir().unwrap();
    let log = b"{\"a\":1}\nplain\n";
    let evtx_named = directory.path().join("x.evtx");
    write(&evtx_named, log);
    let name = evtx_named.display().to_string();
    assert_eq!(
        read(&evtx_named).iter().map(shown).collect::<Vec<_>>(),
        [format!("{name}: {{\"a\":1}}"), format!("{name}: plain")]
    );
    assert_eq!(lines(&gzip(log)), ["f: {\"a\":1}", "f: plain"]);
    assert_eq!(lines(&zip(&[("d/", b""), ("d/m", log)])), ["f!d/m: {\"a\":1}", "f!d/m: plain"]);
    assert_eq!(lines(&tar(&[("d/", b""), ("d/m", log), ("n", b"x")])), ["f!d/m: {\"a\":1}", "f!d/m: plain", "f!n: x"]);
    assert_eq!(lines(&gzip(&tar(&[("m", log), ("n", &gzip(b"y"))]))), ["f!m: {\"a\":1}", "f!m: plain", "f!n: y"]);
    assert_eq!(lines(&zip(&[("i.zip", &zip(&[("m", b"z")]))])), ["f!i.zip!m: z"]);
}

#[test]
fn what_is_no_log_is_named_and_the_rest_read() {
    let archive = zip(&[("a.cap", PCAP), ("__MACOSX/._b", b"\0\x05\x16\x07"), ("LICENSE", b"MIT"), ("c.log", b"x")]);
    assert_eq!(
        lines(&archive),
        [
            "f!a.cap -- not understood: a packet capture (pcap)",
            "f!__MACOSX/._b -- hidden",
            "f!LICENSE -- no log by its name; name the file itself to read it",
            "f!c.log: x",
        ]
    );
    assert_eq!(lines(b"\x7FELF\x02\x01\x01\0"), ["f -- not understood: a program (ELF)"]);
    assert_eq!(lines(&[1, 2, 3, 0, 0, 0]), ["f -- not understood: binary data"]);
    assert!(lines(b"PK\x03\x04 and no more")[0].starts_with("f -- no zip archive: "));
    assert!(lines(b"ElfFile\0 and no more")[0].starts_with("f -- no EVTX file: "));
    let missing = read(std::path::Path::new("/nowhere/at/all"));
    assert!(shown(&missing[0]).starts_with("/nowhere/at/all -- No such file"));
    assert_eq!(shown(&read(std::path::Path::new("/"))[0]), "/ -- a directory");
}

#[test]
fn broken_archives_give_what_they_still_hold() {
    let packed = gzip("line\n".repeat(10_000).as_bytes());
    let cut = lines(&packed[..packed.len() / 2]);
    assert!(cut.len() > 1, "{cut:?}");
    assert!(cut[0] == "f: line" && cut.last().unwrap().contains("the input breaks off here"), "{:?}", cut.last());
    let tarred = tar(&[("m", b"one"), ("n", &[b'x'; 2000])]);
    let cut = lines(&tarred[..1500]);
    assert_eq!(cut[0], "f!m: one");
    let mut broken = tar(&[("m", b"one"), ("n", b"two")]);
    broken[1024..1536].fill(b'?');
    assert_eq!(lines(&broken), ["f!m: one", "f -- the tar archive breaks off here: a header was expected"]);
    let mut sizeless = tar(&[("m", b"one")]);
    sizeless[124..135].fill(b'9');
    assert_eq!(lines(&sizeless), ["f -- the tar archive breaks off here: a member has no size"]);
}

#[test]
fn neither_depth_nor_bombs_pass() {
    let mut nested = b"deep".to_vec();
    for _ in 0..3 {
        nested = gzip(&nested);
    }
    assert_eq!(lines(&nested), ["f: deep"]);
    assert_eq!(lines(&gzip(&nested)), ["f -- more than 3 archives within each other"]);
    // 80 MiB of newlines in 80 KiB.
    let found = lines(&gzip(&vec![b'\n'; 1 << 20]).repeat(80));
    assert!(found.len() == 1 && found[0].contains("taken for a bomb"), "{found:?}");
}

#[test]
fn a_directory_is_walked_in_order_and_its_prose_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir_all(root.join("b")).unwrap();
    for (name, bytes) in
        [("b/2.log", "2"), ("b/1", "1"), ("a.json", "{}"), ("info.yml", "x: 1"), ("README.md", "#"), (".swp", "x")]
    {
        write(&root.join(name), bytes.as_bytes());
    }
    let found = find(&[root.to_owned(), root.join("info.yml"), root.join("absent")]);
    let short = |p: &std::path::Path| p.strip_prefix(root).unwrap().display().to_string();
    assert_eq!(found.files.iter().map(|p| short(p)).collect::<Vec<_>>(), ["a.json", "b/1", "b/2.log", "info.yml"]);
    assert_eq!(found.bytes, 8);
    let left: Vec<String> = found.left_out.iter().map(|l| short(std::path::Path::new(&*l.file))).collect();
    assert_eq!(left, [".swp", "README.md", "info.yml", "absent"]);
}

#[test]
fn progress_reaches_its_total_even_when_reading_stops_early() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    write(&path, "line\n".repeat(100_000).as_bytes());
    let progress = Progress::new(500_000);
    let mut seen = 0;
    let flow = vertice_stream::read(&path, &progress, &mut |item| {
        assert!(matches!(item, Item::Event(..)));
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(flow.is_break());
    assert_eq!((seen, progress.consumed.load(Ordering::Relaxed)), (3, 500_000));
}
