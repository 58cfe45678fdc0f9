//! Processing pipelines: how the rules of one world are made to fit the events of another, in the YAML that pySigma
//! reads. They are applied to a rule before it is compiled.
//!
//! Read are `name`, `priority`, `vars` and `transformations`; each of these has an `id`, a `type` with what belongs to
//! it, and conditions on the rule, on an item of its selections and on a field's name. What pySigma does to queries
//! (`postprocessing`, `finalizers`, query expressions) has no meaning here and is refused.
//!
//! Where this differs from pySigma: values are taken as they are written in the rule, escapes included; a mapping to
//! several fields makes a selection a list of maps; and a rule whose selection loses all its items is refused.

mod condition;
mod read;
mod transformation;
mod values;
mod work;

use crate::error::{Refused, RuleError};
use crate::limits;
use crate::pipeline::condition::{OfField, OfItem, OfRule, When};
use crate::pipeline::read::Map;
use crate::pipeline::transformation::Transformation;
use crate::pipeline::values::Vars;
use crate::pipeline::work::{Item, Work};
use crate::rule::LogSource;
use crate::yaml::{self, Kind, Node};

/// A processing pipeline.
pub struct Pipeline {
    /// What it is called; empty if it has no name.
    pub name: String,
    /// Of several pipelines the one with the lowest is applied first.
    pub priority: i64,
    /// The file it was read from.
    pub path: String,
    vars: Vars,
    steps: Vec<Step>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({}, {}, {} transformations)", self.path, self.priority, self.steps.len())
    }
}

/// A transformation and when it is done.
struct Step {
    id: Option<String>,
    what: Transformation,
    rule: When<OfRule>,
    item: When<OfItem>,
    field: When<OfField>,
}

impl Pipeline {
    /// Reads a pipeline file.
    ///
    /// # Errors
    /// What is unknown or wrong, where, and what was meant.
    pub fn read(path: &str, text: &str) -> Result<Pipeline, RuleError> {
        let refused = |refused: Refused| RuleError {
            path: path.to_owned(),
            line: refused.line.number,
            column: refused.line.column,
            reason: refused.reason,
        };
        let mut documents = yaml::read(text).into_iter();
        let first = documents.next().unwrap_or_else(|| Err(Refused::new(1, "nothing; a pipeline is meant")));
        let pipeline = first.and_then(|node| Pipeline::of(path, &node)).map_err(refused)?;
        match documents.next() {
            None => Ok(pipeline),
            Some(Err(error)) => Err(refused(error)),
            Some(Ok(node)) => {
                Err(refused(Refused::new(node.line, "a second document; one pipeline in a file is meant")))
            }
        }
    }

    fn of(path: &str, node: &Node) -> Result<Pipeline, Refused> {
        let mut map = Map::new(node, "pipeline")?;
        let name = map.take("name").and_then(Node::written).unwrap_or_default().to_owned();
        let priority = match map.take("priority").map(|node| &node.kind) {
            None => 0,
            Some(Kind::Int(priority, _)) => *priority,
            Some(_) => return Err(map.refuse("priority", "a whole number")),
        };
        let vars = if map.take("vars").is_some() { map.mapping("vars")? } else { Vec::new() };
        // Which query languages it is for says nothing here.
        map.take("allowed_backends");
        let Some(transformations) = map.take("transformations") else {
            return Err(map.refuse("transformations", "a list"));
        };
        let items = match &transformations.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Null => &[],
            Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::Map(_) => {
                return Err(map.refuse("transformations", "a list"));
            }
        };
        if items.len() > limits::TRANSFORMATIONS_MAX {
            let reason = format!("more than {} transformations", limits::TRANSFORMATIONS_MAX);
            return Err(Refused::new(transformations.line, reason));
        }
        let steps = items.iter().map(Step::read).collect::<Result<_, _>>()?;
        map.finish()?;
        Ok(Pipeline { name, priority, path: path.to_owned(), vars: vars.into_iter().collect(), steps })
    }
}

