//! Recordings: a directory with one answer for each question, so that tests and evaluations run again without a
//! provider, and give the same.
//!
//! A file is named after the digest of the question, as the provider got it. What it holds is the answer: the question
//! is not in it, for it may tell of people.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Why};
use crate::limits;
use crate::request::{Digest, Origin, Request, Response};
use crate::{Model, Named};

/// Asks nobody: answers come from a directory. There is no client in it that could open a connection.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) dir: PathBuf,
    pub(crate) named: Named,
}

impl Model for Replay {
    fn complete(&self, request: &Request) -> Result<Response, Error> {
        let path = path(&self.dir, self.named.digest(request));
        let Ok(file) = File::open(path) else { return Err(Error::new(Why::NotRecorded)) };
        let mut bytes = Vec::new();
        let read = file.take(limits::KEPT_BYTES_MAX).read_to_end(&mut bytes);
        let response: Option<Response> = read.ok().and_then(|_| serde_json::from_slice(&bytes).ok());
        let response = response.ok_or(Error::new(Why::Malformed))?;
        Ok(Response { origin: Origin::Recording, cost_microusd: Some(0), ..response })
    }
}

/// Asks another, and writes down what it answers.
#[derive(Debug)]
pub(crate) struct Record<M> {
    pub(crate) inner: M,
    pub(crate) dir: PathBuf,
    pub(crate) named: Named,
}

impl<M: Model> Model for Record<M> {
    fn complete(&self, request: &Request) -> Result<Response, Error> {
        let response = self.inner.complete(request)?;
        if let Err(error) = write(&self.dir, self.named.digest(request), &response) {
            // The answer is there all the same.
            tracing::warn!(dir = %self.dir.display(), %error, "an answer of a model was not recorded");
        }
        Ok(response)
    }
}

fn path(dir: &Path, digest: Digest) -> PathBuf {
    dir.join(format!("{}.json", digest.hex()))
}

/// Whole or not at all. Only the owner may read it.
fn write(dir: &Path, digest: Digest, response: &Response) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut file, response)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path(dir, digest))?;
    Ok(())
}
