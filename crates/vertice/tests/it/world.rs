//! Surroundings that a test sets: the wall clock, and a disk that fails. See `world.c`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a process under test believes of the world; it changes while the process runs.
pub struct World {
    state: File,
    path: PathBuf,
    library: PathBuf,
}

impl World {
    /// A world as it really is. Its files lie in `dir`.
    pub fn new(dir: &Path) -> World {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/world.c");
        let library = dir.join("world.so");
        // The same compiler that built SQLite.
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut compile = Command::new(compiler);
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        let built = compile.status().expect("a C compiler is there");
        assert!(built.success(), "{source} does not compile");
        let path = dir.join("world");
        let state = File::options().create_new(true).write(true).read(true).open(&path).expect("a file");
        state.set_len(16).expect("sixteen bytes");
        World { state, path, library }
    }

    /// Puts a process into it.
    pub fn surround<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("WORLD", &self.path)
    }

    /// The wall clock is off by so much from now on.
    pub fn set_clock(&self, off_s: i64) {
        self.state.write_all_at(&off_s.to_ne_bytes(), 0).expect("it is open");
    }

    /// So many syncs fail from now on, whatever files they are of.
    pub fn fail_syncs(&self, count: i64) {
        self.state.write_all_at(&count.to_ne_bytes(), 8).expect("it is open");
    }

    /// How many syncs have yet to fail.
    pub fn syncs_to_fail(&self) -> i64 {
        let mut bytes = [0; 8];
        self.state.read_exact_at(&mut bytes, 8).expect("it is open");
        i64::from_ne_bytes(bytes)
    }
}
