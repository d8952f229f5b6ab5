//! Which endpoints are the virtual mic: those of TrueMute's adapter, by the name that Windows gives it.

use truemute_agent::system::Role;

/// What the INF calls the adapter, of which the endpoint's name is made ("Microphone (TrueMute)").
const ADAPTER: &str = "TrueMute";

/// What an endpoint of this adapter (`PKEY_DeviceInterface_FriendlyName`) is to TrueMute. Windows puts a number before the name of
/// an adapter that it takes for another one than before: "2- TrueMute".
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has endpoints"))]
pub(crate) fn role(adapter: &str) -> Role {
    let numbered = adapter.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let name = match numbered.strip_prefix("- ") {
        Some(name) if numbered.len() < adapter.len() => name,
        _ => adapter,
    };
    match name.starts_with(ADAPTER) {
        true => Role::VirtualMic,
        false => Role::RealMic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_mic_is_known_also_by_a_name_with_a_number() {
        for ours in ["TrueMute", "2- TrueMute", "13- TrueMute"] {
            assert_eq!(role(ours), Role::VirtualMic, "{ours}");
        }
        for other in [
            "Realtek Audio",
            "2- USB Audio",
            "- TrueMute",
            "My TrueMute",
            "2-",
            "",
        ] {
            assert_eq!(role(other), Role::RealMic, "{other}");
        }
    }
}