impl Step {
    fn read(node: &Node) -> Result<Step, Refused> {
        let mut map = Map::new(node, "transformations")?;
        let id = map.take("id").is_some().then(|| map.text("id")).transpose()?;
        let what = Transformation::read(&mut map)?;
        let keys = |sort: &str| ["conditions", "cond_op", "cond_not", "cond_expr"].map(|what| format!("{sort}_{what}"));
        let (rule, item, field) = (keys("rule"), keys("detection_item"), keys("field_name"));
        let step = Step {
            id,
            what,
            rule: When::read(&mut map, rule.each_ref().map(String::as_str), OfRule::read)?,
            item: When::read(&mut map, item.each_ref().map(String::as_str), OfItem::read)?,
            field: When::read(&mut map, field.each_ref().map(String::as_str), OfField::read)?,
        };
        map.finish()?;
        Ok(step)
    }

    fn apply(&self, work: &mut Work, vars: &Vars, number: usize) -> Result<(), Refused> {
        if !self.rule.holds(|condition| condition.holds(work)) {
            return Ok(());
        }
        if self.what.is_of_items() {
            self.items(work, vars)?;
            self.names(work)?;
        } else {
            self.what.of_rule(work, number)?;
        }
        work.applied.extend(self.id.clone());
        Ok(())
    }

    fn items(&self, work: &mut Work, vars: &Vars) -> Result<(), Refused> {
        let selections = std::mem::take(&mut work.selections);
        let mut changing = work.with(selections);
        let result = changing.each(&mut |item: Item| {
            let wanted = self.item.holds(|condition| condition.holds(&item, work))
                && self.field.holds(|condition| condition.holds(&item.field, Some(&item), work));
            if !wanted {
                return Ok(vec![item]);
            }
            let (mut items, changed) = self.what.of_item(item, vars)?;
            if changed {
                items.iter_mut().for_each(|item| item.applied.extend(self.id.clone()));
            }
            Ok(items)
        });
        work.selections = changing.selections;
        result
    }

    /// Renames the fields that stand elsewhere than before a value: those that `fieldref` names, and those of
    /// correlations.
    fn names(&self, work: &mut Work) -> Result<(), Refused> {
        let named = |field: &str, line| -> Result<Option<String>, Refused> {
            let wanted = self.field.holds(|condition| condition.holds(field, None, work));
            match self.what.names(field).filter(|_| wanted).as_deref() {
                None => Ok(None),
                Some([name]) => Ok(Some(name.clone())),
                Some(_) => {
                    let reason =
                        format!("a pipeline makes several fields of `{field}`, of which none can be chosen here");
                    Err(Refused::new(line, reason))
                }
            }
        };
        let mut renames = Vec::new();
        for (number, item) in work.items().iter().enumerate().filter(|(_, item)| item.has("fieldref")) {
            for text in item.texts() {
                if let Some(name) = named(text, item.line)? {
                    renames.push((number, text.to_owned(), name));
                }
            }
        }
        let correlation = match work.document.get("correlation") {
            Some(node) => Some(work::renamed(node, &named)?),
            None => None,
        };
        let mut number = 0;
        work.each(&mut |mut item| {
            let mine: Vec<_> = renames.iter().filter(|(of, ..)| *of == number).collect();
            number += 1;
            values::each_text(&mut item.value, &mut |text| {
                mine.iter().find(|(_, from, _)| from == text).map(|(_, _, to)| vec![to.clone()])
            });
            Ok(vec![item])
        })?;
        if let (Some(node), Some(correlation)) = (work.document.get_mut("correlation"), correlation) {
            *node = correlation;
        }
        Ok(())
    }
}

/// Applies pipelines to a document, by their priority; `over` are the log sources of the rules that a correlation is
/// over.
pub(crate) fn apply(pipelines: &[Pipeline], document: Node, over: Vec<LogSource>) -> Result<Node, Refused> {
    if pipelines.is_empty() {
        return Ok(document);
    }
    let mut order: Vec<&Pipeline> = pipelines.iter().collect();
    order.sort_by(|a, b| (a.priority, &a.path).cmp(&(b.priority, &b.path)));
    let Some(mut work) = Work::new(document.clone(), over) else { return Ok(document) };
    let mut number = 0;
    for pipeline in order {
        for step in &pipeline.steps {
            number += 1;
            step.apply(&mut work, &pipeline.vars, number)?;
        }
    }
    work.finish()
}
