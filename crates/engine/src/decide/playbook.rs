//! A playbook as it is once it has been read and checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{Confidence, OnTimeout, Severity, Threat};

use super::condition::Condition;
use super::context::{Template, Variable};
use super::verb::{Kind, Risk, Verb};
use super::{graph, load};
use crate::content::{ContentError, ContentFile};
use crate::limits;

/// The playbooks in force.
#[derive(Clone, Debug, Default)]
pub struct Playbooks(BTreeMap<String, Playbook>);

impl Playbooks {
    /// Compiles playbook files. A bad one is left out and named in `refused`, with everything that is wrong
    /// with it. Files in a folder `cases` are the playbooks' tests and are passed over.
    #[must_use]
    pub fn compile(files: &[&ContentFile], refused: &mut Vec<ContentError>) -> Playbooks {
        let mut playbooks = BTreeMap::new();
        for file in files.iter().filter(|f| !f.path.split('/').any(|folder| folder == "cases")) {
            let whole = |reason: String| ContentError { path: file.path.clone(), line: 0, column: 0, reason };
            let playbook = match Playbook::read(file) {
                Ok(playbook) => playbook,
                Err(errors) => {
                    refused.extend(errors);
                    continue;
                }
            };
            if playbooks.contains_key(&playbook.id) {
                refused.push(whole(format!("another file already is the playbook `{}`", playbook.id)));
            } else if playbooks.len() == limits::PLAYBOOKS_MAX {
                refused.push(whole(format!("is one more than the {} playbooks that are kept", limits::PLAYBOOKS_MAX)));
            } else {
                playbooks.insert(playbook.id.clone(), playbook);
            }
        }
        Playbooks(playbooks)
    }

    /// Every playbook, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Playbook> {
        self.0.values()
    }

    /// The playbook of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Playbook> {
        self.0.get(id)
    }
}

/// What to do about a class of threat, written down beforehand.
///
/// Invariant: it was checked. Its actions come after those that they depend on, every `${…}` in it is one of
/// its context requirements, and what can not be undone needs a person.
#[derive(Clone, Debug)]
pub struct Playbook {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) condition: Condition,
    /// The condition as it was written.
    pub(super) condition_text: String,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    pub(super) needs: BTreeSet<Variable>,
    pub(super) actions: Vec<Action>,
    pub(super) rollback: BTreeSet<RollbackOn>,
}

/// One action of a playbook.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) id: String,
    pub(super) line: u64,
    pub(super) verb: Verb,
    pub(super) settings: Vec<Setting>,
    /// What would undo it, in words; `None` if nothing does.
    pub(super) inverse: Option<String>,
    /// How long it lasts; `None` of what is over at once.
    pub(super) lease_s: Option<u64>,
    /// The question that must be answered first.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) depends_on: Vec<String>,
    pub(super) success_criteria: Vec<String>,
    pub(super) timeout_s: u64,
    pub(super) retries: u64,
    pub(super) on_failure: OnFailure,
}

/// One parameter of an action, as it is to be filled.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) value: Template,
}

/// A person's word before an action.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) prompt: Template,
    pub(super) timeout_s: u64,
    pub(super) on_timeout: OnTimeout,
}

/// What becomes of the steps that depend on one that did not come about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnFailure {
    /// They are left out; what does not depend on it goes on.
    #[default]
    Stop,
    /// They go on as if it had come about.
    Continue,
    /// The whole run is taken back.
    Rollback,
}

/// What takes a run back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RollbackOn {
    /// A person judged the threat to be nothing, or allowed.
    FalsePositiveConfirmed,
    /// A person took one of its containments back.
    ManualOverride,
}

/// A playbook in short, for lists and for `vertice playbook check`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PlaybookSummary {
    /// Its file name without the ending.
    pub playbook_id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// When it is due, as it was written.
    pub condition: String,
    /// How bad a threat must be.
    pub severity_threshold: Severity,
    /// How sure it must be, in percent.
    pub confidence_threshold_percent: u8,
    /// What the threat must tell.
    pub context_requirements: Vec<String>,
    /// Its actions, each after those that it depends on.
    pub actions: Vec<ActionSummary>,
}

/// An action in short.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ActionSummary {
    /// Its id.
    pub action_id: String,
    /// Its type.
    pub action_type: String,
    /// How much harm it can do: `none`, `low`, `medium`, `high`.
    pub risk: String,
    /// Whether a person is asked first.
    pub hotl_required: bool,
    /// What would undo it; `None` if nothing does.
    pub inverse: Option<String>,
    /// How long it lasts; `None` of what is over at once.
    pub lease_s: Option<u64>,
    /// What it comes after.
    pub depends_on: Vec<String>,
}

impl Playbook {
    /// Reads and checks one file. The errors are in the order of the lines.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line; at most [`limits::PLAYBOOK_ERRORS_MAX`].
    pub fn read(file: &ContentFile) -> Result<Playbook, Vec<ContentError>> {
        let mut errors = Vec::new();
        let read = load::playbook(file, &mut errors);
        if let Some(mut playbook) = read
            && errors.is_empty()
        {
            match graph::ordered(playbook.actions) {
                Ok(actions) => {
                    playbook.actions = actions;
                    return Ok(playbook);
                }
                Err((line, reason)) => errors.push(ContentError { path: file.path.clone(), line, column: 0, reason }),
            }
        }
        errors.sort_by_key(|error| error.line);
        errors.truncate(limits::PLAYBOOK_ERRORS_MAX);
        Err(errors)
    }

    /// Its file name without the ending.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It in short.
    #[must_use]
    pub fn summary(&self) -> PlaybookSummary {
        PlaybookSummary {
            playbook_id: self.id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            condition: self.condition_text.clone(),
            severity_threshold: self.severity,
            confidence_threshold_percent: self.confidence.percent(),
            context_requirements: self.needs.iter().map(|v| v.name().to_owned()).collect(),
            actions: self.actions.iter().map(Action::summary).collect(),
        }
    }

    /// Whether it is due for a threat as it stands.
    #[must_use]
    pub fn is_due(&self, threat: &Threat) -> bool {
        threat.severity >= self.severity && threat.confidence >= self.confidence && self.condition.holds(threat)
    }

    /// Whether a person is asked before this action.
    #[must_use]
    pub fn asks(&self, action_id: &str) -> bool {
        self.actions.iter().any(|action| action.id == action_id && action.checkpoint.is_some())
    }

    /// What it must know and this threat does not tell.
    pub(super) fn missing(&self, threat: &Threat) -> BTreeSet<Variable> {
        self.needs.iter().filter(|v| v.of(threat).is_none()).copied().collect()
    }
}

impl Action {
    fn summary(&self) -> ActionSummary {
        ActionSummary {
            action_id: self.id.clone(),
            action_type: self.verb.as_str().to_owned(),
            risk: self.risk().as_str().to_owned(),
            hotl_required: self.checkpoint.is_some(),
            inverse: self.inverse.clone(),
            lease_s: self.lease_s,
            depends_on: self.depends_on.clone(),
        }
    }

    fn risk(&self) -> Risk {
        self.verb.declares().risk
    }
}
