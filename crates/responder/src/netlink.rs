//! Questions to the kernel's nf_tables, asked by netlink: which rules stand, which elements a set holds.
//!
//! Changes are made by nft, in transactions that a person can read. Looking is done here, because nft can not look at
//! one element: up to 1.0.6 (Debian 12) it reads every element of the table to show one (20 ms at 10,000), does not say
//! in JSON what it got, and its dry run waits for all processors. The kernel answers the question itself in
//! microseconds. The messages are those of `linux/netfilter/nf_tables.h` and `nfnetlink.h`; numbers within them are
//! big-endian, those of the outer frame the machine's own.

use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use crate::Failure;
use crate::limits::{NETLINK_BYTES_MAX, NETLINK_DUMPS_MAX, NETLINK_S_MAX, SET_ELEMENTS_MAX};

/// What the kernel says of an element.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    /// Its key, as the kernel keeps it: each part padded to four bytes.
    pub(crate) key: Vec<u8>,
    /// How long it stays, in milliseconds; `None`: until it is taken out.
    pub(crate) remaining_ms: Option<u64>,
    /// Its own limit.
    pub(crate) limit: Option<FoundLimit>,
}

/// A limit, as the kernel keeps it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct FoundLimit {
    /// Packets or bytes …
    pub(crate) rate: u64,
    /// … in this many seconds.
    pub(crate) unit_s: u64,
    /// What may pass at once.
    pub(crate) burst: u64,
    /// Whether bytes are counted.
    pub(crate) bytes: bool,
}

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const NEW_FLOWTABLE: u16 = 22;
const GET_FLOWTABLE: u16 = 23;
const FAMILY_ALL: u8 = 0;
const FAMILY_INET: u8 = 1;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
/// Of a message: length, type, flags, sequence, port; then family, version and resource.
const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;

/// The comments of the rules of a chain, in their order; empty where there is no such chain.
pub(crate) fn comments(table: &str, chain: &str) -> Result<Vec<String>, Failure> {
    const TABLE: u16 = 1;
    const CHAIN: u16 = 2;
    const USER_DATA: u16 = 7;
    let mut body = Vec::new();
    attribute(&mut body, TABLE, &text(table));
    attribute(&mut body, CHAIN, &text(chain));
    let mut comments = Vec::new();
    ask(GET_RULE, DUMP, &body, NEW_RULE, &mut |answer| match answer {
        Answer::Anew => comments.clear(),
        Answer::Message(payload) => comments.push(comment(find(payload, USER_DATA).unwrap_or_default())),
    })?;
    Ok(comments)
}

/// What the kernel says of one element; `None` where it, its set or its table is not there.
pub(crate) fn element(table: &str, set: &str, key: &[u8]) -> Result<Option<Found>, Failure> {
    let mut value = Vec::new();
    attribute(&mut value, DATA_VALUE, key);
    let mut of_element = Vec::new();
    nested(&mut of_element, ELEMENT_KEY, &value);
    let mut list = Vec::new();
    nested(&mut list, LIST_ELEMENT, &of_element);
    let mut body = of_set(table, set);
    nested(&mut body, SET_ELEMENTS, &list);
    Ok(ask_elements(ACK, &body)?.into_iter().find(|found| found.key == key))
}

/// All elements of a set; none where there is no such set.
pub(crate) fn elements(table: &str, set: &str) -> Result<Vec<Found>, Failure> {
    ask_elements(DUMP, &of_set(table, set))
}

/// Whether anybody has a flowtable.
pub(crate) fn has_flowtables() -> Result<bool, Failure> {
    let mut any = false;
    ask(GET_FLOWTABLE, DUMP, &[], NEW_FLOWTABLE, &mut |answer| any = matches!(answer, Answer::Message(_)) || any)?;
    Ok(any)
}

const SET_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const DATA_VALUE: u16 = 1;

fn of_set(table: &str, set: &str) -> Vec<u8> {
    let mut body = Vec::new();
    attribute(&mut body, 1, &text(table));
    attribute(&mut body, 2, &text(set));
    body
}

fn ask_elements(flags: u16, body: &[u8]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    ask(GET_ELEMENT, flags, body, NEW_ELEMENT, &mut |answer| match answer {
        Answer::Anew => found.clear(),
        Answer::Message(payload) => {
            let list = attributes(find(payload, SET_ELEMENTS).unwrap_or_default());
            let room = SET_ELEMENTS_MAX.saturating_sub(found.len());
            // One whose time is over is gone, though it may still lie there to be collected.
            let live = list.map(|(_, element)| read_element(element)).filter(|e| e.remaining_ms != Some(0));
            found.extend(live.take(room));
        }
    })?;
    Ok(found)
}

fn read_element(bytes: &[u8]) -> Found {
    const TIMEOUT: u16 = 4;
    const EXPIRATION: u16 = 5;
    const EXPRESSION: u16 = 7;
    const EXPRESSIONS: u16 = 11;
    let key = find(bytes, ELEMENT_KEY).and_then(|key| find(key, DATA_VALUE)).unwrap_or_default().to_vec();
    let timed = find(bytes, TIMEOUT).is_some();
    let remaining_ms = find(bytes, EXPIRATION).map(number).or(timed.then_some(0));
    let expression = find(bytes, EXPRESSION).or_else(|| attributes(find(bytes, EXPRESSIONS)?).next().map(|(_, e)| e));
    Found { key, remaining_ms, limit: expression.and_then(read_limit) }
}

fn read_limit(expression: &[u8]) -> Option<FoundLimit> {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    const RATE: u16 = 1;
    const UNIT: u16 = 2;
    const BURST: u16 = 3;
    const TYPE: u16 = 4;
    if find(expression, NAME)? != b"limit\0" {
        return None;
    }
    let data = find(expression, DATA)?;
    let value = |kind| find(data, kind).map_or(0, number);
    Some(FoundLimit { rate: value(RATE), unit_s: value(UNIT), burst: value(BURST), bytes: value(TYPE) == 1 })
}

