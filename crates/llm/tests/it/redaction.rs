//! What does not leave the machine.

use serde_json::json;
use vertice_llm::{Addresses, RedactionSettings, Redactor, Secret};
use vertice_testkit::{Random, long};

fn redactor(settings: RedactionSettings) -> Redactor {
    Redactor::new(&settings, &[Secret::new("own.key+of-ours")]).unwrap()
}

/// Texts, and what of them must be gone. What must stay is the rest.
const SECRETS: [(&str, &str); 47] = [
    ("curl -H 'Authorization: Bearer abc.DEF-123_x' https://x", "abc.DEF-123_x"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("proxy-authorization=NTLM TlRMTVNTUAAB", "TlRMTVNTUAAB"),
    (r#"{"headers":{"authorization":"Token t0pZ3cr3t"}}"#, "t0pZ3cr3t"),
    (r#"{\"authorization\":\"Bearer t0pZ3cr3t\"}"#, "t0pZ3cr3t"),
    ("sent bearer  AbCdEf123456== today", "AbCdEf123456=="),
    ("X-Api-Key: 9f8e7d6c", "9f8e7d6c"),
    ("Cookie: sid=77aa; theme=dark", "sid=77aa; theme=dark"),
    ("sk-proj-abcDEF123456789_-abc", "sk-proj-abcDEF123456789_-abc"),
    ("key sk-ant-api03-AbCdEfGhIjKl end", "sk-ant-api03-AbCdEfGhIjKl"),
    ("AKIAIOSFODNN7EXAMPLE in a log", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("glpat-abcdefghij0123456789", "glpat-abcdefghij0123456789"),
    ("xoxb-123456789012-abcdefghij", "xoxb-123456789012-abcdefghij"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_123", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_123"),
    ("password=hunter2 next", "hunter2"),
    ("Password: hunter2", "hunter2"),
    (r#"{"db_password": "hun ter2", "x": 1}"#, "hun ter2"),
    (r#"{\"passwd\":\"hunter2\"}"#, "hunter2"),
    ("DB_PASSWORD='hun ter2'", "hun ter2"),
    ("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "wJalrXUtnFEMI"),
    ("GET /?user=a&access_token=q1w2e3&x=1", "q1w2e3"),
    ("client_secret: q1w2e3", "q1w2e3"),
    ("https://x.blob.example/c?sv=1&sig=a%2Fb", "a%2Fb"),
    ("docker login -u bob -p hunter2 registry", "hunter2"),
    ("AccountKey=abc/def==;Endpoint=x", "abc/def=="),
    ("tool --password hunter2 --verbose", "hunter2"),
    ("tool --password=hunter2", "hunter2"),
    ("tool --db-password \"hun ter2\"", "hun ter2"),
    ("tool -pass hunter2", "hunter2"),
    ("xfreerdp /u:bob /p:hunter2 /v:srv", "hunter2"),
    ("sshpass -p hunter2 ssh root@host", "hunter2"),
    ("sshpass -phunter2 ssh root@host", "hunter2"),
    ("mysql -u root -phunter2 shop", "hunter2"),
    ("redis-cli -h db -a hunter2 get x", "hunter2"),
    ("curl -u bob:hunter2 https://x", "hunter2"),
    ("curl --user bob:hunter2 https://x", "hunter2"),
    ("smbclient -U CORP/bob%hunter2 //srv/c$", "hunter2"),
    ("net user bob hunter2 /add", "hunter2"),
    (r"net use Z: \\srv\share hunter2 /user:bob", "hunter2"),
    ("PsExec64.exe \\\\srv -u bob -p hunter2 cmd", "hunter2"),
    ("ConvertTo-SecureString 'hunter2' -AsPlainText -Force", "hunter2"),
    ("echo hunter2 | sudo -S id", "hunter2"),
    ("git clone https://bob:hunter2@git.example/x", "hunter2"),
    ("postgres://app:hunter2@db:5432/shop", "hunter2"),
    ("root:$6$abcdefgh$0123456789abcdefABCDEF./:19000", "$6$abcdefgh$0123456789abcdefABCDEF./"),
    (
        "Admin:500:aad3b435b51404eeaad3b435b51404ee:31d6cfe0d16ae931b73c59d7e0c089c0:::",
        "31d6cfe0d16ae931b73c59d7e0c089c0",
    ),
];

#[test]
fn secrets_are_taken_out_and_never_put_back() {
    let redactor = redactor(RedactionSettings::default());
    for (text, secret) in SECRETS {
        let ([system, user], redacted) = redactor.redact(["", text]);
        assert!(!user.contains(secret) && user.contains("[SECRET_1]"), "{text} became {user}");
        assert_eq!(redacted.restore(&user), user);
        assert!(!format!("{redacted:?}{redactor:?}").contains(secret));
        assert_eq!(system, "");
    }
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\nZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----";
    let cut = "before -----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBg";
    let ([a, b], _) = redactor.redact([key, cut]);
    assert_eq!((a.as_str(), b.as_str()), ("[SECRET_1]", "before [SECRET_2]"));
    // Our own keys go whatever they look like and whatever the settings say.
    let none = RedactionSettings { secrets: false, emails: false, ..RedactionSettings::default() };
    let ([own, _], _) = self::redactor(none).redact(["say own.key+of-ours and password=x", ""]);
    assert_eq!(own, "say [SECRET_1] and password=x");
}

#[test]
fn what_is_no_secret_stays() {
    let redactor = redactor(RedactionSettings::default());
    for text in [
        "Failed password for root from 203.0.113.9 port 4711 ssh2",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "GET /index.html?id=7 HTTP/1.1 Mozilla/5.0 (X11; Linux x86_64)",
        "powershell -nop -w hidden -enc SQBFAFgA",
        "ssh -p 2222 root@203.0.113.9",
        "T1059.001 and T1110 on host web-1",
        "tar -xpf a.tar; ps -ef | grep ssh",
        r#"{"alert":{"signature_id":2001219,"signature":"ET SCAN Potential SSH Scan"}}"#,
        "docker run -p 8080:80 nginx; redis-cli -h db -p 6379 get x; plink -P 22 host",
        "Basic authentication failed; TokenElevationType: %%1936; PasswordLastSet: never",
        "11111111-2222-3333-4444-555555555555",
    ] {
        assert_eq!(redactor.redact([text, ""]).0[0], text);
    }
}

#[test]
fn people_are_taken_out_and_put_back() {
    let settings = RedactionSettings {
        users: true,
        addresses: Addresses::Internal,
        words: vec!["Project Bluebird".to_owned()],
        ..RedactionSettings::default()
    };
    let redactor = redactor(settings);
    let text = r"ana@corp.example wrote bob@corp.example and ana@corp.example about project bluebird; 10.1.2.3 and fd00::7
        reached 203.0.113.9 as user=carol from /home/dave/x and C:\Users\eve\y; Failed password for frank from 192.168.0.4";
    let ([_, user], redacted) = redactor.redact(["", text]);
    let wanted = r"[EMAIL_1] wrote [EMAIL_2] and [EMAIL_1] about [PRIVATE_1]; [ADDRESS_1] and [ADDRESS_2]
        reached 203.0.113.9 as user=[USER_1] from /home/[USER_2]/x and C:\Users\[USER_3]\y; Failed password for [USER_4] from [ADDRESS_3]";
    assert_eq!(user, wanted);
    assert_eq!((redacted.restore(&user), redacted.len()), (text.to_owned(), 10));
    let value = redacted.restore_json(json!({"[EMAIL_1]": ["[EMAIL_2] [EMAIL_9] [", {"x": "[ADDRESS_1]"}, 7]}));
    assert_eq!(value, json!({"[EMAIL_1]": ["bob@corp.example [EMAIL_9] [", {"x": "10.1.2.3"}, 7]}));
    let all = self::redactor(RedactionSettings { addresses: Addresses::All, ..RedactionSettings::default() });
    assert_eq!(
        all.redact(["203.0.113.9 2001:db8::1 12:30:45 1.2.3.456", ""]).0[0],
        "[ADDRESS_1] [ADDRESS_2] 12:30:45 1.2.3.456"
    );
}

#[test]
fn a_placeholder_that_an_attacker_wrote_is_turned_into_nothing() {
    let redactor = redactor(RedactionSettings::default());
    let ([_, user], redacted) =
        redactor.redact(["about ana@corp.example", "say [EMAIL_1] and [EMAIL_2], eve@evil.example"]);
    assert_eq!(user, "say [EMAIL_1] and [EMAIL_2], [EMAIL_4]");
    assert_eq!(redacted.restore("[EMAIL_1] [EMAIL_2] [EMAIL_3]"), "[EMAIL_1] [EMAIL_2] ana@corp.example");
}

#[test]
fn any_text_is_redacted_and_restored() {
    let settings = RedactionSettings { users: true, addresses: Addresses::All, ..RedactionSettings::default() };
    let redactor = redactor(settings);
    let mut random = Random(7);
    for round in 0..if long() { 100_000 } else { 2_000 } {
        let (text, secret) = SECRETS[round % SECRETS.len()];
        let seed = format!("{text} ana@corp.example /home/bob [EMAIL_1] 10.0.0.1 fe80::1 \u{1b}[2J {secret}");
        let bytes = random.mutated(seed.as_bytes());
        let text = String::from_utf8_lossy(&bytes);
        let ([once, _], redacted) = redactor.redact([&text, ""]);
        let without_secrets = redacted.restore(&once);
        let ([twice, _], _) = redactor.redact([&text, ""]);
        assert_eq!(once, twice);
        if !once.contains("[SECRET_") {
            assert_eq!(without_secrets, text);
        }
    }
}
