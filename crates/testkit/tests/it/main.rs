//! The house rules, as an ordinary test.

mod house_rules;
