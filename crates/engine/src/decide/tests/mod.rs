//! Stories about decide.

mod brief;

pub(in crate::decide) use brief::{start, threat};

use super::{Change, Playbooks, Policy, Responses};
use crate::content::ContentFile;

#[test]
fn smoke() {
    let text = "name: a\nversion: '1'\ntrigger: {condition: brute_force_detected}\ncontext_requirements: [source_ip]\nactions:\n  - id: slow\n    type: firewall_rule\n    parameters: {rule_type: rate_limit, source_ip: '${source_ip}', limit: 5/minute, duration: 1h}\n";
    let file = ContentFile { path: "playbooks/a.yml".into(), text: text.into() };
    let mut refused = Vec::new();
    let playbooks = Playbooks::compile(&[&file], &mut refused);
    assert_eq!(refused, []);
    let mut r = Responses::default();
    let changes =
        r.consider(start(), &threat("brute_force_detected high 0.9 ip=203.0.113.9"), &playbooks, &Policy::default());
    assert!(matches!(&changes[..], [Change::Run(_), Change::Containment(_)]), "{changes:#?}");
}
