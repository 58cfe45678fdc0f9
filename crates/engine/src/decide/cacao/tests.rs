//! There and back, both ways.

use serde_json::{Value, json};

use super::export::{EXTENSION, id_of};
use super::{Imported, export, import};
use crate::ContentFile;
use crate::decide::playbook::Playbook;
use crate::decide::verb::Verb;
use crate::decide::yaml;

/// The playbooks that ship.
fn shipped() -> Vec<ContentFile> {
    let of = |name: &str, text: &str| file(&format!("playbooks/{name}.yml"), text);
    vec![
        of("brute_force_response", include_str!("../../../../../content/playbooks/brute_force_response.yml")),
        of("data_exfiltration_block", include_str!("../../../../../content/playbooks/data_exfiltration_block.yml")),
        of(
            "lateral_movement_isolation",
            include_str!("../../../../../content/playbooks/lateral_movement_isolation.yml"),
        ),
        of("malware_containment", include_str!("../../../../../content/playbooks/malware_containment.yml")),
    ]
}

fn file(path: &str, text: &str) -> ContentFile {
    ContentFile { path: path.to_owned(), text: text.to_owned() }
}

fn imported(document: &Value) -> Result<Imported, String> {
    let told =
        |errors: Vec<crate::ContentError>| errors.iter().map(|e| e.reason.clone()).collect::<Vec<_>>().join("\n");
    import(&file("x.json", &document.to_string())).map_err(told)
}

fn exported(playbook: &Imported) -> Value {
    export(&file(&playbook.file_name, &playbook.text)).unwrap_or_else(|e| panic!("{e:#?}\n{}", playbook.text)).document
}

/// A playbook as it was compiled, without its lines.
fn compiled(file: &ContentFile) -> String {
    let mut playbook = Playbook::read(file).unwrap_or_else(|errors| panic!("{errors:#?}\n{}", file.text));
    playbook.actions.iter_mut().for_each(|action| action.line = 0);
    format!("{playbook:#?}")
}

/// All that a file says, whatever its lines and quotes.
fn says(text: &str) -> Value {
    super::text::values(&yaml::read(text).unwrap())
}

/// A playbook that uses every verb, and every key there is.
fn of_everything() -> ContentFile {
    let mut text = "\
name: |
  Everything: \"all\" of it
version: '1.0'
trigger: {condition: x and not (y or severity < low), severity_threshold: low, confidence_threshold: 1}
context_requirements: [user, source_ip, target_host]
rollback: {enabled: true, conditions: []}
actions:
"
    .to_owned();
    for (i, verb) in Verb::ALL.into_iter().enumerate() {
        let parameters = match verb {
            Verb::FirewallRule => {
                "{rule_type: block, source_ip: '${source_ip}', port: 22, protocol: tcp, duration: 1h}"
            }
            Verb::HoneypotDeployment => "{honeypot_type: ssh, target_ip: 203.0.113.9, duration: 1h}",
            Verb::ZoneIsolation => "{target_host: '${target_host}', target_ip: '2001:db8::1', duration: 1h}",
            Verb::TrafficShaping => "{target_ip: '${source_ip}', limit: 1mbit, duration: 1h}",
            Verb::TrafficCapture => "{target_ip: '${source_ip}', max_size: 1MB, duration: 1h}",
            Verb::KillProcess => "{target_host: web1, pid: 77}",
            Verb::Quarantine => "{target_host: web1, file_path: '/tmp/a b', duration: 1h}",
            Verb::RevokeCredentials => "{user: '${user}', duration: 1h}",
            Verb::SessionTermination => "{user: '${user}'}",
            Verb::CollectForensics => "{target_host: web1, artifacts: [files, logs]}",
            Verb::Notification => "{channel: slack, message: \"__user__:value is ${user}: \\u2028 # no comment\"}",
            Verb::HttpRequest => {
                "{url: 'https://soar.example:8/x/${user}?a=b', body: '{\"a\": \"${user}\"}', undo_url: 'http://h'}"
            }
            Verb::RemoteCommand => "{target_host: web1, command: stop}",
        };
        let declared = verb.declares();
        let undone = !matches!(verb, Verb::KillProcess | Verb::SessionTermination | Verb::RemoteCommand);
        text.push_str(&format!("  - id: a{i}\n    type: {}\n    parameters: {parameters}\n", declared.word));
        text.push_str(&format!(
            "    success_criteria: [{}]\n    timeout: 9s\n    retries: {}\n",
            declared.observable[0],
            i % 5
        ));
        text.push_str(&format!("    on_failure: {}\n", ["stop", "continue", "rollback"][i % 3]));
        if !undone {
            text.push_str("    irreversible: true\n    hotl_required: true\n    hotl_prompt: Really ${user}?\n    on_timeout: escalate\n    approval_timeout: 1m\n");
        }
        let before = [vec![], vec![], vec![0, 1], vec![2], vec![2], vec![0], vec![3, 4, 5]];
        let before =
            before.get(i).cloned().unwrap_or_default().iter().map(|n| format!("a{n}")).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("    depends_on: [{before}]\n"));
    }
    file("everything.yml", &text)
}

