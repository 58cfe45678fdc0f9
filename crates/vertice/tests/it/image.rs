//! What the image will have in it, laid out as its Dockerfile does, and lived in: another root, no shell, no rights.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::process::KEY;
use crate::prometheus::{deploy, left_out, ran, there};

/// Runs the program of an image, as its user.
fn inside(root: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg("--userspec=65532:65532").arg(root).arg("/usr/bin/vertice");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("VERTICE_API_KEY", KEY);
    command.env("VERTICE_DATA_DIR", "/var/lib/vertice").env("VERTICE_SOURCES_LOCAL", "false");
    command
}

fn health(root: &Path, listen: &str, arguments: &[&str]) -> Output {
    let mut command = inside(root);
    command.arg("health").args(arguments).env("VERTICE_SERVER_LISTEN", listen).output().expect("it runs")
}

/// Ended with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It ended by itself, or nobody else will end it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn vertice_lives_where_there_is_nothing_else_and_its_health_is_told_there() {
    if !rustix::process::geteuid().is_root() {
        return left_out("living in an image: it needs root, for a root of its own");
    }
    if !there(&["chroot", "ldd"], "living in an image") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Others than root must get in.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = dir.path().join("root");
    let laid = Command::new(deploy().join("docker/stage.sh")).arg(env!("CARGO_BIN_EXE_vertice")).arg(&root).output();
    let laid = laid.unwrap();
    assert!(laid.status.success(), "{}", String::from_utf8_lossy(&laid.stderr));
    // As COPY --chown does.
    let owned = ran("chown", &["65532:65532", &root.join("var/lib/vertice").display().to_string()]);
    assert!(owned.status.success());
    for file in vertice_testkit::files_below(&root, "") {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let library = name.contains("lib") && name.contains(".so");
        assert!(library || name.starts_with("etc/") || name == "usr/bin/vertice", "{name} is in the image");
    }

    let mut command = inside(&root);
    command.arg("up").env("VERTICE_SERVER_LISTEN", "127.0.0.1:0").env("VERTICE_LOG", "warn");
    let mut server = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find_map(|w| w.strip_prefix("http://"));
    let address = address.unwrap_or_else(|| panic!("it is not ready: {line}")).trim_end_matches('/').to_owned();
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    for (listen, arguments) in [(&address, &[][..]), (&everywhere, &[]), (&everywhere, &["--ready"])] {
        let healthy = health(&root, listen, arguments);
        let said = String::from_utf8_lossy(&healthy.stderr).into_owned();
        assert_eq!(healthy.status.code(), Some(0), "{listen} {arguments:?}: {said}");
    }
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    let gone = health(&root, &address, &["--timeout", "1"]);
    assert_eq!(gone.status.code(), Some(1), "a health check knows 0 and 1: {gone:?}");
}
