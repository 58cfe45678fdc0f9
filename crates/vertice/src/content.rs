//! Where content comes from: what is built in, and the directories that the user names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use include_dir::{Dir, DirEntry, include_dir};
use vertice_engine::ContentFile;

use crate::limits;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../content");

/// What the engine calls each kind of content, and the folder it lies in.
const KINDS: [&str; 3] = ["rules", "mappings", "playbooks"];

/// The built-in content and that of the directories. Files are ordered by path, so that the same
/// directories always give the same content.
///
/// # Errors
/// When a directory or a file can not be read. What a file says is checked when it is compiled.
pub fn gather(dirs: &[PathBuf], rules: &[PathBuf]) -> Result<Vec<ContentFile>> {
    let mut files = Vec::new();
    built_in(&BUILT_IN, &mut files);
    for dir in dirs {
        if !dir.is_dir() {
            bail!("{}: there is no such content directory", dir.display());
        }
        for kind in KINDS.iter().filter(|kind| dir.join(kind).is_dir()) {
            from_directory(kind, &dir.join(kind), &mut files)?;
        }
    }
    for dir in rules {
        from_directory("rules", dir, &mut files)?;
    }
    if files.len() > limits::CONTENT_FILES_MAX {
        bail!("{} content files are more than the {} that are read", files.len(), limits::CONTENT_FILES_MAX);
    }
    Ok(files)
}

/// The files of one kind below a directory, or one file, and nothing that is built in.
///
/// # Errors
/// When a directory or a file can not be read.
pub fn of_kind(kind: &str, path: &Path) -> Result<Vec<ContentFile>> {
    let mut files = Vec::new();
    from_directory(kind, path, &mut files)?;
    Ok(files)
}

/// The built-in files below `folder`, such as `demo`, by path.
pub fn built_in_file(path: &str) -> Option<&'static str> {
    BUILT_IN.get_file(path)?.contents_utf8()
}

fn built_in(dir: &Dir<'_>, files: &mut Vec<ContentFile>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(below) if below.path().ends_with("cases") => {}
            DirEntry::Dir(below) => built_in(below, files),
            DirEntry::File(file) if is_content(file.path()) => {
                let path = file.path().to_string_lossy().into_owned();
                if KINDS.iter().any(|kind| path.starts_with(kind)) {
                    let text = file.contents_utf8().expect("a test reads every built-in file").to_owned();
                    files.push(ContentFile { path, text });
                }
            }
            DirEntry::File(_) => {}
        }
    }
}

fn from_directory(kind: &str, dir: &Path, files: &mut Vec<ContentFile>) -> Result<()> {
    if dir.is_file() {
        return from_file(kind, dir, files);
    }
    let entries = std::fs::read_dir(dir).with_context(|| format!("reading the {kind} directory {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| format!("reading the {kind} directory {}", dir.display()))?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("cases") {
                from_directory(kind, &path, files)?;
            }
        } else if is_content(&path) {
            from_file(kind, &path, files)?;
        }
    }
    Ok(())
}

fn from_file(kind: &str, path: &Path, files: &mut Vec<ContentFile>) -> Result<()> {
    let reading = || format!("reading {}", path.display());
    let bytes = std::fs::metadata(path).with_context(reading)?.len();
    if bytes > limits::CONTENT_FILE_BYTES_MAX {
        bail!(
            "{}: {bytes} bytes are more than the {} of a content file",
            path.display(),
            limits::CONTENT_FILE_BYTES_MAX
        );
    }
    let text = std::fs::read_to_string(path).with_context(reading)?;
    files.push(ContentFile { path: format!("{kind}:{}", path.display()), text });
    Ok(())
}

fn is_content(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yml" || e == "yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_in_order_and_without_its_cases() {
        let dir = tempfile::tempdir().unwrap();
        for path in
            ["rules/b.yml", "rules/a/z.yaml", "rules/cases/b.yml", "rules/README.md", "mappings/m.yml", "other/o.yml"]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap();
        }
        let built_in = gather(&[], &[]).unwrap().len();
        let files = gather(&[dir.path().to_owned()], &[]).unwrap();
        let names: Vec<_> =
            files[built_in..].iter().map(|f| f.path.replace(&format!("{}", dir.path().display()), "")).collect();
        assert_eq!(names, ["rules:/rules/a/z.yaml", "rules:/rules/b.yml", "mappings:/mappings/m.yml"]);
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_name() {
        let missing = [PathBuf::from("no/such/place")];
        assert!(gather(&missing, &[]).unwrap_err().to_string().contains("no/such/place"));
        assert!(gather(&[], &missing).unwrap_err().to_string().contains("no/such/place"));
    }

    #[test]
    fn every_built_in_file_is_text() {
        assert!(gather(&[], &[]).unwrap().iter().all(|f| !f.path.contains("cases")));
        assert_eq!(built_in_file("no/such.yml"), None);
    }
}
