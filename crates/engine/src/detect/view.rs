//! How a rule sees an event.

use vertice_model::{Event, Value};
use vertice_sigma::Value as Seen;

/// An event as the rule language sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'e>(pub &'e Event);

impl vertice_sigma::Event for View<'_> {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Seen<'a>)) {
        if let Some(value) = self.0.fields.get(name) {
            show(value, visit);
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Seen<'a>)) {
        for (name, value) in self.0.fields.iter() {
            show(value, &mut |value| visit(name, value));
        }
    }
}

/// Shows a value; a list value by value. Lists nest no deeper than the mapping let them.
fn show<'a>(value: &'a Value, visit: &mut dyn FnMut(Seen<'a>)) {
    match value {
        Value::Null => visit(Seen::Null),
        Value::Bool(b) => visit(Seen::Bool(*b)),
        Value::Int(n) => visit(Seen::Int(*n)),
        Value::Float(x) => visit(Seen::Float(*x)),
        Value::Text(text) => visit(Seen::Text(text)),
        Value::List(values) => values.iter().for_each(|value| show(value, visit)),
    }
}
