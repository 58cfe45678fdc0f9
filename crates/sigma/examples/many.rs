//! Measures what a hundred thousand generated rules take to load: `many [RULES]`.

use std::fmt::Write as _;
use std::time::Instant;

use vertice_sigma::{RuleSet, limits};

/// Rules of one file: as many documents as one may have.
const OF_A_FILE: usize = limits::DOCUMENTS_MAX;

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules: usize = std::env::args().nth(1).map_or(Ok(limits::RULES_MAX), |text| text.parse())?;
    let mut files = Vec::new();
    for file in 0..rules.div_ceil(OF_A_FILE) {
        let mut text = String::new();
        for rule in file * OF_A_FILE..rules.min((file + 1) * OF_A_FILE) {
            write(rule, &mut text)?;
        }
        files.push((format!("{file}.yml"), text));
    }
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let before = resident();
    let start = Instant::now();
    let (set, refused) = RuleSet::compile(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    println!(
        "{} rules of {:.0} MB, {} refused: {:.1} s, {:.0} MB resident, at most {:.0} MB",
        set.len(),
        bytes as f64 / 1e6,
        refused.len(),
        start.elapsed().as_secs_f64(),
        (status("VmRSS:") - before) / 1e3,
        status("VmHWM:") / 1e3,
    );
    Ok(())
}

/// A rule like those that people write: two to four fields, one to four values, each a value of its own.
fn write(i: usize, text: &mut String) -> std::fmt::Result {
    let category = ["process_creation", "file_event", "registry_set", "network_connection"][i % 4];
    writeln!(
        text,
        "title: Generated {i}\nid: {i:08}-0000-4000-8000-000000000000\nlevel: medium\ntags: [attack.t1059]"
    )?;
    writeln!(text, "logsource: {{category: {category}, product: windows}}\ndetection:\n  selection:")?;
    writeln!(text, "    Image|endswith: ['\\tool{i}.exe', '\\helper{i}.exe']")?;
    writeln!(text, "    CommandLine|contains|all: [' -x{i} ', 'value{i}']")?;
    match i % 5 {
        0 => writeln!(text, "    User|re: '^svc_{i}_[a-z]+$'")?,
        1 => writeln!(text, "    DestinationIp|cidr: 10.{}.{}.0/24", i / 250 % 250, i % 250)?,
        2 => writeln!(text, "    CommandLine|windash|contains: ' -opt{i}'")?,
        _ => {}
    }
    writeln!(
        text,
        "  filter:\n    ParentImage: 'C:\\Program Files\\Vendor{i}\\*'\n  condition: selection and not filter\n---"
    )
}

fn resident() -> f64 {
    status("VmRSS:")
}

/// What the system says of this process, in kB; 0 where it says nothing.
fn status(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
