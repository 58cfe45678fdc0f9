//! Where content comes from: what is built in, and the directories that the user names.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use include_dir::{Dir, DirEntry, include_dir};
use vertice_engine::{Content, ContentFile};
use vertice_intel::{Facts, Intent};

use crate::config::ContentDirs;
use crate::limits;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../content");

/// What the engine calls each kind of content, and the folder it lies in.
const KINDS: [&str; 5] = ["rules", "mappings", "playbooks", "pipelines", "intel"];

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

/// What is known of attackers; built in, for it is told to people and decides nothing.
///
/// # Errors
/// When it is not built in as it should be.
pub fn intent() -> Result<Intent> {
    let text = |path: &str| built_in_file(path).with_context(|| format!("{path} is not built in"));
    let (attack, flows) = (text("intel/attack.txt")?, text("intel/flows.txt")?);
    let facts = Facts::parse(attack, flows, text("intel/progression.txt")?)?;
    Ok(Intent::new(facts, text("models/intent.txt")?)?)
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

/// Contents that are compiled. What the log gives says the same and is not: compiling it again would take seconds in
/// which nothing is judged.
#[derive(Debug)]
pub struct Ready(Mutex<VecDeque<Arc<Content>>>);

impl Ready {
    /// One that is compiled.
    pub fn with(content: Arc<Content>) -> Ready {
        Ready(Mutex::new(VecDeque::from([content])))
    }

    /// Keeps a further one; of many the oldest is forgotten.
    pub fn add(&self, content: Arc<Content>) {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= limits::CONTENTS_READY_MAX {
            ready.pop_front();
        }
        ready.push_back(content);
    }

    /// The one that says the same and is compiled, or else the one that was found.
    pub fn instead_of(&self, found: Arc<Content>) -> Arc<Content> {
        let ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.iter().find(|content| content.digest() == found.digest()).map_or(found, Arc::clone)
    }
}

/// The directories of which no file was read, each with what was looked for.
pub fn nothing_in(dirs: &[PathBuf], rules: &[PathBuf], files: &[ContentFile]) -> Vec<String> {
    let read = |dir: &Path| {
        let path =
            |file: &ContentFile| file.path.split_once(':').is_some_and(|(_, path)| Path::new(path).starts_with(dir));
        files.iter().any(path)
    };
    let of = |dirs: &[PathBuf], wanted: &str| -> Vec<String> {
        let empty = dirs.iter().filter(|dir| !read(dir));
        empty.map(|dir| format!("{}: nothing is read there: {wanted}", dir.display())).collect()
    };
    let mut told = of(dirs, "it has no .yml file in rules/, mappings/ or playbooks/, and no intel/commands.txt");
    told.extend(of(rules, "it has no rule, a file that ends with .yml or .yaml"));
    told
}

/// How the content files look from outside: names, lengths and times of change. Equal looks mean equal content, as
/// far as a look can tell.
pub fn look(dirs: &ContentDirs) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for dir in &dirs.dirs {
        KINDS.iter().for_each(|kind| look_below(kind, &dir.join(kind), &mut hasher));
    }
    dirs.rules.iter().for_each(|dir| look_below("rules", dir, &mut hasher));
    *hasher.finalize().as_bytes()
}

fn look_below(kind: &str, path: &Path, hasher: &mut blake3::Hasher) {
    let mut note = |text: String| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return note(format!("{} {error}", path.display())),
    };
    if !metadata.is_dir() {
        return note(format!("{} {} {:?}", path.display(), metadata.len(), metadata.modified().ok()));
    }
    match std::fs::read_dir(path) {
        Err(error) => note(format!("{} {error}", path.display())),
        Ok(entries) => {
            let mut below: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            below.sort();
            below.retain(|path| if path.is_dir() { !path.ends_with("cases") } else { is_content(kind, path) });
            below.iter().for_each(|path| look_below(kind, path, hasher));
        }
    }
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
            DirEntry::File(file) => {
                let path = file.path().to_string_lossy().into_owned();
                if KINDS.iter().any(|kind| path.starts_with(kind) && is_content(kind, file.path())) {
                    let text = file.contents_utf8().expect("a test reads every built-in file").to_owned();
                    files.push(ContentFile { path, text });
                }
            }
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
        } else if is_content(kind, &path) {
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

/// Rules and the like are YAML; of `intel` the tables of commands are content, and no other facts.
fn is_content(kind: &str, path: &Path) -> bool {
    match kind {
        "intel" => path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("commands.txt")),
        _ => path.extension().is_some_and(|e| e == "yml" || e == "yaml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_in_order_and_without_its_cases() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "rules/b.yml",
            "rules/a/z.yaml",
            "rules/cases/b.yml",
            "rules/README.md",
            "mappings/m.yml",
            "other/o.yml",
            "intel/attack.txt",
            "intel/our_commands.txt",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap();
        }
        let built_in = gather(&[], &[]).unwrap().len();
        let files = gather(&[dir.path().to_owned()], &[]).unwrap();
        let names: Vec<_> =
            files[built_in..].iter().map(|f| f.path.replace(&format!("{}", dir.path().display()), "")).collect();
        assert_eq!(
            names,
            [
                "rules:/rules/a/z.yaml",
                "rules:/rules/b.yml",
                "mappings:/mappings/m.yml",
                "intel:/intel/our_commands.txt"
            ]
        );
    }

    #[test]
    fn a_look_changes_with_the_files_and_an_empty_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = |rules: &Path| ContentDirs { dirs: Vec::new(), rules: vec![rules.to_owned()] };
        let first = look(&dirs(dir.path()));
        assert_eq!(first, look(&dirs(dir.path())));
        assert_ne!(first, look(&dirs(&dir.path().join("none"))));
        let told = nothing_in(&[], &[dir.path().to_owned()], &gather(&[], &[dir.path().to_owned()]).unwrap());
        assert!(told.len() == 1 && told[0].contains("it has no rule"), "{told:?}");
        std::fs::File::create(dir.path().join("README.md")).unwrap();
        assert_eq!(first, look(&dirs(dir.path())), "what is no content does not count");
        let mut file = std::fs::File::create(dir.path().join("a.yml")).unwrap();
        let second = look(&dirs(dir.path()));
        assert_ne!(first, second);
        std::io::Write::write_all(&mut file, b"x").unwrap();
        assert_ne!(second, look(&dirs(dir.path())));
        let rules = [dir.path().to_owned()];
        assert_eq!(nothing_in(&[], &rules, &gather(&[], &rules).unwrap()), [""; 0]);
        assert!(nothing_in(&rules, &[], &gather(&rules, &[]).unwrap())[0].contains("mappings/ or playbooks/"));
    }

    #[test]
    fn what_is_compiled_is_taken_instead_of_what_says_the_same() {
        let content = |text: &str| {
            Arc::new(Content::compile(vec![ContentFile { path: "rules/a.yml".into(), text: text.into() }]))
        };
        let (a, b, c) = (content("a"), content("b"), content("c"));
        let ready = Ready::with(Arc::clone(&a));
        ready.add(Arc::clone(&b));
        assert!(Arc::ptr_eq(&ready.instead_of(content("a")), &a) && Arc::ptr_eq(&ready.instead_of(content("b")), &b));
        assert!(Arc::ptr_eq(&ready.instead_of(Arc::clone(&c)), &c));
        ready.add(Arc::clone(&c));
        assert!(!Arc::ptr_eq(&ready.instead_of(content("a")), &a), "only so many are kept");
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
        assert!(intent().is_ok());
    }
}