/// The comment within a rule's user data: pieces of type, length and bytes, of which type 0 is the comment.
fn comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let (value, after) = rest.split_at(usize::from(*length).min(rest.len()));
        if *kind == 0 {
            return String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        }
        data = after;
    }
    String::new()
}

enum Answer<'a> {
    /// What came so far does not count: the table changed under the dump.
    Anew,
    /// The attributes of a message.
    Message(&'a [u8]),
}

/// Asks, and hands on what comes. That a thing is not there is no failure: nothing comes.
fn ask(what: u16, flags: u16, body: &[u8], answer: u16, take: &mut dyn FnMut(Answer<'_>)) -> Result<(), Failure> {
    for _ in 0..NETLINK_DUMPS_MAX {
        take(Answer::Anew);
        match ask_once(what, flags, body, answer, take) {
            Ok(true) | Err(Errno::NOENT) => return Ok(()),
            Ok(false) | Err(Errno::INTR) => {}
            Err(e @ (Errno::PERM | Errno::ACCESS)) => {
                return Err(Failure::Final(format!("asking the kernel's firewall: {e}; it needs CAP_NET_ADMIN")));
            }
            Err(e @ (Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP)) => {
                return Err(Failure::Final(format!("this kernel has no nf_tables: {e}")));
            }
            Err(e) => return Err(Failure::Retry(format!("asking the kernel's firewall: {e}"))),
        }
    }
    Err(Failure::Retry(format!("the firewall changed during each of {NETLINK_DUMPS_MAX} looks at it")))
}

/// Whether the answer was whole.
fn ask_once(what: u16, flags: u16, body: &[u8], answer: u16, take: &mut dyn FnMut(Answer<'_>)) -> Result<bool, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(NETLINK_S_MAX)))?;
    send(&socket, &message(what, flags, body), SendFlags::empty())?;
    let mut buffer = vec![0; NETLINK_BYTES_MAX];
    let mut whole = true;
    loop {
        let (_, length) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        while let Some((kind, flags, payload, after)) = next_message(rest) {
            rest = after;
            whole &= flags & DUMP_INTERRUPTED == 0;
            match kind {
                MESSAGE_DONE | MESSAGE_ERROR => {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return if code < 0 { Err(Errno::from_raw_os_error(-code)) } else { Ok(whole) };
                }
                kind if kind == NFNL_SUBSYS_NFTABLES << 8 | answer => {
                    take(Answer::Message(payload.get(FAMILY_BYTES..).unwrap_or_default()));
                }
                _other_news => {}
            }
        }
    }
}

fn message(what: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + FAMILY_BYTES + body.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend((NFNL_SUBSYS_NFTABLES << 8 | what).to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    // Whose tables are meant is told by the name of ours, but for flowtables, which are asked for of all.
    bytes.extend([if what == GET_FLOWTABLE { FAMILY_ALL } else { FAMILY_INET }, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

/// Type, flags and payload of the first message, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let flags = u16::from_ne_bytes([header[6], header[7]]);
    let payload = bytes.get(HEADER_BYTES..length)?;
    Some((kind, flags, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    to.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn nested(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const NESTED: u16 = 0x8000;
    attribute(to, kind | NESTED, value);
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// The attributes that bytes hold: type and value of each. What is cut short ends them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        const TYPE: u16 = 0x3fff;
        let header = bytes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A big-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_with_its_limit_and_what_is_left_of_its_time() {
        let (mut value, mut limit, mut expression, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        attribute(&mut value, DATA_VALUE, &[203, 0, 113, 9]);
        attribute(&mut limit, 1, &5_u64.to_be_bytes());
        attribute(&mut limit, 2, &60_u64.to_be_bytes());
        attribute(&mut limit, 3, &7_u32.to_be_bytes());
        attribute(&mut limit, 4, &0_u32.to_be_bytes());
        attribute(&mut expression, 1, b"limit\0");
        nested(&mut expression, 2, &limit);
        nested(&mut bytes, ELEMENT_KEY, &value);
        attribute(&mut bytes, 4, &60_000_u64.to_be_bytes());
        attribute(&mut bytes, 5, &1_234_u64.to_be_bytes());
        nested(&mut bytes, 7, &expression);
        let limit = FoundLimit { rate: 5, unit_s: 60, burst: 7, bytes: false };
        let wanted = Found { key: vec![203, 0, 113, 9], remaining_ms: Some(1_234), limit: Some(limit) };
        assert_eq!(read_element(&bytes), wanted);
        for end in 0..bytes.len() {
            read_element(&bytes[..end]);
        }
    }

    #[test]
    fn whatever_comes_is_read_without_a_panic() {
        let mut random = vertice_testkit::Random(7);
        let (mut body, mut data) = (Vec::new(), vec![1, 2, 0, 0]);
        data.extend([0, 5, b'a', b'b', b'c', b'd', 0]);
        assert_eq!(comment(&data), "abcd");
        attribute(&mut body, 7, &data);
        let whole = message(GET_RULE, 0, &body);
        assert!(next_message(&whole).is_some_and(|(_, _, payload, rest)| payload.len() == 20 && rest.is_empty()));
        for _ in 0..if vertice_testkit::long() { 100_000 } else { 10_000 } {
            let bytes = random.mutated(&whole);
            if let Some((_, _, payload, _)) = next_message(&bytes) {
                comment(find(payload.get(FAMILY_BYTES..).unwrap_or_default(), 7).unwrap_or_default());
                read_element(payload);
            }
        }
    }
}
