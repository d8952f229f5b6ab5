//! The reply to `mute`, `unmute` and `toggle` for people: what is true now, from which sample on, and how long it took.

use super::words::{self, Shown};
use super::{Page, clean, when};
use crate::protocol::{AppliedHow, Status, Switched};

/// `switched` as text. With a `status` from just afterwards it says what the gate means to apps now.
pub fn switched(switched: &Switched, status: Option<&Status>, page: &Page) -> String {
    let shown = Shown::from(switched.gate);
    let meaning = match status {
        Some(status) if status.gate == switched.gate => words::meaning(status),
        _ => shown.meaning().into(),
    };
    let mut out = shown.headline(&meaning, page);
    page.fact(&mut out, "", &sentence(switched));
    out
}

/// How it took effect, in one line.
pub(crate) fn sentence(switched: &Switched) -> String {
    let took = when::took(switched.took_us);
    let effect = match (&switched.applied, &switched.clock, switched.position) {
        (AppliedHow::Cycle, Some(clock), Some(position)) => {
            format!(
                "from frame {position} of clock {} on, after {took}",
                clean(clock, 40)
            )
        }
        (AppliedHow::Cycle, _, _) => format!("applied in a cycle, after {took}"),
        (AppliedHow::Idle, _, _) => {
            format!("applied while idle (no sound was running), after {took}")
        }
    };
    if switched.changed {
        effect
    } else {
        format!("it was so already; {effect}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{page, plain, switched_at};
    use super::switched;
    use crate::protocol::GateState;

    #[test]
    fn in_a_cycle() {
        let reply = switched_at(GateState::Muted, Some(123_456));
        insta::assert_snapshot!(plain(&switched(&reply, None, &page(Some(80)))));
    }

    #[test]
    fn while_idle() {
        let reply = switched_at(GateState::Live, None);
        insta::assert_snapshot!(plain(&switched(&reply, None, &page(None))));
    }

    #[test]
    fn while_there_is_no_mic() {
        let reply = switched_at(GateState::Live, None);
        let mut status = super::super::samples::live();
        status.real_mic.state = truemute_core::observed::MicState::Missing;
        let said = plain(&switched(&reply, Some(&status), &page(None)));
        assert!(said.contains("no real microphone was found"), "{said}");
        // Somebody else muted in between.
        status.gate = GateState::Muted;
        let said = plain(&switched(&reply, Some(&status), &page(None)));
        assert!(said.contains("LIVE"), "{said}");
    }

    #[test]
    fn already_so() {
        let mut reply = switched_at(GateState::Muted, None);
        reply.changed = false;
        insta::assert_snapshot!(plain(&switched(&reply, None, &page(Some(40)))));
    }
}
