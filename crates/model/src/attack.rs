//! ATT&CK techniques and tactics, as Sigma tags and the contract write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// An ATT&CK technique or sub-technique id, such as `T1110` or `T1110.001`.
///
/// Invariant: `T` and four digits, optionally a dot and three digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[schema(value_type = String, pattern = r"^T\d{4}(\.\d{3})?$", example = "T1110.001")]
pub struct Technique(String);

/// A text that is no technique id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no ATT&CK technique id such as T1110 or T1110.001")]
pub struct TechniqueError(String);

impl Technique {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Technique {
    type Err = TechniqueError;

    fn from_str(text: &str) -> Result<Technique, TechniqueError> {
        let id = text.to_ascii_uppercase();
        let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let valid = match id.strip_prefix('T').map(|rest| rest.split_once('.').unwrap_or((rest, "000"))) {
            Some((parent, sub)) => digits(parent, 4) && digits(sub, 3),
            None => false,
        };
        if valid { Ok(Technique(id)) } else { Err(TechniqueError(text.chars().take(32).collect())) }
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Technique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Technique, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An ATT&CK enterprise tactic: a stage of the kill chain, ordered as the matrix is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are ATT&CK's own")]
pub enum Tactic {
    Reconnaissance,
    ResourceDevelopment,
    InitialAccess,
    Execution,
    Persistence,
    PrivilegeEscalation,
    DefenseEvasion,
    CredentialAccess,
    Discovery,
    LateralMovement,
    Collection,
    CommandAndControl,
    Exfiltration,
    Impact,
}

/// Each tactic, its ATT&CK id, and its name in Sigma tags and STIX kill-chain phases.
const TACTICS: [(Tactic, &str, &str); 14] = [
    (Tactic::Reconnaissance, "TA0043", "reconnaissance"),
    (Tactic::ResourceDevelopment, "TA0042", "resource-development"),
    (Tactic::InitialAccess, "TA0001", "initial-access"),
    (Tactic::Execution, "TA0002", "execution"),
    (Tactic::Persistence, "TA0003", "persistence"),
    (Tactic::PrivilegeEscalation, "TA0004", "privilege-escalation"),
    (Tactic::DefenseEvasion, "TA0005", "defense-evasion"),
    (Tactic::CredentialAccess, "TA0006", "credential-access"),
    (Tactic::Discovery, "TA0007", "discovery"),
    (Tactic::LateralMovement, "TA0008", "lateral-movement"),
    (Tactic::Collection, "TA0009", "collection"),
    (Tactic::CommandAndControl, "TA0011", "command-and-control"),
    (Tactic::Exfiltration, "TA0010", "exfiltration"),
    (Tactic::Impact, "TA0040", "impact"),
];

impl Tactic {
    /// Every tactic, in the order of the matrix.
    pub fn all() -> impl Iterator<Item = Tactic> {
        TACTICS.into_iter().map(|(tactic, _, _)| tactic)
    }

    /// The name in a Sigma tag or a STIX kill-chain phase, such as `credential-access`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        TACTICS[self as usize].2
    }

    /// The ATT&CK id, such as `TA0006`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        TACTICS[self as usize].1
    }

    /// Reads `credential-access`, and the older `credential_access`.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Tactic> {
        let wanted = slug.replace('_', "-");
        Tactic::all().find(|t| t.as_str() == wanted)
    }
}

impl fmt::Display for Tactic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn technique_ids_are_checked() {
        for (text, id) in [("t1110", "T1110"), ("T1059.001", "T1059.001")] {
            assert_eq!(text.parse::<Technique>().unwrap().as_str(), id);
        }
        for text in ["", "T", "T111", "T11100", "T1110.1", "T1110.0011", "S0002", "1110", "T1110.00x"] {
            assert!(text.parse::<Technique>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Technique>("\"G0007\"").is_err());
        assert_eq!(serde_json::from_str::<Technique>("\"T1110\"").unwrap().to_string(), "T1110");
    }

    #[test]
    fn tactics_are_in_kill_chain_order_and_read_both_spellings() {
        assert!(Tactic::InitialAccess < Tactic::LateralMovement && Tactic::LateralMovement < Tactic::Exfiltration);
        assert_eq!(Tactic::from_slug("credential_access"), Some(Tactic::CredentialAccess));
        assert_eq!(Tactic::from_slug("credential-access").map(Tactic::id), Some("TA0006"));
        assert_eq!(Tactic::from_slug("stealth"), None);
        for (i, tactic) in Tactic::all().enumerate() {
            assert_eq!(tactic as usize, i);
            assert_eq!(serde_json::to_string(&tactic).unwrap(), format!("\"{tactic}\""));
        }
    }
}
