//! The user's configuration file: any text is read or refused with a line of that text; what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truemute::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(text) {
        Ok(config) => {
            let written = toml::to_string(&config).expect("a configuration can be written");
            assert_eq!(Config::parse(&written).as_ref(), Ok(&config), "{written}");
        }
        Err(fault) => {
            assert!(
                (1..=text.lines().count().max(1) + 1).contains(&fault.line),
                "{fault:?}"
            );
            assert!(!fault.message.is_empty());
        }
    }
});
