//! Who has been warned of: each app that gets the real mic's sound past TrueMute is worth one warning, however often it comes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::backend::SHOWN_AS;
use truemute_core::observed::{Bypass, Snapshot};

/// Apps that are warned of one by one. Names come from strangers, who could make up as many as they like.
const APPS_AT_MOST: usize = 16;

/// The apps that were warned of since the daemon started: by name and by executable, so that nobody goes unnoticed by taking the
/// name of another program.
#[derive(Debug, Default)]
pub(super) struct Warned(BTreeSet<(String, Option<PathBuf>)>);

impl Warned {
    /// The warnings that a look gives reason to, as sentences.
    pub(super) fn news(&mut self, look: &Snapshot) -> Vec<String> {
        let mut news = Vec::new();
        for bypass in &look.bypasses {
            let app = (bypass.who.app.clone(), bypass.who.executable.clone());
            if self.0.len() > APPS_AT_MOST || !self.0.insert(app) {
                continue;
            }
            news.push(if self.0.len() > APPS_AT_MOST {
                "Still more apps got the real microphone's sound past TrueMute. `truemute stats` has them all.".into()
            } else {
                warning(bypass)
            });
        }
        news
    }
}

fn warning(bypass: &Bypass) -> String {
    let pid = bypass
        .who
        .pid
        .map_or(String::new(), |pid| format!(" (pid {pid})"));
    format!(
        "{:?}{pid} gets the sound of {:?} past TrueMute, muted or not. Choose {SHOWN_AS} in it, or list it in trusted_processors.",
        bypass.who.app, bypass.real_mic
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bypass_tests::bypass;
    use crate::store::tests::snapshot;

    #[test]
    fn who_takes_the_name_of_another_program_is_warned_of_too() {
        let mut warned = Warned::default();
        let mut look = snapshot(1, 0, &[]);
        let mut other = bypass(2);
        other.who.executable = Some("/tmp/other".into());
        look.bypasses = vec![bypass(1), other];
        assert_eq!(look.bypasses[0].who.app, look.bypasses[1].who.app);
        assert_eq!(warned.news(&look).len(), 2);
    }

    #[test]
    fn each_app_is_warned_of_once_and_a_crowd_not_for_ever() {
        let mut warned = Warned::default();
        let mut look = snapshot(1, 0, &[]);
        look.bypasses = vec![bypass(1), bypass(2)];
        assert_eq!(warned.news(&look).len(), 1);
        assert!(warned.news(&look).is_empty());
        look.bypasses = (0..100)
            .map(|id| {
                let mut one = bypass(id);
                one.who.app = format!("app {id}");
                one
            })
            .collect();
        let news = warned.news(&look);
        assert_eq!(news.len(), APPS_AT_MOST);
        assert!(news.last().is_some_and(|last| last.contains("Still more")));
        assert!(warned.news(&look).is_empty());
    }
}
