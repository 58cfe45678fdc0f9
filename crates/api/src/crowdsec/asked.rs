//! What a bouncer asks for. What is not known here is passed over, as CrowdSec does: newer bouncers send more.

use std::net::IpAddr;

use axum::http::Uri;
use ipnet::IpNet;
use serde::Deserialize;

use super::{Decision, ORIGIN, SCOPE};
use crate::problem::Problem;

/// The parameters of the stream.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read from the query by name")]
pub(crate) struct StreamParams {
    /// Whether the bouncer begins, and is to be told everything that holds.
    startup: Option<bool>,
    /// Decisions of these scopes, with commas between them; there are none but `Ip`.
    scopes: Option<String>,
    /// Decisions from these origins, with commas between them; all are from `crowdsec`.
    origins: Option<String>,
    /// Decisions whose scenario has one of these words in it, with commas between them.
    scenarios_containing: Option<String>,
    /// Decisions whose scenario has none of these words in it.
    scenarios_not_containing: Option<String>,
}

/// The parameters of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what is read from the query by name")]
pub(crate) struct ListParams {
    /// About this address, or all of this range.
    ip: Option<String>,
    /// About all of this range, or with `contains=false` anything within it.
    range: Option<String>,
    /// `false`: what lies within what is asked for, and not what contains it.
    contains: Option<bool>,
    /// Of this scope; there are none but `Ip`.
    scope: Option<String>,
    /// About exactly this.
    value: Option<String>,
    /// Of this type: `ban` or `throttle`.
    r#type: Option<String>,
    /// As `scope`, several with commas between them.
    scopes: Option<String>,
    /// Decisions from these origins, with commas between them; all are from `crowdsec`.
    origins: Option<String>,
    /// Decisions whose scenario has one of these words in it, with commas between them.
    scenarios_containing: Option<String>,
    /// Decisions whose scenario has none of these words in it.
    scenarios_not_containing: Option<String>,
}

/// Which decisions are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wanted {
    scopes: Option<Vec<String>>,
    origins: Option<Vec<String>>,
    containing: Option<Vec<String>>,
    not_containing: Option<Vec<String>>,
    kind: Option<String>,
    value: Option<String>,
    within: Option<Within>,
}

/// Which addresses are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Within {
    /// Those of decisions that hold all of this.
    Holding(IpNet),
    /// Those that lie in this.
    Inside(IpNet),
}

/// What is asked of the stream.
pub(crate) fn stream(uri: &Uri) -> Result<(bool, Wanted), Problem> {
    let given = Given::of(uri)?;
    Ok((given.truth("startup")?.unwrap_or(false), given.wanted()))
}

/// What is asked of the list.
pub(crate) fn list(uri: &Uri) -> Result<Wanted, Problem> {
    let given = Given::of(uri)?;
    let contains = given.truth("contains")?.unwrap_or(true);
    let mut wanted = given.wanted();
    for name in ["ip", "range"] {
        let Some(text) = given.text(name) else { continue };
        let net = net(text).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Problem::bad_request(format!("{name}: {shown:?} is neither an address nor a range"))
        })?;
        wanted.within = Some(if contains { Within::Holding(net) } else { Within::Inside(net) });
    }
    if let Some(scope) = given.text("scope") {
        wanted.scopes = Some(words(scope));
    }
    wanted.kind = given.text("type").map(str::to_lowercase);
    wanted.value = given.text("value").map(str::to_lowercase);
    Ok(wanted)
}

fn net(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let address = text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    address.or_else(|| text.parse::<IpNet>().ok().map(|net| net.trunc()))
}

impl Wanted {
    /// The one address that is asked about, if it is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.within? {
            Within::Holding(net) | Within::Inside(net) => {
                (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
            }
        }
    }

    /// Whether a decision is wanted.
    pub(crate) fn takes(&self, decision: &Decision) -> bool {
        let named = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|word| word.eq_ignore_ascii_case(name)))
        };
        let scenario = decision.scenario.to_lowercase();
        let has = |words: &Vec<String>| words.iter().any(|word| scenario.contains(word.as_str()));
        let within = match self.within {
            None => true,
            Some(Within::Holding(net)) => IpNet::from(decision.value).contains(&net),
            Some(Within::Inside(net)) => net.contains(&decision.value),
        };
        within
            && named(&self.scopes, SCOPE)
            && named(&self.origins, ORIGIN)
            && self.containing.as_ref().is_none_or(has)
            && !self.not_containing.as_ref().is_some_and(has)
            && self.kind.as_ref().is_none_or(|kind| *kind == format!("{:?}", decision.remedy).to_lowercase())
            && self.value.as_ref().is_none_or(|value| *value == decision.value.to_string())
    }
}