#[test]
fn ours_come_back_equal_as_compiled_and_in_every_value() {
    let files = [shipped(), vec![of_everything()]].concat();
    assert_eq!(files.len(), 5);
    for file in files {
        let there = export(&file).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert_eq!(there.document, export(&file).unwrap().document, "the same each time");
        let back = imported(&there.document).unwrap();
        assert!(file.path.ends_with(&back.file_name), "{} {}", file.path, back.file_name);
        assert_eq!((back.unmapped.len(), back.remarks.len()), (0, 0), "{:?}", back.remarks);
        assert_eq!(says(&back.text), says(&file.text));
        let again = ContentFile { path: file.path.clone(), text: back.text.clone() };
        assert_eq!(compiled(&again), compiled(&file));
        assert!(!back.text.contains("cacao"), "nothing needs to be kept: {}", back.text);
        assert_eq!(exported(&back), there.document);
    }
}

#[test]
fn what_waits_for_each_other_is_in_line_and_the_rest_side_by_side() {
    let brute = shipped().into_iter().find(|f| f.path.ends_with("brute_force_response.yml")).unwrap();
    let document = export(&brute).unwrap().document;
    let steps = document["workflow"].as_object().unwrap();
    let id = |kind: &str, what: &str| id_of(kind, "brute_force_response", what);
    let step = |kind: &str, what: &str| &steps[&id(kind, what)];
    let outer = &steps[steps[document["workflow_start"].as_str().unwrap()]["on_completion"].as_str().unwrap()];
    assert_eq!(outer["next_steps"], json!([id("action", "rate_limit"), id("action", "tell")]));
    let inner = step("action", "rate_limit")["on_success"].as_str().unwrap();
    assert_eq!(steps[inner]["next_steps"], json!([id("action", "deploy_honeypot asks"), id("action", "block asks")]));
    assert_eq!(steps[step("action", "rate_limit")["on_failure"].as_str().unwrap()]["type"], "end");
    assert_eq!(step("action", "block asks")["on_success"], id("action", "block"));
    assert!(step("action", "tell").get("on_completion").is_some(), "it goes on whether it came about or not");
    let command = |what: &str| step("action", what)["commands"][0]["command"].as_str().unwrap();
    assert!(command("block asks").starts_with("Block __source_ip__:value for a day?"));
    let wanted =
        "firewall_rule: rule_type block, source_ip __source_ip__:value, duration 24h. To undo it: take the address out";
    assert!(command("block").starts_with(wanted), "{}", command("block"));
    assert_eq!(document["playbook_variables"]["__source_ip__"]["external"], true);
    let asks = steps.values().filter(|step| step["name"].as_str().is_some_and(|name| name.starts_with("Ask before")));
    assert_eq!(asks.count(), 2);
    let target = step("action", "block")["targets"][0].as_str().unwrap();
    assert_eq!(document["target_definitions"][target]["address"], json!({"ip": ["__source_ip__:value"]}));
    let everything = export(&of_everything()).unwrap().document;
    let commands: Vec<_> = everything["workflow"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|s| s["commands"][0]["command"].as_str())
        .collect();
    assert!(commands.contains(&"POST /x/__user__:value?a=b HTTP/1.1"), "{commands:#?}");
}

