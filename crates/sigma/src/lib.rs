//! Sigma 2.1 as a language: parse, compile, match, correlate. Pure: no I/O, no clock, no threads.
//!
//! ```
//! use vertice_sigma::{Event, RuleSet, Source, Value};
//!
//! struct Line<'l>(&'l [(&'l str, &'l str)]);
//! impl Event for Line<'_> {
//!     fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
//!         self.0.iter().filter(|(field, _)| *field == name).for_each(|(_, value)| visit(Value::Text(value)));
//!     }
//!     fn values<'a>(&'a self, visit: &mut dyn FnMut(Value<'a>)) {
//!         self.0.iter().for_each(|(_, value)| visit(Value::Text(value)));
//!     }
//! }
//!
//! let rule = "
//! title: An encoded command
//! logsource: {category: process_creation, product: windows}
//! detection:
//!   selection: {Image|endswith: '\\powershell.exe', CommandLine|contains|windash: ' -enc '}
//!   condition: selection
//! ";
//! let (rules, refused) = RuleSet::compile([("encoded.yml", rule)]);
//! assert!(refused.is_empty());
//! let event = Line(&[("Image", r"C:\Windows\PowerShell.exe"), ("CommandLine", "powershell /enc aQBlAHgA")]);
//! let source = Source { category: Some("process_creation"), product: Some("windows"), service: None };
//! let matches = rules.matches(&event, [source]);
//! assert_eq!(rules.rule(matches[0]).title, "An encoded command");
//! assert_eq!(rules.explain(matches[0], &event)[0].value, r"C:\Windows\PowerShell.exe");
//! ```

mod atom;
mod condition;
mod correlation;
mod correlator;
mod detection;
mod document;
mod encode;
mod error;
mod event;
mod explain;
pub mod limits;
mod modifier;
mod pattern;
mod route;
mod rule;
mod set;
mod time;
pub mod yaml;

pub use correlator::{Correlator, Fired};
pub use detection::Placeholders;
pub use error::RuleError;
pub use event::{Event, Source, Value};
pub use explain::Matched;
pub use rule::{Level, LogSource, Related, Rule, RuleIndex, Status};
pub use set::RuleSet;
