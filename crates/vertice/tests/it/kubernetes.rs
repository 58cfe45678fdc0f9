//! The manifests of `deploy/kubernetes`: that they fit each other, the API and the image.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::compose::{is_read, pinned};
use crate::prometheus::{deploy, yaml};

fn manifest(name: &str) -> Value {
    yaml(&format!("kubernetes/{name}.yaml"))
}

#[test]
fn all_manifests_are_applied_and_belong_together() {
    let files = vertice_testkit::files_below(&deploy().join("kubernetes"), ".yaml");
    let names = files.iter().filter_map(|f| f.file_name()?.to_str()?.strip_suffix(".yaml"));
    let names: BTreeSet<&str> = names.filter(|name| *name != "kustomization").collect();
    let kustomization = manifest("kustomization");
    let applied =
        kustomization["resources"].as_array().unwrap().iter().filter_map(|r| r.as_str()?.strip_suffix(".yaml"));
    let applied: BTreeSet<&str> = applied.collect();
    assert_eq!(names.difference(&applied).copied().collect::<Vec<_>>(), ["secret.example"]);
    assert!(applied.is_subset(&names));
    let label = json!({ "app.kubernetes.io/name": "vertice" });
    for name in &names {
        let of = manifest(name);
        assert!(of["apiVersion"].is_string() && of["kind"].is_string(), "{name}");
        assert_eq!((&of["metadata"]["name"], &of["metadata"]["labels"]), (&json!("vertice"), &label), "{name}");
    }
    let deployment = manifest("deployment");
    for selects in [
        &deployment["spec"]["selector"]["matchLabels"],
        &deployment["spec"]["template"]["metadata"]["labels"],
        &manifest("service")["spec"]["selector"],
        &manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"],
        &manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(*selects, label);
    }
    let image = &kustomization["images"][0];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let named = format!("{}:{}", image["name"].as_str().unwrap(), image["newTag"].as_str().unwrap());
    assert_eq!(container["image"], named);
    assert!(pinned(&named) && named.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{named}");
    // Others go on while one is taken away.
    assert_eq!(manifest("poddisruptionbudget")["spec"]["maxUnavailable"], 1);
    assert!(deployment["spec"]["replicas"].as_u64().is_some_and(|n| n > 1));
}

#[test]
fn probes_ask_what_the_api_answers_without_a_key() {
    let api = std::fs::read_to_string(vertice_testkit::root().join("docs/openapi.json")).unwrap();
    let api: Value = serde_json::from_str(&api).unwrap();
    let pod = manifest("deployment")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let port = container["ports"][0]["containerPort"].clone();
    for (probe, path) in [("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        let asks = &container[probe]["httpGet"];
        assert_eq!((&asks["path"], &asks["port"]), (&json!(path), &json!("http")), "{probe}");
        assert!(api["paths"][path]["get"].is_object(), "{path} is not in the API");
    }
    let settings = manifest("configmap")["data"].clone();
    assert_eq!(settings["VERTICE_SERVER_OPEN_PROBES"], "true", "or /ready would need a key");
    assert_eq!(settings["VERTICE_SERVER_LISTEN"], format!("0.0.0.0:{port}"));
    let service = manifest("service")["spec"]["ports"][0].clone();
    assert_eq!((&service["port"], &service["targetPort"]), (&port, &json!("http")));
    assert_eq!(manifest("networkpolicy")["spec"]["ingress"][0]["ports"][0]["port"], port);
}

#[test]
fn pods_may_do_nothing_and_their_settings_are_read() {
    let pod = manifest("deployment")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let wanted = json!({ "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "seccompProfile": { "type": "RuntimeDefault" } });
    assert_eq!(pod["securityContext"], wanted, "what the restricted level of Kubernetes asks for");
    let wanted = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] } });
    assert_eq!(container["securityContext"], wanted);
    assert!(container["resources"]["limits"]["memory"].is_string());
    let settings = manifest("configmap")["data"].clone();
    let secrets = manifest("secret.example")["stringData"].clone();
    for (name, value) in settings.as_object().unwrap().iter().chain(secrets.as_object().unwrap()) {
        assert!(value.is_string() && is_read(name), "nothing reads {name}: {value}");
    }
    assert!(secrets.as_object().unwrap().values().all(|value| value == ""), "a secret is written down");
    for name in ["KEY", "PASSWORD"] {
        assert!(!settings.to_string().contains(name), "a secret is among the settings");
    }
}
