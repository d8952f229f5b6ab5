//! Which real mic is captured: the first of the wished-for ones that is there, or else the default. Pure.

use crate::system::Input;

/// What is wished for and allowed. Both hold UIDs, in which a trailing `*` stands for any ending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The most wanted first.
    pub wanted: Vec<String>,
    /// The only ones that may be captured; any if absent.
    pub allowed: Option<Vec<String>>,
}

/// The real mic to capture. `default` is the last default input that was not TrueMute's own device. Without a wish that is
/// there and without a default that is there, the first one that may be captured. Never a device that hears TrueMute.
pub fn choose<'a>(
    inputs: &'a [Input],
    wishes: &Wishes,
    default: Option<&str>,
) -> Option<&'a Input> {
    let may = |input: &&Input| {
        let allowed = wishes.allowed.as_ref();
        !input.is_ours()
            && allowed.is_none_or(|allowed| allowed.iter().any(|one| matches(one, &input.uid)))
    };
    let of = |pattern: &String| {
        inputs
            .iter()
            .filter(may)
            .find(|input| matches(pattern, &input.uid))
    };
    let default = || {
        inputs
            .iter()
            .filter(may)
            .find(|input| default == Some(&input.uid))
    };
    let wanted = wishes.wanted.iter().find_map(of);
    wanted.or_else(default).or_else(|| inputs.iter().find(may))
}

fn matches(pattern: &str, uid: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => uid.starts_with(start),
        None => pattern == uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Role;

    fn input(uid: &str, role: Role) -> Input {
        Input {
            uid: uid.into(),
            name: uid.into(),
            role,
            has_output: false,
            rate: 48_000,
        }
    }

    #[test]
    fn the_first_wish_that_is_there_then_the_default_then_any() {
        let inputs = [
            input("ours", Role::VirtualMic),
            input("loop", Role::HearsVirtualMic),
            input("built-in", Role::RealMic),
            input("usb-1", Role::RealMic),
            input("usb-2", Role::RealMic),
        ];
        for (wanted, allowed, default, chosen) in [
            (&["gone", "usb-*"][..], None, None, Some("usb-1")),
            (&["usb-2", "usb-1"], None, Some("built-in"), Some("usb-2")),
            (&["gone"], None, Some("usb-2"), Some("usb-2")),
            (&[], None, None, Some("built-in")),
            (&[], None, Some("gone"), Some("built-in")),
            // Never ourselves, by whatever name.
            (
                &["ours", "loop", "ou*"],
                None,
                Some("ours"),
                Some("built-in"),
            ),
            (&[], None, Some("loop"), Some("built-in")),
            // The policy.
            (
                &["usb-1"],
                Some(&["usb-2"][..]),
                Some("usb-1"),
                Some("usb-2"),
            ),
            (&[], Some(&["u*"]), Some("built-in"), Some("usb-1")),
            (&[], Some(&[]), Some("built-in"), None),
        ] {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let wishes = Wishes {
                wanted: owned(wanted),
                allowed: allowed.map(owned),
            };
            let found = choose(&inputs, &wishes, default).map(|input| input.uid.as_str());
            assert_eq!(found, chosen, "{wishes:?} {default:?}");
        }
    }
}
