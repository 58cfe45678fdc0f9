//! `vertice doctor`: whether everything is in order, and what to do where it is not.
//!
//! Changes nothing, except that it opens and closes a store that no server has open.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use vertice_engine::Content;
use vertice_model::Timestamp;
use vertice_store::audit::{self, AuditError, Trust};
use vertice_store::{Check, OpenError, Options, Store};
use vertice_stream::{Discovered, Local};

use super::Failure;
use super::client::Client;
use super::content::counted;
use super::output::{Format, Out, Tint};
use crate::config::{Config, Mode};
use crate::{clock, content, limits, protect};

/// How well something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }

    const fn tint(self) -> Tint {
        match self {
            Level::Ok => Tint::Good,
            Level::Warn => Tint::Warn,
            Level::Fail => Tint::Bad,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    about: &'static str,
    level: Level,
    what: String,
    todo: String,
}

impl Finding {
    fn ok(about: &'static str, what: impl Into<String>) -> Finding {
        Finding { about, level: Level::Ok, what: what.into(), todo: String::new() }
    }

    fn warn(about: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { about, level: Level::Warn, what: what.into(), todo: todo.into() }
    }

    fn fail(about: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { about, level: Level::Fail, what: what.into(), todo: todo.into() }
    }
}

/// Looks at everything and prints what was found, a line each.
///
/// # Errors
/// When something is not in order.
pub fn run(load: impl FnOnce() -> Result<Config>, client: &Client, out: &mut Out) -> Result<()> {
    let findings = match load() {
        Ok(config) => {
            let mut findings = vec![Finding::ok("configuration", "it can be read")];
            findings.extend(data(&config.data.dir));
            findings.extend(store(&config.data.dir));
            findings.extend(audit(&config.data.dir));
            findings.extend(of_content(&config));
            findings.extend(sources(&config));
            findings.extend(kafka(&config));
            findings.extend(postgres(&config));
            findings.extend(responses(&config));
            findings.extend(server(config.server.listen, client));
            findings
        }
        Err(error) => vec![Finding::fail("configuration", format!("{error:#}"), "correct it; the rest depends on it")],
    };
    print(&findings, out)?;
    let failed = findings.iter().filter(|f| f.level == Level::Fail).count();
    if failed == 0 { Ok(()) } else { Err(Failure::Failed(format!("{} not in order", counted(failed, "thing"))).into()) }
}

fn print(findings: &[Finding], out: &mut Out) -> Result<()> {
    if out.format != Format::Table {
        let list: Vec<Value> = findings
            .iter()
            .map(|f| json!({"about": f.about, "level": f.level.word(), "what": f.what, "todo": f.todo}))
            .collect();
        return out.json_list(&list);
    }
    for f in findings {
        out.parts(&[
            (f.level.tint(), &format!("{:<4}  ", f.level.word())),
            (Tint::Bold, &format!("{:<14} ", f.about)),
            (Tint::None, &f.what),
        ])?;
        if !f.todo.is_empty() {
            out.parts(&[(Tint::Faint, &format!("{:21}→ {}", "", f.todo))])?;
        }
    }
    Ok(())
}

/// Whether the audit is as it was written; nothing where there is none yet.
fn audit(dir: &Path) -> Option<Finding> {
    const ABOUT: &str = "audit";
    let file = audit::file_of(dir);
    if !file.exists() {
        return None;
    }
    let found = audit::public_key(dir)
        .and_then(|key| audit::verify::<AuditError>(&file, &Trust { key, anchor: None }, |_| Ok(())));
    Some(match found {
        Ok(found) if found.tail.is_empty() => Finding::ok(ABOUT, format!("whole, {} entries", found.entries)),
        Ok(_) => Finding::warn(
            ABOUT,
            format!("the end of {} is not sealed", file.display()),
            "the next start makes it again from the log",
        ),
        Err(error @ (AuditError::Broken { .. } | AuditError::Other { .. })) => {
            Finding::fail(ABOUT, error.to_string(), "keep it as evidence; see `vertice audit verify --help`")
        }
        Err(error) => Finding::fail(ABOUT, error.to_string(), "look as the user that the server runs as"),
    })
}

/// The directory that is there, on the way to one that may not be.
fn nearest(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|d| d.is_dir()).unwrap_or(Path::new("."));
    if there.as_os_str().is_empty() { PathBuf::from(".") } else { there.to_owned() }
}

