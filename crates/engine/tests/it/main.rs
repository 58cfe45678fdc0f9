//! What the engine does with content and with real input.

#[cfg(test)]
mod cacao;
#[cfg(test)]
mod mapped;
#[cfg(test)]
mod mutated;
#[cfg(test)]
mod normalize;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod routed;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod told;
#[cfg(test)]
mod triage;
