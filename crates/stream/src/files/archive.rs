//! gzip and zip, bounded: neither many members, nor large ones, nor a bomb hold up or fill the machine.

use std::io::{self, Read, Seek};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

use super::{Reading, kind};
use crate::limits;

impl Reading<'_> {
    /// Every member of a zip archive, in its order.
    pub(super) fn zip<R: Read + Seek>(&mut self, name: &Arc<str>, input: R, within: u32) -> ControlFlow<()> {
        let mut archive = match ZipArchive::new(input) {
            Ok(archive) => archive,
            Err(e) => return self.left_out(name, format!("no zip archive: {e}")),
        };
        if archive.len() > limits::ARCHIVE_MEMBERS_MAX {
            return self.left_out(name, format!("more than {} members", limits::ARCHIVE_MEMBERS_MAX));
        }
        for index in 0..archive.len() {
            // The name first: a member that can not be unpacked has one all the same.
            let member = match archive.by_index_raw(index) {
                Ok(entry) if entry.is_dir() => continue,
                Ok(entry) => entry.name_raw().to_vec(),
                Err(_) => index.to_string().into_bytes(),
            };
            match archive.by_index(index) {
                Ok(entry) => {
                    let packed = Arc::new(AtomicU64::new(entry.compressed_size()));
                    self.member(name, &member, &mut Unpacked { input: entry, packed, unpacked: 0 }, within + 1)?;
                }
                Err(e) => self.left_out(&kind::member(name, &member).into(), format!("can not be unpacked: {e}"))?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// Unpacked bytes, which end with an error once they are too many for the packed ones.
pub(super) struct Unpacked<R> {
    input: R,
    /// How many packed bytes there are, or were so far.
    packed: Arc<AtomicU64>,
    unpacked: u64,
}

impl<'a> Unpacked<MultiGzDecoder<Packed<&'a mut dyn Read>>> {
    /// A gzip of one or several members.
    pub(super) fn gzip(input: &'a mut dyn Read) -> Self {
        let packed = Arc::new(AtomicU64::new(0));
        let input = MultiGzDecoder::new(Packed { input, read: Arc::clone(&packed) });
        Unpacked { input, packed, unpacked: 0 }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        self.unpacked += n as u64;
        let most = self.packed.load(Ordering::Relaxed).saturating_mul(limits::EXPANSION_MAX);
        if self.unpacked > most.max(limits::EXPANSION_FREE_BYTES) {
            let times = limits::EXPANSION_MAX;
            return Err(io::Error::other(format!("an archive that grows more than {times} times is taken for a bomb")));
        }
        Ok(n)
    }
}

/// Packed bytes, counted.
pub(super) struct Packed<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