#[test]
fn what_others_add_to_ours_is_kept_and_what_they_change_is_refused() {
    let brute = shipped().into_iter().find(|f| f.path.ends_with("brute_force_response.yml")).unwrap();
    let document = export(&brute).unwrap().document;
    let block = id_of("action", "brute_force_response", "block");
    let mut more = document.clone();
    more["labels"] = json!(["ours"]);
    more["name"] = json!("Another name");
    more["workflow"][&block]["owner"] = json!("identity--00000000-0000-4000-8000-000000000001");
    let back = imported(&more).unwrap();
    assert_eq!(says(&back.text)["name"], "Another name");
    assert_eq!(exported(&back), more);
    let changed = Imported { text: back.text.replace("24h", "12h"), ..back };
    let document_of_changed = export(&file(&changed.file_name, &changed.text)).unwrap();
    assert_eq!(document_of_changed.document["labels"], json!(["ours"]));
    assert_eq!(document_of_changed.document["workflow"][&block].get("owner"), None);
    assert!(document_of_changed.remarks[0].contains("was changed since"), "{:?}", document_of_changed.remarks);
    let mut wrong = document.clone();
    wrong["workflow"][&block]["commands"][0]["command"] = json!("do nothing");
    let told = imported(&wrong).unwrap_err();
    assert!(told.starts_with(&format!("`workflow.{block}.commands` was changed")), "{told}");
    let extension = format!("/playbook_extensions/{EXTENSION}");
    for (pointer, value, wanted) in [
        (format!("{extension}/playbook_id"), json!("../x"), "and should be lower-case letters"),
        (format!("{extension}/actions/0"), json!("bloc"), "no further step carries that action; did you mean `block`?"),
        (format!("{extension}/trigger"), json!(7), "says what is no playbook: `trigger` is the number 7"),
        ("/workflow_start".to_owned(), json!(block), "our extension knows of no other start"),
        (extension.clone(), json!([]), "is a list, and should be keys and values"),
        (
            format!("/workflow/{block}/step_extensions/{EXTENSION}/action/id"),
            json!("tell"),
            "a second action of the id `tell`",
        ),
        (
            format!("/workflow/{block}/step_extensions/{EXTENSION}/action/parameters/duration"),
            json!("1h"),
            "was changed",
        ),
        (format!("/workflow/{block}/step_extensions/{EXTENSION}"), json!({}), "should be an action with its `id`"),
    ] {
        let mut wrong = document.clone();
        *wrong.pointer_mut(&pointer).unwrap() = value;
        let told = imported(&wrong).unwrap_err();
        assert!(told.contains(wanted), "{pointer}: {told}");
    }
}

fn foreign() -> Value {
    let uuid = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let id = |kind: &str, n: u32| format!("{kind}--{}", uuid(n));
    json!({
        "type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 1), "name": "Clean *up*!",
        "created_by": id("identity", 1), "created": "2024-08-27T09:28:36.611Z", "modified": "2024-08-27T11:26:01.205Z",
        "description": "d".repeat(3_000), "x_odd": null, "labels": ["ü\u{2028}"],
        "workflow_start": id("start", 1), "workflow": {
            id("start", 1): {"type": "start", "on_completion": id("action", 1)},
            id("action", 1): {"type": "action", "name": "Look", "commands": [{"type": "bash", "command": "rm -rf /\nx"}],
                "agent": id("ssh", 1), "on_success": id("action", 2), "on_failure": id("end", 1)},
            id("action", 2): {"type": "action", "name": "look", "commands": [{"type": "manual", "command_b64": "eA=="}],
                "agent": id("ssh", 1), "on_completion": id("end", 1)},
            id("end", 1): {"type": "end"},
        },
        "agent_definitions": {id("ssh", 1): {"type": "ssh", "name": "host"}},
        "authentication_info_definitions": {},
    })
}

