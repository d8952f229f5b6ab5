//! A list of checks and what came of each: the face of `truemute doctor`, and of the proofs at the end of `truemute demo`.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Page, clean};

/// What came of a check, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but not as well as it could; or could not be checked.
    Doubtful,
    /// Does not work.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What came of it.
    pub verdict: Verdict,
    /// What was found: one sentence.
    pub what: String,
    /// What to do about it: one sentence; nothing if all is well.
    pub remedy: Option<String>,
}

/// `findings` as text, with a summary as the last line.
pub fn findings(findings: &[Finding], page: &Page) -> String {
    const WORD: usize = 9;
    let mut out = String::new();
    for finding in findings {
        let (word, style) = shown(finding.verdict);
        let first = format!("{style}{word}{style:#}{}", " ".repeat(WORD - word.len()));
        page.lines(
            &mut out,
            &first,
            &" ".repeat(WORD),
            &clean(&finding.what, 2000),
        );
        if let Some(remedy) = &finding.remedy {
            let next = " ".repeat(WORD);
            page.lines(&mut out, &next, &next, &clean(remedy, 2000));
        }
    }
    let count = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (good, doubtful, bad) = (
        count(Verdict::Good),
        count(Verdict::Doubtful),
        count(Verdict::Bad),
    );
    let _ = writeln!(out, "\n{bad} wrong, {doubtful} doubtful, {good} good");
    out
}

fn shown(verdict: Verdict) -> (&'static str, Style) {
    let bold = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
    match verdict {
        Verdict::Good => ("good", Style::new()),
        Verdict::Doubtful => ("doubtful", bold(AnsiColor::Yellow)),
        Verdict::Bad => ("WRONG", bold(AnsiColor::Red)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{page, plain};
    use super::*;

    fn finding(verdict: Verdict, what: &str, remedy: Option<&str>) -> Finding {
        Finding {
            verdict,
            what: what.into(),
            remedy: remedy.map(Into::into),
        }
    }

    #[test]
    fn each_finding_with_its_remedy_and_a_summary() {
        let list = [
            finding(Verdict::Good, "PipeWire 1.4.2 answers.", None),
            finding(
                Verdict::Doubtful,
                "The daemon has no real-time priority, so that a busy machine may lose cycles.",
                Some("Install rtkit, then log in again."),
            ),
            finding(
                Verdict::Bad,
                "No real microphone was found.\n\u{1b}[32mgood",
                Some("Plug one in."),
            ),
        ];
        insta::assert_snapshot!(plain(&findings(&list, &page(Some(60)))));
    }
}
