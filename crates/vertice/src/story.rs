//! Scenarios: what sensors write one after another, with times that are put in when they are played.

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use vertice_model::Timestamp;

use crate::content;

/// The attack that is built in.
const DEMO: &str = "demo/attack.yml";

/// Lines of sensors, in the order of time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// What it is about.
    pub title: String,
    /// What is written.
    pub lines: Vec<Line>,
}

/// One line of a sensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Seconds since the story began.
    pub after_s: u64,
    /// The line, with the places where its time goes.
    pub line: String,
    /// What the storyteller says before it.
    pub say: Option<String>,
    /// Whether it is background.
    #[serde(default)]
    pub benign: bool,
}

impl Story {
    /// The attack that is built in.
    ///
    /// # Errors
    /// When it is not built in as it should be.
    pub fn demo() -> Result<Story> {
        let text = content::built_in_file(DEMO).with_context(|| format!("{DEMO} is not built in"))?;
        Story::parse(text).with_context(|| DEMO.to_owned())
    }

    /// A story that is written down in YAML.
    ///
    /// # Errors
    /// When something of it is unknown, missing, or not in the order of time.
    pub fn parse(text: &str) -> Result<Story> {
        let story: Story = serde_saphyr::from_str(text).map_err(|e| anyhow!("{e}"))?;
        match story.lines.windows(2).find(|two| two[1].after_s < two[0].after_s) {
            Some(two) => Err(anyhow!("`after_s: {}` comes after `after_s: {}`", two[1].after_s, two[0].after_s)),
            None => Ok(story),
        }
    }

    /// How long it takes, in seconds.
    pub fn length_s(&self) -> u64 {
        self.lines.last().map_or(0, |l| l.after_s)
    }
}

impl Line {
    /// The line of a story that began then, with its time in the forms that sensors write.
    pub fn filled(&self, began: Timestamp) -> String {
        fill(&self.line, began.plus_seconds(self.after_s))
    }
}

/// Puts the event's time in.
fn fill(line: &str, at: Timestamp) -> String {
    if !line.contains("{{") {
        return line.to_owned();
    }
    let Ok(instant) = jiff::Timestamp::from_microsecond(at.as_micros()) else { return line.to_owned() };
    let time = instant.to_zoned(jiff::tz::TimeZone::UTC);
    let forms = [
        ("{{syslog}}", "%b %e %H:%M:%S"),
        ("{{rfc3339}}", "%Y-%m-%dT%H:%M:%S.000Z"),
        ("{{epoch}}", "%s.000"),
        ("{{eve}}", "%Y-%m-%dT%H:%M:%S.000000+0000"),
        ("{{clf}}", "%d/%b/%Y:%H:%M:%S +0000"),
    ];
    forms.iter().fold(line.to_owned(), |line, (name, form)| line.replace(name, &time.strftime(form).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_in_as_sensors_write_them() {
        let at = "2026-03-02T09:00:00Z".parse().unwrap();
        for (form, written) in [
            ("{{syslog}}", "Mar  2 09:00:00"),
            ("{{rfc3339}}", "2026-03-02T09:00:00.000Z"),
            ("{{epoch}}", "1772442000.000"),
            ("{{eve}}", "2026-03-02T09:00:00.000000+0000"),
            ("{{clf}}", "02/Mar/2026:09:00:00 +0000"),
            ("none", "none"),
        ] {
            assert_eq!(fill(form, at), written);
        }
    }

    #[test]
    fn what_is_written_wrongly_is_refused() {
        assert!(Story::demo().unwrap().length_s() > 0);
        for (text, wanted) in [
            ("title: x\nlines:\n  - {after_s: 1, lien: a}\n", "lien"),
            ("title: x\nline: []\n", "line"),
            ("title: x\nlines:\n  - {after_s: 5, line: a}\n  - {after_s: 4, line: b}\n", "`after_s: 4` comes after"),
        ] {
            let error = format!("{:#}", Story::parse(text).unwrap_err());
            assert!(error.contains(wanted), "{text:?} gave {error:?}");
        }
    }
}