#[test]
fn those_of_others_are_refused_until_a_person_chose_and_come_back_equal() {
    let document = foreign();
    let back = imported(&document).unwrap();
    assert_eq!(
        (back.file_name.as_str(), back.unmapped.clone()),
        ("clean_up.yml", vec!["look".to_owned(), "look_2".to_owned()])
    );
    assert_eq!(exported(&back), document);
    assert_eq!(back.remarks, ["`x_odd` is nothing of CACAO 2.0, and is kept as it is"]);
    let written = file(&back.file_name, &back.text);
    let errors: Vec<_> = Playbook::read(&written).unwrap_err().into_iter().map(|e| e.to_string()).collect();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[0].ends_with("`trigger.condition` is empty"), "{errors:#?}");
    assert!(
        errors[1].contains("`actions.look.type` can not be `cacao_bash`; it is one of firewall_rule"),
        "{errors:#?}"
    );
    assert!(back.text.contains("; `bash`: `rm -rf /\u{fffd}x`; by `host`\n"), "{}", back.text);
    let chosen = back
        .text
        .replace("condition: \"\"", "condition: malware_detected")
        .replace("type: cacao_bash\n", "type: notification\n")
        .replacen("parameters: {}", "parameters: { channel: slack, message: m }", 1)
        .replace("type: cacao_manual\n", "type: collect_forensics\n")
        .replace("parameters: {}", "parameters: { target_host: web1 }");
    let chosen = export(&file(&back.file_name, &chosen)).unwrap_or_else(|errors| panic!("{errors:#?}\n{chosen}"));
    assert_eq!(chosen.document["labels"], document["labels"]);
    assert_eq!(chosen.document["id"], document["id"]);
    assert!(chosen.document["workflow"].get("start--00000000-0000-4000-8000-000000000001").is_none());
    let again = imported(&chosen.document).unwrap();
    assert_eq!(again.unmapped, [""; 0]);
    assert_eq!(exported(&again), chosen.document);
}

