//! Counts what a step found: reads the lines of Rust's test runner (`cargo test` and test programs run by hand), given
//! `--show-output`. A test that cannot run on this machine prints "SKIPPED: reason" and returns, or "SKIPPED in part: reason"
//! and goes on; so no skip looks like a pass.

use crate::process::Ended;

/// What a step found. Skips carry their reason, so that none is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: Vec<Skip>,
    /// Names of what failed, as far as they are known.
    pub(crate) failures: Vec<String>,
    /// What failed first and passed when it was run again alone: a test, or the product, that a busy machine upsets.
    pub(crate) unsteady: Vec<String>,
    /// How many "test result:" lines were read: none means that no test program came to its end.
    pub(crate) results: usize,
    /// The test whose output is being read (the runner prints it under "---- NAME stdout ----").
    speaking: Option<String>,
    /// Tests of the running program that returned early, and that the runner will count as passed.
    returned_early: usize,
}

/// Something that this machine could not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) what: String,
    pub(crate) reason: String,
}

impl Tally {
    /// One check that passed.
    pub(crate) fn pass() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One check that failed.
    pub(crate) fn fail(what: impl Into<String>) -> Self {
        Self {
            failed: 1,
            failures: vec![what.into()],
            ..Self::default()
        }
    }

    /// One check: it passed if its command ended well.
    pub(crate) fn of(ended: Ended, what: &str) -> Self {
        if ended.ok() {
            Self::pass()
        } else {
            Self::fail(format!("{what}: {ended}"))
        }
    }

    /// One thing that could not be run here.
    pub(crate) fn skip(what: impl Into<String>, reason: impl Into<String>) -> Self {
        let skip = Skip {
            what: what.into(),
            reason: reason.into(),
        };
        Self {
            skipped: vec![skip],
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.failures.extend(other.failures);
        self.unsteady.extend(other.unsteady);
        self.results += other.results;
    }

    /// The tests to run again alone: those that failed, if all of them are known by name.
    pub(crate) fn to_try_again(&self) -> Option<Vec<String>> {
        (self.failed > 0 && self.failed == self.failures.len()).then(|| self.failures.clone())
    }

    /// Takes in how the failed ones did the second time, alone. They count as passed if all did, and are named.
    pub(crate) fn second_try(&mut self, second: &Self) {
        if second.failed == 0 && second.passed > 0 {
            self.passed += std::mem::take(&mut self.failed);
            self.unsteady.append(&mut self.failures);
        }
    }

    /// Reads one line of a test program's output.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.read_result(rest);
        } else if let Some(rest) = line.strip_prefix("test ") {
            self.read_test(rest);
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.speaking = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("SKIPPED") {
            self.read_skip(rest);
        }
    }

    // ": the reason", when the whole test could not be run; " in part: the reason", when the rest of it passed.
    fn read_skip(&mut self, rest: &str) {
        let Some(name) = &self.speaking else { return };
        let skip = if let Some(reason) = rest.strip_prefix(": ") {
            self.returned_early += 1;
            Skip {
                what: name.clone(),
                reason: reason.to_owned(),
            }
        } else if let Some(reason) = rest.strip_prefix(" in part: ") {
            Skip {
                what: format!("part of {name}"),
                reason: reason.to_owned(),
            }
        } else {
            return;
        };
        if !self.skipped.contains(&skip) {
            self.skipped.push(skip);
        }
    }

    // "ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s"
    fn read_result(&mut self, rest: &str) {
        let number = |word: &str| -> usize {
            rest.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
                .next()
                .unwrap_or(0)
        };
        self.results += 1;
        self.passed += number("passed").saturating_sub(std::mem::take(&mut self.returned_early));
        self.speaking = None;
        self.failed += number("failed");
        // The ignored ones are taken from their own lines, which have the reason.
    }

    // "gate::tests::name ... ok", "name ... FAILED", "name ... ignored, needs sound hardware"
    fn read_test(&mut self, rest: &str) {
        let Some((name, outcome)) = rest.split_once(" ... ") else {
            return;
        };
        if outcome.starts_with("FAILED") {
            self.failures.push(name.to_owned());
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason = if reason.is_empty() {
                "marked as ignored without a reason"
            } else {
                reason
            };
            self.skipped.push(Skip {
                what: name.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn a_second_try_counts_and_is_named() {
        let first = read(
            "test a::c ... FAILED\ntest result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(first.to_try_again(), Some(vec!["a::c".to_owned()]));
        let again = |output: &str| {
            let mut tally = first.clone();
            tally.second_try(&read(output));
            (tally.passed, tally.failed, tally.unsteady)
        };
        let ok = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out\n";
        assert_eq!(again(ok), (3, 0, vec!["a::c".to_owned()]));
        let failed =
            "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out\n";
        assert_eq!(again(failed), (2, 1, vec![]));
        assert_eq!(again(""), (2, 1, vec![]));
    }

    #[test]
    fn counts_over_several_programs() {
        let tally = read(
            "running 3 tests\n\
             test a::b ... ok\n\
             test a::c ... FAILED\n\
             test a::d ... ignored, needs sound hardware\n\
             \n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s\n\
             running 20 tests\n\
             test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        );
        assert_eq!((tally.passed, tally.failed, tally.results), (21, 1, 2));
        assert_eq!(tally.failures, ["a::c"]);
        let skip = Skip {
            what: "a::d".into(),
            reason: "needs sound hardware".into(),
        };
        assert_eq!(tally.skipped, [skip]);
    }

    #[test]
    fn what_a_test_prints_is_no_result() {
        let tally = read("the test result: ok. 5 passed\ntesting ... ok");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_skip_that_a_test_reports_is_no_pass() {
        let tally = read(
            "test firefox ... ok\n\
             test ramp ... ok\n\
             SKIPPED: said by nobody\n\
             successes:\n\
             ---- firefox stdout ----\n\
             SKIPPED: firefox-esr is not installed\n\
             ---- ramp stdout ----\n\
             SKIPPED in part: no root\n\
             SKIPPED in part: no root\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        assert_eq!((tally.passed, tally.failed, tally.skipped.len()), (2, 0, 2));
        assert_eq!(tally.skipped[0].reason, "firefox-esr is not installed");
        assert_eq!(tally.skipped[1].what, "part of ramp");
    }
}
