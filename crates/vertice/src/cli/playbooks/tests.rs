//! What is shown of playbooks. What the commands do with files is proved on the running binary.

use serde_json::json;

use super::*;
use crate::cli::output::Format;
use crate::cli::output::tests::printed;

#[test]
fn what_is_in_force_is_shown_by_what_is_known_of_it() {
    let p = json!({"playbook_id": "p", "name": "P", "version": "1.0", "condition": "malware_detected", "severity_threshold": "high",
        "confidence_threshold_percent": 80, "actions": [{"action_id": "a", "action_type": "notify", "depends_on": ["b"]}]});
    let text = printed(Format::Table, |out| out.table(&playbook_table(std::slice::from_ref(&p))));
    assert_eq!(text, "ID  VERSION  FROM  SURE  DUE ON            DOES\np   1.0      high  80 %  malware_detected  a\n");
    let text = printed(Format::Table, |out| playbook(&p, out));
    assert!(text.contains("high, 80 % sure") && text.contains("1. a  notify\n   depends on  b\n"), "{text}");
}
