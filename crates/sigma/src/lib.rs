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
//!     fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
//!         self.0.iter().for_each(|(field, value)| visit(field, Value::Text(value)));
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
//!
//! # What is in it
//!
//! Tests are in `tests/it`.
//!
//! | feature | test |
//! |---|---|
//! | text, numbers and truth values, without case | `language::plain_values_compare_without_case_and_as_decimal_text` |
//! | `null`, absent fields, the empty text | `language::null_is_absent_and_empty_is_present` |
//! | `*`, `?` and their escapes | `language::wildcards_and_escapes` |
//! | `contains`, `startswith`, `endswith` | `language::contains_startswith_endswith` |
//! | `all`, `any` | `language::all_wants_every_value_and_any_one` |
//! | `cased` | `language::cased_minds_case` |
//! | `neq` | `language::neq_is_none_of_the_values` |
//! | `re` with `i`, `m`, `s` | `language::regular_expressions_and_their_flags` |
//! | `cidr` | `language::cidr_of_both_families` |
//! | `base64`, `base64offset` | `language::base64_and_its_offsets` |
//! | `wide`, `utf16le`, `utf16be`, `utf16` | `language::utf16_in_every_form` |
//! | `windash` | `language::windash_takes_every_dash_for_an_option` |
//! | `exists` | `language::exists_asks_for_the_field` |
//! | `fieldref` | `language::fieldref_compares_two_fields` |
//! | `expand` | `language::expand_fills_placeholders` |
//! | `gt`, `gte`, `lt`, `lte` | `language::numbers_compare` |
//! | `minute`, `hour`, `day`, `week`, `month`, `year` | `language::parts_of_a_time_compare` |
//! | keywords, also under modifiers | `language::keywords_search_every_value` |
//! | maps and lists of maps | `language::lists_of_maps_are_alternatives_and_maps_are_not` |
//! | conditions: `and`, `or`, `not`, `1 of`, `all of`, `N of`, `them`, lists | `language::conditions_bind_and_count` |
//! | log sources | `language::a_rule_is_for_its_log_source` |
//! | collections: documents, `action` | `language::collections_share_what_is_global` |
//! | filters | `language::filters_lie_over_the_rules_they_name` |
//! | what a rule says about itself, custom attributes, explanations | `correlations::a_rule_says_all_about_itself` |
//! | why a rule matches an event, or does not | `verdicts::*` |
//! | `event_count`, `value_count`, `temporal`, also with an expression over its rules, `temporal_ordered`, `value_sum`, `value_avg`, `value_median`, `value_percentile` | `windows::every_stream_fires_what_counting_anew_fires` |
//! | `group-by`, `timespan`, `aliases`, `generate`, correlations over correlations | `correlations::event_count_fires_once_within_its_timespan` and those after it |
//! | late events | `windows::any_order_of_any_kind_fires_what_order_fires`, `correlations::late_events_take_their_place` |
//! | bounded state | `windows::too_many_events_are_taken_from_the_correlation_that_holds_most`, `windows::a_full_group_counts_what_it_still_holds` |
//! | what a rule hardly means | `lints::*` |
//! | processing pipelines, their transformations and conditions | `pipelines::*` |
//! | all of it against a slow second implementation | `oracle::the_crate_agrees_with_the_oracle` |
//! | events from JSON, checked as `serde_json` checks them | `json::agrees_with_serde_json` |
//! | public rules and cases | `conformance::every_public_rule_compiles`, `conformance::every_public_case_fires_its_rule` |
//! | what cannot be meant is refused | `refusals::*` |
//! | what is hostile is refused early | `hostile::*`, `refusals::hostile_files_end_early` |
//! | no file makes it panic | `mutation::mutated_rule_files_never_panic` |
//!
//! # Where the specification leaves a choice
//!
//! - A field that is an empty list is as good as absent; one that is null is absent for `null` and there for `exists`.
//! - `neq` is the opposite of the same item without it: none of the values, and an absent field differs.
//! - Regular expressions run in linear time, so look-around and back-references are refused.
//! - Base64 is found without regard to case, as all text is; `cased` minds it.
//! - A network that holds an IPv4 address holds it also where it is written as `::ffff:10.0.0.1`.
//! - A time without an offset is UTC.
//! - A condition on a count is asked whenever a match comes in, so `lt` fires with the first.
//! - `temporal_ordered` takes events of the same time for events in order: many logs know seconds only.
//! - `value_percentile` compares the percentile that `percentile` names, in whole percent, and the median without it;
//!   between two amounts it is interpolated linearly. Amounts are exact to nine places, and what is no number does not
//!   count.
//! - A `value_sum` with `gt` or `gte` is answered at once, which in every order is the same answer as long as no amount is
//!   negative.

mod amount;
mod atom;
mod column;
mod condition;
mod correlation;
mod correlator;
mod detection;
mod document;
mod encode;
mod ends;
mod error;
mod event;
mod explain;
mod group;
mod index;
pub mod json;
pub mod limits;
mod lint;
mod literal;
mod matcher;
mod memo;
mod modifier;
mod pattern;
mod pipeline;
mod ranks;
mod route;
mod rule;
mod set;
mod time;
mod verdict;
mod waiting;
mod window;
mod witness;
pub mod yaml;

pub use correlator::{Bounds, Correlator, Fired};
pub use detection::Placeholders;
pub use error::RuleError;
pub use event::{Event, Source, Value, unescape};
pub use explain::Matched;
pub use lint::lint;
pub use matcher::Matcher;
pub use pipeline::Pipeline;
pub use rule::{Level, LogSource, Related, Rule, RuleIndex, Status};
pub use set::{Compilation, RuleSet};
pub use verdict::{Asked, Verdict};
pub use waiting::Waiting;