#[test]
fn what_does_not_matter_here_is_a_remark() {
    let mut odd = foreign();
    let look = "action--00000000-0000-4000-8000-000000000001";
    odd["agent_definitions"]["a-fin"] = json!({"type": "fin", "name": "n"});
    odd["workflow"][look]["agent"] = json!("a-fin");
    odd["workflow"][look]["commands"] = json!([{"type": "pong"}]);
    odd["workflow"][look]["name"] = json!("");
    odd["workflow_exception"] = json!("end--00000000-0000-4000-8000-000000000009");
    odd["authentication_info_definitions"] = json!({"x": {"password": "p"}});
    let back = imported(&odd).unwrap();
    assert_eq!((back.unmapped[0].as_str(), exported(&back)), ("pong", odd));
    for wanted in [
        "`agent_definitions.a-fin`: the key is",
        ".commands[0]` has neither",
        "`workflow_exception`: there is no step",
        "may hold secrets",
    ] {
        assert!(back.remarks.iter().any(|remark| remark.contains(wanted)), "{wanted}: {:#?}", back.remarks);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line for each mistake")]
fn what_is_wrong_is_told_with_its_path() {
    let look = "action--00000000-0000-4000-8000-000000000001";
    for (pointer, value, wanted) in [
        ("/type".to_owned(), json!("bundle"), "`type` is the text `bundle`, and should be `playbook`"),
        ("/spec_version".to_owned(), json!("1.1"), "`spec_version` is the text `1.1`, and should be `cacao-2.0`"),
        (
            "/id".to_owned(),
            json!("playbook--x"),
            "`id` is the text `playbook--x`, and should be an id, `playbook--UUID`",
        ),
        ("/created".to_owned(), json!("yesterday"), "and should be a time"),
        ("/workflow".to_owned(), json!([]), "`workflow` is a list, and should be steps by their ids"),
        ("/workflow".to_owned(), json!({}), "`workflow` has 0 steps; it should have 1 to"),
        (
            "/workflow_start".to_owned(),
            json!("start--00000000-0000-4000-8000-000000000002"),
            "`workflow_start` there is no step",
        ),
        ("/labels".to_owned(), json!([1]), "`labels` names the number 1, and should name texts"),
        (format!("/workflow/{look}/type"), json!("acton"), "can not be `acton`; did you mean `action`?"),
        (
            format!("/workflow/{look}/on_success"),
            json!(look),
            "the steps go in a circle, which only a while-condition may",
        ),
        (
            format!("/workflow/{look}/on_success"),
            json!("action--00000000-0000-4000-8000-000000000009"),
            "did you mean `action--0000",
        ),
        (
            format!("/workflow/{look}/agent"),
            json!("ssh--00000000-0000-4000-8000-000000000009"),
            ".agent` there is no definition of",
        ),
        (format!("/workflow/{look}/commands"), json!([]), ".commands` is empty"),
        (
            format!("/workflow/{look}/commands/0"),
            json!({"type": "bash", "command": 7}),
            ".commands[0].command` is the number 7, and should be a text",
        ),
        (
            "/agent_definitions/ssh--00000000-0000-4000-8000-000000000001/type".to_owned(),
            json!("linux"),
            "should be `ssh`, as its id says",
        ),
    ] {
        let mut wrong = foreign();
        *wrong.pointer_mut(&pointer).unwrap() = value;
        let told = imported(&wrong).unwrap_err();
        assert!(told.contains(wanted), "{pointer}: {told}");
    }
    let mut wrong = foreign();
    let steps = wrong.as_object_mut().unwrap().remove("workflow").unwrap();
    wrong["workflw"] = steps;
    assert!(imported(&wrong).unwrap_err().contains("`workflow` is missing; is `workflw` meant for it?"));
    let mut wrong = foreign();
    wrong["agent_definitions"]["ssh--00000000-0000-4000-8000-000000000001"]["contact"] =
        json!({"email": {"work": "a@b.c;`x`"}});
    assert!(
        imported(&wrong)
            .unwrap_err()
            .contains(".contact.email.work` is the text `a@b.c;`x``, and should be one e-mail")
    );
    let mut wrong = foreign();
    for n in 0..999 {
        wrong["agent_definitions"][format!("\u{7f}{n}")] = json!({"type": "x", "name": "n"});
    }
    wrong["workflow"][look]["agent"] = json!("gone");
    let told = imported(&wrong).unwrap_err();
    assert!(
        !told.contains('\u{7f}') && told.chars().count() < 700 && told.contains("there is no definition of `gone`"),
        "{told}"
    );
    let errors = import(&file("x.json", "{\n\"a\": 1,,}")).unwrap_err();
    assert_eq!((errors.len(), errors[0].line, errors[0].column), (1, 2, 8));
    assert!(imported(&json!(7)).unwrap_err().contains("`$` is the number 7"));
}

#[test]
fn what_is_kept_must_be_a_document() {
    let brute = shipped().remove(0);
    for (kept, wanted) in [
        ("cacao: 7\n", "`cacao` is the number 7"),
        ("cacao: {unchanged: x}\n", "`cacao.document` is missing"),
        ("cacao: {unchanged: x, document: 1}\n", "`cacao.document` is the number 1"),
        ("cacao: {unchanged: x, document: '', documnt: ''}\n", "did you mean `document`?"),
    ] {
        let errors = Playbook::read(&file("p.yml", &(brute.text.clone() + kept))).unwrap_err();
        assert!(errors[0].reason.contains(wanted), "{errors:?}");
    }
    let broken = file("p.yml", &(brute.text.clone() + "cacao: {unchanged: x, document: '{'}\n"));
    assert!(Playbook::read(&broken).is_ok(), "it is looked at only when it is exported");
    let errors = export(&broken).unwrap_err();
    assert!(errors[0].reason.starts_with("`cacao.document` is no JSON") && errors[0].line > 40, "{errors:?}");
}
