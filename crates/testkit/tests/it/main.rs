//! The house rules, as an ordinary test.

#[cfg(test)]
mod house_rules;
