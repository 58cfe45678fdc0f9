//! Why there is no answer.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::limits;

/// Why there is no answer: what happened, and what the provider said of it.
///
/// Nothing secret is in it: the provider's words are stripped of keys and of control characters, and cut short.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}{}", said(.words))]
pub struct Error {
    /// What happened.
    pub why: Why,
    /// The provider's own words, which may be an attacker's; empty when it said nothing.
    pub words: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What happened to a question without an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// It was not asked.
    Skipped(Skip),
    /// It can not be asked so.
    Unfit(Unfit),
    /// No connection, or one that broke. Trying again may help.
    Connection(Broken),
    /// There was no answer in time.
    Late,
    /// The provider wants fewer questions (429), and said for how long. Trying again then may help.
    TooMany(Option<Duration>),
    /// The provider failed (5xx, 408). Trying again may help.
    Failed(u16),
    /// The key is not accepted (401, 403).
    Denied(u16),
    /// The provider can not take the question as it is (4xx).
    Rejected(u16),
    /// The provider wants the question sent elsewhere, which is not done: the key would go there too.
    Redirected(u16),
    /// The answer is larger than any can be.
    TooLarge,
    /// The answer has not the shape that the provider's answers have.
    Malformed,
    /// The model's answer is not JSON, or does not fit the schema.
    WrongShape,
    /// The model's answer was cut at the most tokens it may have, and is not whole JSON.
    CutShort,
    /// The model declined to answer.
    Declined,
    /// The recordings have no answer to it.
    NotRecorded,
}

/// Why a question was not asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// No model is configured.
    NoModel,
    /// The tokens of the hour are spent.
    TokensOfHour,
    /// The tokens of the day are spent.
    TokensOfDay,
    /// The money of the hour is spent.
    MoneyOfHour,
    /// The money of the day is spent.
    MoneyOfDay,
    /// The provider failed so often that it is left alone for a while.
    CircuitOpen,
    /// Its time was over before its turn came.
    Expired,
}

/// Why a question can not be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Its texts are longer than [`limits::REQUEST_BYTES_MAX`].
    TooLong,
    /// It asks for no tokens, or more than [`limits::OUTPUT_TOKENS_MAX`].
    Tokens,
    /// Its temperature is not from 0 to 2.
    Temperature,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// The host's name is not known.
    UnknownHost,
    /// Nothing went out.
    NotMade,
    /// TLS could not be agreed on, or the certificate is not trusted. Trying again does not help.
    Untrusted,
    /// It broke after the question went out, which the provider may bill.
    Cut,
}

impl Error {
    pub(crate) fn new(why: Why) -> Error {
        Error { why, words: String::new(), attempts: 0 }
    }

    /// Whether asking again later may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self.why {
            Why::Connection(Broken::Untrusted) => false,
            Why::Connection(_) | Why::TooMany(_) | Why::Failed(_) | Why::Late | Why::Skipped(_) => true,
            Why::Unfit(_) | Why::Denied(_) | Why::Rejected(_) | Why::Redirected(_) | Why::TooLarge => false,
            Why::Malformed | Why::WrongShape | Why::CutShort | Why::Declined | Why::NotRecorded => false,
        }
    }

    /// Whether the provider may have worked for it, so that it is billed.
    pub(crate) fn may_cost(&self) -> bool {
        match self.why {
            Why::Connection(broken) => broken == Broken::Cut,
            Why::Late | Why::TooLarge | Why::Malformed => true,
            Why::WrongShape | Why::CutShort | Why::Declined => true,
            Why::Skipped(_) | Why::Unfit(_) | Why::NotRecorded | Why::TooMany(_) => false,
            Why::Failed(_) | Why::Denied(_) | Why::Rejected(_) | Why::Redirected(_) => false,
        }
    }

    /// One word for counting.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.why {
            Why::Skipped(skip) => skip.word(),
            Why::Unfit(_) => "unfit",
            Why::Connection(_) => "connection",
            Why::Late => "late",
            Why::TooMany(_) => "too_many",
            Why::Failed(_) => "failed",
            Why::Denied(_) => "denied",
            Why::Rejected(_) => "rejected",
            Why::Redirected(_) => "redirected",
            Why::TooLarge => "too_large",
            Why::Malformed => "malformed",
            Why::WrongShape => "wrong_shape",
            Why::CutShort => "cut_short",
            Why::Declined => "declined",
            Why::NotRecorded => "not_recorded",
        }
    }
}

impl Skip {
    /// One word for counting.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Skip::NoModel => "no_model",
            Skip::TokensOfHour => "tokens_of_hour",
            Skip::TokensOfDay => "tokens_of_day",
            Skip::MoneyOfHour => "money_of_hour",
            Skip::MoneyOfDay => "money_of_day",
            Skip::CircuitOpen => "circuit_open",
            Skip::Expired => "expired",
        }
    }
}

impl From<Skip> for Error {
    fn from(skip: Skip) -> Error {
        Error::new(Why::Skipped(skip))
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; it says: {words}") }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Skipped(skip) => write!(f, "it was not asked: {skip}"),
            Why::Unfit(Unfit::TooLong) => write!(f, "the question is over {} bytes", limits::REQUEST_BYTES_MAX),
            Why::Unfit(Unfit::Tokens) => {
                write!(f, "the question asks for no tokens, or for more than {}", limits::OUTPUT_TOKENS_MAX)
            }
            Why::Unfit(Unfit::Temperature) => f.write_str("the temperature is not from 0 to 2"),
            Why::Connection(Broken::UnknownHost) => f.write_str("the host's name is not known"),
            Why::Connection(Broken::NotMade) => f.write_str("there is no connection"),
            Why::Connection(Broken::Untrusted) => f.write_str("the connection can not be trusted"),
            Why::Connection(Broken::Cut) => f.write_str("the connection broke before the answer was whole"),
            Why::Late => f.write_str("there was no answer in time"),
            Why::TooMany(Some(after)) => write!(f, "too many questions (429); again in {} s", after.as_secs()),
            Why::TooMany(None) => f.write_str("too many questions (429)"),
            Why::Failed(status) => write!(f, "the provider failed ({status})"),
            Why::Denied(status) => write!(f, "the key is not accepted ({status})"),
            Why::Rejected(status) => write!(f, "the provider does not take the question ({status})"),
            Why::Redirected(status) => write!(f, "the provider wants it sent elsewhere ({status}), which is not done"),
            Why::TooLarge => write!(f, "the answer is over {} bytes", limits::ANSWER_BYTES_MAX),
            Why::Malformed => f.write_str("this is no answer of such a provider"),
            Why::WrongShape => f.write_str("the model's answer does not fit the schema"),
            Why::CutShort => f.write_str("the model's answer was cut at its limit of tokens"),
            Why::Declined => f.write_str("the model declined to answer"),
            Why::NotRecorded => f.write_str("there is no recording of it"),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::NoModel => "no model is configured",
            Skip::TokensOfHour => "the tokens of this hour are spent",
            Skip::TokensOfDay => "the tokens of this day are spent",
            Skip::MoneyOfHour => "the money of this hour is spent",
            Skip::MoneyOfDay => "the money of this day is spent",
            Skip::CircuitOpen => "the provider failed too often and is left alone for a while",
            Skip::Expired => "its time was over before its turn came",
        })
    }
}
