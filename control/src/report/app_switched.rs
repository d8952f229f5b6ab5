//! The reply to `mute --client` and `unmute --client` for people: which app, since when it holds, and how long it took.

use super::status::muted_app;
use super::{Page, when};
use crate::protocol::AppSwitched;

/// `switched` as text.
pub fn app_switched(switched: &AppSwitched, page: &Page) -> String {
    let mut out = String::new();
    let now = match (switched.app_muted, switched.changed) {
        (true, true) => "is muted, also when it comes back",
        (true, false) => "was muted already",
        (false, _) => "is not muted on its own any more",
    };
    for app in &switched.apps {
        page.lines(&mut out, "", "", &format!("{} {now}.", muted_app(app)));
    }
    let streams = match switched.clients.len() {
        0 => "no stream was connected".to_owned(),
        1 => "1 stream was moved".to_owned(),
        count => format!("{count} streams were moved"),
    };
    let took = when::took(switched.took_us);
    page.fact(&mut out, "", &format!("{streams}, after {took}"));
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples::{page, plain};
    use super::*;
    use crate::protocol::{AppliedToApp, SCHEMA};
    use truemute_core::observed::MutedApp;

    fn reply(app_muted: bool, changed: bool, clients: Vec<u64>) -> AppSwitched {
        AppSwitched {
            schema: SCHEMA,
            apps: vec![MutedApp {
                app: "firefox\u{1b}[2J".into(),
                executable: Some("/usr/lib/firefox/firefox".into()),
            }],
            app_muted,
            changed,
            applied: AppliedToApp::Moved,
            clients,
            took_us: 34_567,
        }
    }

    #[test]
    fn each_way() {
        let page = page(Some(80));
        let replies = [
            reply(true, true, vec![3, 4]),
            reply(true, false, Vec::new()),
            reply(false, true, vec![3]),
        ];
        let texts: Vec<_> = replies
            .iter()
            .map(|reply| plain(&app_switched(reply, &page)))
            .collect();
        insta::assert_snapshot!(texts.join("---\n"));
    }
}