/// The query, as it was given.
struct Given(Vec<(String, String)>);

impl Given {
    fn of(uri: &Uri) -> Result<Given, Problem> {
        let bad = |e: axum::extract::rejection::QueryRejection| Problem::bad_request(e.body_text());
        Ok(Given(axum::extract::Query::try_from_uri(uri).map_err(bad)?.0))
    }

    /// The first value of a name.
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn truth(&self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" | "" => Ok(Some(false)),
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(Problem::bad_request(format!("{name}: {shown:?} is neither true nor false")))
            }
        }
    }

    fn wanted(&self) -> Wanted {
        // An empty list is none: clients send what they were not told as nothing.
        let list = |name: &str| self.text(name).map(words).filter(|words| !words.is_empty());
        Wanted {
            scopes: list("scopes"),
            origins: list("origins"),
            containing: list("scenarios_containing"),
            not_containing: list("scenarios_not_containing"),
            ..Wanted::default()
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use vertice_model::Timestamp;

    use super::*;
    use crate::crowdsec::standing::tests::containment;
    use crate::crowdsec::{Standing, pull, standing};

    fn found(query: &str, read: impl Fn(&Uri) -> Result<Wanted, Problem>) -> Vec<String> {
        let now: Timestamp = "2026-03-01T12:30:00Z".parse().unwrap();
        let mut all = Standing::new();
        for address in ["203.0.113.9", "203.0.113.77", "2001:db8::9"] {
            standing::add(&mut all, &containment(address, serde_json::json!({})), now);
        }
        let wanted = read(&format!("/v1/decisions?{query}").parse().unwrap()).unwrap();
        let decisions = pull::decisions(&all, now);
        decisions.iter().filter(|d| wanted.takes(d)).map(|d| d.value.to_string()).collect()
    }

    #[test]
    fn a_list_is_of_what_was_asked_for() {
        for (query, wanted) in [
            ("ip=203.0.113.9", vec!["203.0.113.9"]),
            ("ip=::ffff:203.0.113.9", vec!["203.0.113.9"]),
            ("ip=203.0.113.9&banned=true", vec!["203.0.113.9"]),
            ("ip=203.0.113.10", vec![]),
            ("ip=2001:DB8:0::9", vec!["2001:db8::9"]),
            ("range=203.0.113.9/32", vec!["203.0.113.9"]),
            ("range=203.0.113.0/24", vec![]),
            ("range=203.0.113.5/26&contains=false", vec!["203.0.113.9"]),
            ("range=203.0.113.0/24&contains=false", vec!["203.0.113.9", "203.0.113.77"]),
            ("scope=ip&value=203.0.113.77", vec!["203.0.113.77"]),
            ("scope=Range", vec![]),
            ("type=ban&scope=IP&ip=2001:db8::9", vec!["2001:db8::9"]),
            ("type=captcha", vec![]),
            ("origins=cscli,CAPI", vec![]),
            ("origins=cscli,crowdsec&ip=203.0.113.9", vec!["203.0.113.9"]),
            ("scenarios_containing=ssh,Vertice/&value=203.0.113.9", vec!["203.0.113.9"]),
            ("scenarios_containing=ssh", vec![]),
            ("scenarios_not_containing=ssh,VERTICE", vec![]),
            ("scopes=&origins=&scenarios_not_containing=ssh&ip=203.0.113.9", vec!["203.0.113.9"]),
        ] {
            assert_eq!(found(query, list), wanted, "{query}");
        }
    }

    #[test]
    fn the_stream_is_of_what_was_asked_for() {
        let startup = |query: &str| stream(&format!("/v1/decisions/stream?{query}").parse().unwrap()).map(|(s, _)| s);
        for (query, wanted) in [("", false), ("startup=true", true), ("startup=False", false), ("startup=1&x=1", true)]
        {
            assert_eq!(startup(query).unwrap(), wanted, "{query}");
        }
        assert!(startup("startup=maybe").unwrap_err().detail.contains("\"maybe\" is neither true nor false"));
        let wanted = |uri: &Uri| stream(uri).map(|(_, wanted)| wanted);
        assert_eq!(found("scopes=ip,range", wanted).len(), 3);
        assert_eq!(found("scopes=country", wanted).len(), 0);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for query in ["ip=", "ip=x", "range=203.0.113.0/33", "range=203.0.113.0-9"] {
            let problem = list(&format!("/v1/decisions?{query}").parse().unwrap()).unwrap_err();
            assert!(problem.detail.ends_with("is neither an address nor a range"), "{}", problem.detail);
        }
    }
}
