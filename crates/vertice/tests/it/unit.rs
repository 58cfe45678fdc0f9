//! The unit of systemd: that systemd takes it, and how exposed it leaves Vertice.

use std::process::Command;

use crate::prometheus::{deploy, read, there, written};

/// The level that the README states, in tenths, as systemd 252 counts it; and with the drop-ins for acting.
const LEVELS: [(&[&str], u64); 3] = [(&[], 14), (&["live.conf"], 19), (&["live.conf", "capture.conf"], 21)];

#[test]
fn the_unit_is_as_closed_as_the_readme_says() {
    if !there(&["systemd-analyze"], "how exposed the unit is") {
        return;
    }
    let readme = read("README.md");
    for (drop_ins, level) in LEVELS {
        let dir = tempfile::tempdir().unwrap();
        // The program lies elsewhere while it is tested.
        let text = read("systemd/vertice.service").replace("/usr/bin/vertice", env!("CARGO_BIN_EXE_vertice"));
        let unit = written(dir.path().join("vertice.service"), &text);
        let beside = dir.path().join("vertice.service.d");
        std::fs::create_dir(&beside).unwrap();
        for name in drop_ins {
            std::fs::copy(deploy().join("systemd").join(name), beside.join(name)).unwrap();
        }
        let verified = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        let ours = said.lines().filter(|l| l.contains("vertice.service")).collect::<Vec<_>>();
        assert!(ours.is_empty(), "{ours:#?}");
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", &format!("--threshold={level}")]).arg(&unit);
        let analyzed = analyze.output().unwrap();
        let said = String::from_utf8_lossy(&analyzed.stdout).into_owned();
        let overall = said.lines().find(|l| l.contains("Overall exposure level")).unwrap_or_default();
        assert!(analyzed.status.success() && !overall.is_empty(), "{drop_ins:?}: {overall}");
        let stated = format!("{}.{}", level / 10, level % 10);
        assert!(readme.contains(&stated), "the README does not state {stated}");
    }
}
