//! The events that are matched: recordings of real Windows machines, told again with other names and days.

use std::fmt::Write as _;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::Anything;

/// The files of a measurement.
pub(crate) struct Files {
    /// The recordings as they are.
    pub(crate) base: PathBuf,
    /// The recordings, repeated with changed hosts, users and dates.
    pub(crate) varied: PathBuf,
    /// As many events, of which every text is unique.
    pub(crate) unique: PathBuf,
    pub(crate) empty: PathBuf,
    /// How long the varied file is.
    pub(crate) bytes: u64,
}

/// Makes files of so many events.
pub(crate) fn make(recordings: &Path, count: usize, folder: &Path) -> Anything<Files> {
    let base = read(recordings)?;
    if base.is_empty() {
        return Err(format!("{} has no events", recordings.display()).into());
    }
    let at = |name: &str| folder.join(name);
    let files = Files { base: at("base"), varied: at("varied"), unique: at("unique"), empty: at("empty"), bytes: 0 };
    std::fs::write(&files.empty, "")?;
    let writer = |path: &Path| std::fs::File::create(path).map(BufWriter::new);
    let (mut plain, mut varied, mut unique) = (writer(&files.base)?, writer(&files.varied)?, writer(&files.unique)?);
    for event in &base {
        writeln!(plain, "{}", serde_json::to_string(event)?)?;
    }
    for i in 0..count {
        let (event, round) = (&base[i % base.len()], i / base.len());
        writeln!(varied, "{}", vary(event, round)?)?;
        let mut event = event.clone();
        let mut number = 0;
        event
            .iter_mut()
            .filter(|(name, _)| !name.starts_with("sigma_"))
            .for_each(|(_, value)| mark(value, i, &mut number));
        writeln!(unique, "{}", serde_json::to_string(&event)?)?;
    }
    plain.flush()?;
    varied.flush()?;
    unique.flush()?;
    Ok(Files { bytes: std::fs::metadata(&files.varied)?.len(), ..files })
}

/// All recorded events, each with its log source in fields of its own.
fn read(recordings: &Path) -> Anything<Vec<Map<String, Json>>> {
    let mut paths = Vec::new();
    below(recordings, ".zip", &mut paths)?;
    paths.sort();
    let mut events = Vec::new();
    for path in paths {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&path)?)?;
        for i in 0..archive.len() {
            let mut member = archive.by_index(i)?;
            if !member.name()?.ends_with(".json") {
                continue;
            }
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            let lines = String::from_utf8_lossy(&bytes).into_owned();
            for mut event in lines.lines().filter_map(|line| serde_json::from_str::<Map<String, Json>>(line).ok()) {
                let (service, category) = source(&event);
                for (name, value) in super::FIELDS.into_iter().zip(["windows", service, category]) {
                    event.insert(name.to_owned(), value.into());
                }
                events.push(event);
            }
        }
    }
    Ok(events)
}

/// The service and the category of an event.
fn source(event: &Map<String, Json>) -> (&'static str, &'static str) {
    let id = event.get("EventID").and_then(Json::as_i64).unwrap_or_default();
    let service = match event.get("Channel").and_then(Json::as_str).unwrap_or_default() {
        "Microsoft-Windows-Sysmon/Operational" => "sysmon",
        "Microsoft-Windows-PowerShell/Operational" => "powershell",
        "Windows PowerShell" => "powershell-classic",
        "Security" | "security" => "security",
        "System" => "system",
        _ => "other",
    };
    let category = match (service, id) {
        ("sysmon", 1) | ("security", 4688) => "process_creation",
        ("sysmon", 3) => "network_connection",
        ("sysmon", 6) => "driver_load",
        ("sysmon", 7) => "image_load",
        ("sysmon", 8) => "create_remote_thread",
        ("sysmon", 9) => "raw_access_thread",
        ("sysmon", 10) => "process_access",
        ("sysmon", 11) => "file_event",
        ("sysmon", 12) => "registry_event",
        ("sysmon", 13) => "registry_set",
        ("sysmon", 17 | 18) => "pipe_created",
        ("sysmon", 22) => "dns_query",
        ("powershell", 4104) => "ps_script",
        ("powershell", 4103) => "ps_module",
        ("powershell-classic", _) => "ps_classic_start",
        _ => "other",
    };
    (service, category)
}

/// The event with another host, other users and another day.
fn vary(event: &Map<String, Json>, round: usize) -> Anything<String> {
    let mut line = serde_json::to_string(event)?;
    if round == 0 {
        return Ok(line);
    }
    for name in ["Hostname", "AccountName", "SubjectUserName", "TargetUserName"] {
        if let Some(old) = event.get(name).and_then(Json::as_str)
            && old.len() > 4
            && !["SYSTEM", "windows"].contains(&old)
        {
            line = line.replace(old, &format!("{old}{round}"));
        }
    }
    let mut moved = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(at) = rest.find("\"20") {
        moved.push_str(&rest[..at]);
        let date = &rest.as_bytes()[at + 1..];
        if date.len() > 10 && date[4] == b'-' && date[7] == b'-' {
            write!(moved, "\"20{:02}-{:02}-{:02}", 21 + round / 336, 1 + round / 28 % 12, 1 + round % 28)?;
            rest = &rest[at + 11..];
        } else {
            moved.push_str(&rest[at..at + 3]);
            rest = &rest[at + 3..];
        }
    }
    moved.push_str(rest);
    Ok(moved)
}

/// Puts what no other text has into the middle of every text.
fn mark(value: &mut Json, event: usize, number: &mut usize) {
    match value {
        Json::String(text) => {
            let middle = (text.len() / 2..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text.insert_str(middle, &format!("{event:x}.{number}"));
            *number += 1;
        }
        Json::Array(items) => items.iter_mut().for_each(|item| mark(item, event, number)),
        Json::Object(members) => members.iter_mut().for_each(|(_, member)| mark(member, event, number)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The rule files below a folder, with their texts.
pub(crate) fn rule_files(folder: &Path, into: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let mut paths = Vec::new();
    below(folder, ".yml", &mut paths)?;
    paths.sort();
    for path in paths {
        into.push((path.display().to_string(), std::fs::read_to_string(&path)?));
    }
    Ok(())
}

fn below(folder: &Path, end: &str, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, end, into)?;
        } else if path.to_string_lossy().ends_with(end) {
            into.push(path);
        }
    }
    Ok(())
}
