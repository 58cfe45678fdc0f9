//! Where in which file: what a cursor remembers, and how the file is found again under another name.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::limits::FINGERPRINT_BYTES;

/// A place in a file that may have been renamed since.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) inode: u64,
    /// Everything before it was delivered or refused.
    pub(super) offset: u64,
    /// Whether it is within a line that is being passed over.
    pub(super) within_refused: bool,
    pub(super) fingerprint: Fingerprint,
}

/// The first bytes of a file. An inode alone is soon given to another file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Fingerprint {
    bytes: u64,
    digest: String,
}

impl Fingerprint {
    /// Of the first `bytes`, or as many as count.
    pub(super) fn of(file: &File, bytes: u64) -> io::Result<Fingerprint> {
        let bytes = bytes.min(FINGERPRINT_BYTES);
        let mut first = vec![0; bytes as usize];
        file.read_exact_at(&mut first, 0)?;
        let digest = blake3::hash(&first).to_hex().as_str()[..16].to_owned();
        Ok(Fingerprint { bytes, digest })
    }

    /// Whether the file still begins that way.
    pub(super) fn fits(&self, file: &File) -> bool {
        self.bytes == 0 || Fingerprint::of(file, self.bytes).is_ok_and(|now| now == *self)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes == FINGERPRINT_BYTES
    }
}

impl Place {
    pub(super) fn fits(&self, file: &File, about: &Metadata) -> bool {
        about.ino() == self.inode && about.len() >= self.offset && self.fingerprint.fits(file)
    }

    /// `1 inode offset r|- bytes digest`; the first is the version.
    pub(super) fn to_cursor(&self) -> String {
        let refused = if self.within_refused { 'r' } else { '-' };
        let Fingerprint { bytes, digest } = &self.fingerprint;
        format!("1 {} {} {refused} {bytes} {digest}", self.inode, self.offset)
    }

    pub(super) fn from_cursor(cursor: &str) -> Option<Place> {
        let mut words = cursor.split(' ');
        (words.next() == Some("1")).then_some(())?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (inode, offset) = (number()?, number()?);
        let within_refused = words.next()? == "r";
        let bytes = words.next()?.parse::<u64>().ok().filter(|&n| n <= FINGERPRINT_BYTES)?;
        let fingerprint = Fingerprint { bytes, digest: words.next()?.to_owned() };
        Some(Place { inode, offset, within_refused, fingerprint })
    }
}

/// A file and its earlier selves, oldest first: `auth.log.2`, `auth.log.1`, `auth.log`, or with dates.
pub(super) fn generations(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut rotated: Vec<(std::cmp::Reverse<u64>, String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        let Some(suffix) = other.strip_prefix(&name).and_then(|s| s.strip_prefix(['.', '-'])) else { continue };
        if suffix.starts_with(|c: char| c.is_ascii_digit())
            && suffix.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '_' | 'T'))
        {
            // A small number counts up as a file ages; a date does not, and sorts as text.
            let age = suffix.parse::<u64>().ok().filter(|&n| n < 10_000).unwrap_or(0);
            rotated.push((std::cmp::Reverse(age), other, entry.path()));
        }
    }
    rotated.sort();
    rotated.into_iter().map(|(_, _, path)| path).chain([path.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_written_and_others_are_none() {
        let fingerprint = Fingerprint { bytes: 3, digest: "abc".into() };
        let place = Place { inode: 7, offset: 9, within_refused: true, fingerprint };
        assert_eq!(Place::from_cursor(&place.to_cursor()), Some(place));
        for bad in ["", "1", "2 7 9 r 3 abc", "1 7 9 r x abc", "1 7 9 r 99999999 abc", "1 7 9"] {
            assert_eq!(Place::from_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn generations_are_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in
            ["a.log", "a.log.1", "a.log.10", "a.log.2", "a.log.2.gz", "a.log-20260102", "a.log-20260101", "b.log"]
        {
            File::create(directory.path().join(name)).unwrap();
        }
        let names: Vec<String> = generations(&directory.path().join("a.log"))
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.log.10", "a.log.2", "a.log.1", "a.log-20260101", "a.log-20260102", "a.log"]);
    }
}