/// Whether the data directory can be written and has space.
fn data(dir: &Path) -> Vec<Finding> {
    const ABOUT: &str = "data directory";
    let there = nearest(dir);
    let shown = dir.display();
    let writable = match tempfile::Builder::new().prefix(".vertice-doctor").tempfile_in(&there) {
        Ok(_) if there == dir => Finding::ok(ABOUT, format!("{shown} can be written")),
        Ok(_) => Finding::ok(ABOUT, format!("{shown} will be made at the first start")),
        Err(e) => Finding::fail(
            ABOUT,
            format!("{} can not be written: {e}", there.display()),
            "give another by --data, VERTICE_DATA_DIR or `dir` of [data], or start as a user who may",
        ),
    };
    let space = match rustix::fs::statvfs(&there) {
        Ok(disk) => free(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(e) => Finding::warn("disk", format!("its free space is not known: {e}"), "look with df"),
    };
    vec![writable, space]
}

fn free(bytes: u64) -> Finding {
    let what = format!("{} MiB are free", bytes / (1024 * 1024));
    let todo = "make space, or put the data directory on a larger disk: when it is full, events are refused";
    match bytes {
        0..limits::DISK_FREE_FAIL => Finding::fail("disk", what, todo),
        limits::DISK_FREE_FAIL..limits::DISK_FREE_WARN => Finding::warn("disk", what, todo),
        _ => Finding::ok("disk", what),
    }
}

/// Whether the store can be opened, and whether the clock is where the log ends.
fn store(dir: &Path) -> Vec<Finding> {
    const ABOUT: &str = "store";
    if !dir.join("vertice.db").is_file() {
        return vec![Finding::ok(ABOUT, "there is none yet; the first start makes one")];
    }
    let options = Options { check: Check::Ends, ..Options::default() };
    match Store::open(dir, Arc::new(clock::wall), options) {
        Ok(store) => {
            let end = store.log_end();
            let behind = end.0 - store.judged_to().0.min(end.0);
            let mut found =
                vec![Finding::ok(ABOUT, format!("the log ends at position {end}, {behind} of it yet to be judged"))];
            match store.read(end, 1) {
                Ok(inputs) => found.extend(inputs.first().map(|(stamp, _)| clock_against(stamp.now, clock::wall()))),
                Err(e) => found.push(Finding::fail(ABOUT, e.to_string(), "restore the data directory from a backup")),
            }
            if let Err(e) = store.close() {
                found.push(Finding::fail(ABOUT, e.to_string(), "look at the disk: dmesg, SMART"));
            }
            found
        }
        Err(e @ OpenError::InUse { .. }) => vec![Finding::ok(ABOUT, e.to_string())],
        Err(e @ (OpenError::Io { .. } | OpenError::Database { .. } | OpenError::Server { .. })) => {
            vec![Finding::fail(ABOUT, e.to_string(), "see whether this user may read and write it")]
        }
        Err(e @ OpenError::Schema { .. }) => vec![Finding::fail(ABOUT, e.to_string(), "run the version that wrote it")],
        Err(e @ OpenError::Damaged(_)) => {
            vec![Finding::fail(ABOUT, e.to_string(), "keep a copy of it and restore a backup")]
        }
    }
}

fn clock_against(log_end: Timestamp, now: Timestamp) -> Finding {
    let ahead_s = log_end.micros_since(now) / 1_000_000;
    if ahead_s <= limits::CLOCK_BEHIND_S {
        return Finding::ok("clock", format!("it is {now}, after the last input of the log"));
    }
    Finding::warn(
        "clock",
        format!("it is {now}, but the log's last input came at {log_end}"),
        "the clock was set back, or was wrong before: see that it is synchronised (timedatectl)",
    )
}

fn of_content(config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "content";
    let files = match content::gather(&config.content.dirs, &config.content.rules) {
        Ok(files) => files,
        Err(e) => return vec![Finding::fail(ABOUT, format!("{e:#}"), "correct `dirs` and `rules` of [content]")],
    };
    let count = |kind: &str| files.iter().filter(|f| f.path.split(['/', ':']).next() == Some(kind)).count();
    let (rules, mappings, playbooks) = (count("rules"), count("mappings"), count("playbooks"));
    let read = format!("{rules} rule, {mappings} mapping and {playbooks} playbook files");
    let content = Content::compile(files);
    let refused = &content.refused;
    if refused.is_empty() {
        return vec![Finding::ok(ABOUT, format!("{read} are in force"))];
    }
    let first = refused.iter().take(limits::REFUSALS_DOCTOR).map(|e| Finding::warn(ABOUT, e.to_string(), ""));
    let what = format!("{read}; {} refused", counted(refused.len(), "error"));
    let todo = "`vertice rules check DIR`, `mappings check`, `playbooks check` name them all";
    std::iter::once(Finding::warn(ABOUT, what, todo)).chain(first).collect()
}

/// Whether what is switched live can act.
fn responses(config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "responses";
    let verbs = &config.response.verbs;
    let mut found = vec![Finding::ok(ABOUT, protect::told(&config.response))];
    if config.response.mode == Mode::Observe {
        return found;
    }
    if let Err(error) = verbs.check() {
        found.push(Finding::fail(ABOUT, error.to_string(), "mend the configuration"));
    }
    let network = ["firewall_rule", "honeypot_deployment", "zone_isolation", "traffic_shaping", "traffic_capture"];
    let enabled = verbs.enabled();
    if enabled.iter().any(|verb| network.contains(verb)) {
        if !rustix::process::geteuid().is_root() {
            found.push(Finding::fail(ABOUT, "only root may change the firewall", "start Vertice as root"));
        }
        if !is_program(&verbs.firewall_rule.nft) {
            let what = format!("there is no program {}", verbs.firewall_rule.nft.display());
            found.push(Finding::fail(ABOUT, what, "install nftables, or set response.firewall_rule.nft"));
        }
    }
    let machines = protect::told_of_machines(&config.response).filter(|_| config.store.postgres.is_on());
    let todo = "where instances have machines of their own, let bouncers enforce what is held (docs/scaling.md)";
    found.extend(machines.map(|what| Finding::warn(ABOUT, what, todo)));
    let (approvers, needed) = (config.response.approvers.len(), config.response.approvals_for_high_risk);
    if approvers > 0 && approvers < needed as usize {
        let what = format!("{needed} people must approve the highest risks, and response.approvers names {approvers}");
        found.push(Finding::warn(ABOUT, what, "name more approvers, or none so that every key may answer"));
    }
    found
}

fn is_program(name: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    name.is_file() || std::env::split_paths(&path).chain(sbin).any(|folder| folder.join(name).is_file())
}

/// Whether the files that are to be followed can be read.
fn sources(config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "sources";
    let mut found: Vec<Finding> = Vec::new();
    if config.sources.local {
        found.extend(local(vertice_stream::discover(Path::new("/"))));
    }
    for path in &config.sources.files {
        found.push(match std::fs::File::open(path) {
            Ok(_) => Finding::ok(ABOUT, format!("{} can be read", path.display())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Finding::warn(ABOUT, format!("{} is not there", path.display()), "it is followed once it is")
            }
            Err(e) => Finding::fail(ABOUT, format!("{}: {e}", path.display()), "let the user of the server read it"),
        });
    }
    for address in [&config.sources.syslog_udp, &config.sources.syslog_tcp].into_iter().filter(|a| !a.is_empty()) {
        found.push(match address.parse::<SocketAddr>() {
            Ok(_) => Finding::ok(ABOUT, format!("syslog is taken in on {address}")),
            Err(_) => Finding::fail(ABOUT, format!("{address:?} is no address"), "write it as 127.0.0.1:5514"),
        });
    }
    found
}

/// Whether the brokers answer and the topics are there; nothing where none are configured.
#[cfg(feature = "kafka")]
fn kafka(config: &Config) -> Vec<Finding> {
    use vertice_stream::kafka::{Found, Patience, Problem, Wanted, check};

    const ABOUT: &str = "kafka";
    let many = config.store.postgres.is_on();
    let config = &config.stream.kafka;
    if !config.is_on() {
        return Vec::new();
    }
    let settings = match crate::kafka::settings(config) {
        Ok(settings) => settings,
        Err(e) => return vec![Finding::fail(ABOUT, format!("{e:#}"), "correct [stream.kafka]")],
    };
    let once = Patience { looks: 1, ..Patience::default() };
    // The doctor changes nothing.
    let wanted = crate::kafka::wanted(config, many).into_iter().map(|wanted| Wanted { create: false, ..wanted });
    let mut found: Vec<Finding> = Vec::new();
    for topic in wanted {
        match check(&settings, &[topic], once) {
            Ok(there) => {
                let told = |f: &Found| Finding::ok(ABOUT, format!("{} has {} partitions", f.topic, f.partitions));
                found.extend(there.iter().map(told));
            }
            Err(problem) => {
                let is_of_all = !matches!(problem, Problem::MissingTopic { .. });
                found.push(Finding::fail(ABOUT, problem.to_string(), "correct [stream.kafka], or what it names"));
                // What is wrong with the brokers is told once, and not for each topic.
                if is_of_all {
                    break;
                }
            }
        }
    }
    found
}

#[cfg(not(feature = "kafka"))]
fn kafka(config: &Config) -> Vec<Finding> {
    let todo = "use a program that was built with the feature kafka";
    let missing =
        || Finding::fail("kafka", "[stream.kafka] names brokers, and this program can not speak to them", todo);
    config.stream.kafka.is_on().then(missing).into_iter().collect()
}

fn postgres(config: &Config) -> Option<Finding> {
    const ABOUT: &str = "postgres";
    let wanted = &config.store.postgres;
    if !wanted.is_on() {
        return None;
    }
    let settings = crate::up::shares(config).and_then(|_| wanted.settings(&config.data.dir));
    let found = settings.and_then(|settings| Ok(vertice_store::postgres::look(&settings)?));
    Some(match found {
        Ok(what) => Finding::ok(ABOUT, what),
        Err(e) => Finding::fail(ABOUT, format!("{e:#}"), "correct [store.postgres], or what it names"),
    })
}

/// The local logs that would be followed, and those that are there and would not.
fn local(found: Discovered) -> Vec<Finding> {
    const ABOUT: &str = "local sources";
    let none = found.sources.is_empty();
    let mut list: Vec<Finding> = found.sources.iter().map(|s| Finding::ok(ABOUT, named(s))).collect();
    let (absent, barred): (Vec<_>, Vec<_>) = found.missing.into_iter().partition(|m| m.reason == "not there");
    list.extend(barred.iter().map(|m| {
        let what = format!("{} in {}: {}", m.what, m.path.display(), m.reason);
        Finding::warn(ABOUT, what, "let the user of the server read it, such as by the group adm or systemd-journal")
    }));
    if none {
        let places: Vec<String> = absent.iter().map(|m| m.path.display().to_string()).collect();
        let todo = "name logs by --follow, send events to the API, take syslog in, or see `vertice demo`";
        list.push(Finding::warn(ABOUT, format!("none was found; looked for {}", places.join(", ")), todo));
    }
    list
}

fn named(source: &Local) -> String {
    match source {
        Local::File { what, path } => format!("{what} in {} can be read", path.display()),
        Local::Journal { program } => format!("the systemd journal can be read by {}", program.display()),
    }
}

/// Whether a server answers, or could.
fn server(listen: SocketAddr, client: &Client) -> Vec<Finding> {
    const ABOUT: &str = "server";
    match client.get("/health", &[]) {
        Ok(_) => {
            let mut found = vec![Finding::ok(ABOUT, format!("{} answers", client.base()))];
            match client.get("/ready", &[]) {
                Ok(_) => {}
                Err(e) => found.push(Finding::warn(ABOUT, e.to_string(), "`vertice status` says more")),
            }
            return found;
        }
        Err(Failure::Unreachable(_)) => {}
        Err(e) => {
            let todo = "another program may have the port: see --url, and `listen` of [server]";
            return vec![Finding::fail(ABOUT, e.to_string(), todo)];
        }
    }
    match TcpListener::bind(listen) {
        Ok(_) => vec![Finding::ok(
            ABOUT,
            format!("none answers at {}; {listen} is free for one: `vertice up`", client.base()),
        )],
        Err(e) if e.kind() == ErrorKind::AddrInUse => vec![Finding::fail(
            ABOUT,
            format!("another program has {listen}, and none answers at {}", client.base()),
            "end it, or choose another address by --listen or `listen` of [server]",
        )],
        Err(e) => {
            vec![Finding::fail(ABOUT, format!("{listen} can not be listened on: {e}"), "correct `listen` of [server]")]
        }
    }
}

#[cfg(test)]
mod tests {
    use vertice_stream::Missing;

    use super::*;
    use crate::cli::output::tests::printed;

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|f| f.level).collect()
    }

    fn config() -> Config {
        crate::config::load(None, |_| None).unwrap()
    }

    #[test]
    fn what_is_switched_live_and_can_not_act_is_told() {
        let mut config = crate::config::load(None, |_| None).unwrap();
        assert!(matches!(responses(&config).as_slice(), [one] if one.level == Level::Ok));
        config.response.mode = Mode::Live;
        config.response.verbs.firewall_rule.enabled = true;
        config.response.verbs.firewall_rule.nft = PathBuf::from("no-such-nft");
        config.response.approvers = vec!["ana".to_owned()];
        let found = responses(&config);
        let told = |level, word: &str| found.iter().any(|f| f.level == level && f.what.contains(word));
        assert!(told(Level::Fail, "no program no-such-nft"), "{found:?}");
        assert!(told(Level::Warn, "2 people must approve"), "{found:?}");
        assert!(!told(Level::Warn, "done on the machine"), "there is one: {found:?}");
        config.store.postgres.host = "db.example".to_owned();
        let found = responses(&config);
        assert!(found.iter().any(|f| f.level == Level::Warn && f.what.contains("done on the machine")), "{found:?}");
    }

    #[test]
    fn findings_say_what_to_do() {
        let findings = [Finding::ok("a", "good"), Finding::fail("b", "bad \x1b", "mend it")];
        let text = printed(Format::Table, |out| print(&findings, out));
        assert_eq!(text, "ok    a              good\nfail  b              bad ␛\n                     → mend it\n");
        let json: Value = serde_json::from_str(&printed(Format::Json, |out| print(&findings, out))).unwrap();
        assert_eq!(json[1], json!({"about": "b", "level": "fail", "what": "bad \u{1b}", "todo": "mend it"}));
    }

    #[test]
    fn a_configuration_that_can_not_be_read_is_a_failure() {
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        let mut failure = None;
        let text = printed(Format::Table, |out| {
            failure = run(|| anyhow::bail!("line 3: no"), &client, out).err();
            Ok(())
        });
        assert!(text.contains("line 3: no"), "{text}");
        assert_eq!(super::super::failure::exit_code(&failure.unwrap()), 1);
    }

    #[test]
    fn an_audit_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert!(audit(dir.path()).is_none(), "there is none yet");
        let store = Store::open(dir.path(), Arc::new(Timestamp::default), Options::default()).unwrap();
        drop(audit::Audit::open(&store).unwrap());
        assert_eq!(audit(dir.path()).unwrap().level, Level::Ok);
        let mut file = std::fs::File::options().append(true).open(audit::file_of(dir.path())).unwrap();
        std::io::Write::write_all(&mut file, b"x").unwrap();
        assert_eq!(audit(dir.path()).unwrap().level, Level::Warn);
        file.set_len(511).unwrap();
        let found = audit(dir.path()).unwrap();
        assert!(found.level == Level::Fail && found.what.contains("audit.ndjson:1: "), "{found:?}");
    }

    #[test]
    fn a_data_directory_is_looked_at_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a/b");
        assert!(data(&missing)[0].what.contains("will be made"), "{:?}", data(&missing));
        assert!(data(dir.path())[0].what.contains("can be written"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(nearest(Path::new("no/such")), Path::new("."));
        let file = dir.path().join("file");
        std::fs::File::create(&file).unwrap();
        assert_eq!(nearest(&file), dir.path());
    }

    #[test]
    fn free_space_has_two_bounds() {
        let of = |bytes| free(bytes).level;
        assert_eq!(of(limits::DISK_FREE_FAIL - 1), Level::Fail);
        assert_eq!((of(limits::DISK_FREE_FAIL), of(limits::DISK_FREE_WARN)), (Level::Warn, Level::Ok));
    }

    #[test]
    fn a_store_is_opened_unless_somebody_has_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(store(dir.path())[0].what.contains("none yet"));
        let open = || Store::open(dir.path(), Arc::new(clock::wall), Options::default()).unwrap();
        let held = open();
        assert!(store(dir.path())[0].what.contains("in use by"), "{:?}", store(dir.path()));
        held.append_blocking(vertice_engine::Input::Tick).unwrap();
        held.close().unwrap();
        drop(held);
        let found = store(dir.path());
        assert_eq!(levels(&found), [Level::Ok, Level::Ok], "{found:?}");
        assert!(found[0].what.contains("ends at position 1, 1 of it yet"), "{found:?}");
    }

    #[test]
    fn a_clock_behind_the_log_is_named() {
        let now = Timestamp::from_seconds(1_000_000);
        assert_eq!(clock_against(now.plus_seconds(limits::CLOCK_BEHIND_S), now).level, Level::Ok);
        assert_eq!(clock_against(now.plus_seconds(limits::CLOCK_BEHIND_S + 1), now).level, Level::Warn);
    }

    #[test]
    fn refused_content_is_named_and_the_rest_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config();
        config.content.rules = vec![dir.path().join("none")];
        assert_eq!(levels(&of_content(&config)), [Level::Fail]);
        config.content.rules = vec![dir.path().to_owned()];
        std::io::Write::write_all(&mut std::fs::File::create(dir.path().join("bad.yml")).unwrap(), b"title: x\n")
            .unwrap();
        let found = of_content(&config);
        assert!(found[0].level == Level::Warn && found[1].what.contains("bad.yml:1:1: "), "{found:?}");
    }

    #[test]
    fn sources_are_named_whether_they_can_be_read_or_not() {
        let mut config = config();
        config.sources.local = false;
        config.sources.files = vec!["no/such.log".into(), file!().into(), env!("CARGO_MANIFEST_DIR").into()];
        config.sources.syslog_udp = "127.0.0.1:5514".into();
        config.sources.syslog_tcp = "everywhere".into();
        let found = sources(&config);
        assert_eq!(
            (found[0].level, found[3].level, found[4].level),
            (Level::Warn, Level::Ok, Level::Fail),
            "{found:?}"
        );
        let missing =
            |reason: &'static str| Missing { what: "auditd", path: "/audit.log".into(), reason: reason.into() };
        let none = local(Discovered {
            sources: Vec::new(),
            missing: vec![missing("not there"), missing("we may not read it")],
        });
        assert_eq!(levels(&none), [Level::Warn, Level::Warn]);
        assert!(none[1].what.contains("looked for /audit.log") && none[1].todo.contains("vertice demo"), "{none:?}");
        let sources = vec![
            Local::File { what: "nginx", path: "/access.log".into() },
            Local::Journal { program: "/usr/bin/journalctl".into() },
        ];
        assert_eq!(levels(&local(Discovered { sources, missing: vec![missing("not there")] })), [Level::Ok, Level::Ok]);
    }

    #[test]
    fn a_port_that_another_program_has_is_no_place_for_a_server() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        // Nothing listens at the client's address by now.
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&format!("http://{gone}"), None).unwrap();
        assert_eq!(levels(&server(address, &client)), [Level::Fail]);
        drop(taken);
        assert_eq!(levels(&server(address, &client)), [Level::Ok]);
    }
}
